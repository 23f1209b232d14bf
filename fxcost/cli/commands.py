"""The commands by name, each imported when it is asked for: `fxcost --help` waits for none but the default one."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from importlib import import_module
from types import MappingProxyType

import click

SUMMARIES = MappingProxyType(
    {
        "check": "Check that MODEL stays within a budget.",
        "completion": "Print the script by which a shell completes with Tab.",
        "conventions": "List the tools and papers whose numbers `--as` gives.",
        "cost": "Count what MODEL costs (the default: `fxcost MODEL`).",
        "devices": "List the devices that `--device` knows.",
        "diff": "Compare two models, or reports written with --json.",
        "explain": "Explain the cost of a module or node of MODEL.",
        "fit": "Find the largest batch with which MODEL fits into memory.",
        "measure": "Run MODEL on real tensors, beside what is predicted.",
        "models": "List the models that can be given.",
        "plan": "Choose modules to checkpoint so that a training step fits.",
        "rank": "Rank models by their estimated time on a device.",
        "serve": "Say what a language model costs to serve.",
        "show": "Show a report that was written with --json.",
        "solve": "Find the largest size of a dim within a limit.",
        "stages": "Cut MODEL into stages of a pipeline.",
        "sweep": "Count what each of many models costs.",
    }
)
"""Each command, which is the file of its name in this package, with its line in `fxcost --help`."""


VARIABLE = "_FXCOST_COMPLETE"
"""The variable through which the scripts for shells ask for completions."""


class Commands(MutableMapping[str, click.Command]):
    """The commands of :data:`SUMMARIES`, and those that are added."""

    def __init__(self) -> None:
        self._loaded: dict[str, click.Command] = {}
        self._gone: set[str] = set()

    def __getitem__(self, name: str) -> click.Command:
        if name not in self:
            raise KeyError(name)
        if name not in self._loaded:
            import_module(f".{name}", __package__)  # whose decorator puts it here
        return self._loaded[name]

    def __setitem__(self, name: str, command: click.Command) -> None:
        if command.short_help is None:
            command.short_help = SUMMARIES.get(name)
        self._loaded[name] = command
        self._gone.discard(name)

    def __delitem__(self, name: str) -> None:
        if name not in self:
            raise KeyError(name)
        self._loaded.pop(name, None)
        self._gone.add(name)

    def __contains__(self, name: object) -> bool:
        return name in self._loaded or (name in SUMMARIES and name not in self._gone)

    def __iter__(self) -> Iterator[str]:
        return iter(name for name in dict.fromkeys((*SUMMARIES, *self._loaded)) if name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def summary(self, name: str) -> str:
        """Its line in the help; a command is imported for it only if it was added."""
        return SUMMARIES.get(name) or self._loaded[name].get_short_help_str()
