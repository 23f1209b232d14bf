"""Runs a captured graph on real tensors, node by node, and times each.

The graph was captured on meta tensors and refers to a meta copy of the model; here its modules and tensors are those
of a real copy, by the same names. What the graph holds besides (constants that the forward made) must hold data.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx

from ..errors import MeasureError
from ..model.inputs import tensors_in
from ..records.recording import Recording
from ..speed.stopwatch import Stopwatch


class Replay(fx.Interpreter):
    """An interpreter of a recording's graph that marks the time before and after each call.

    `owner` has the real modules and tensors. After :meth:`seconds` the times are in the order of `names`.
    """

    def __init__(self, recording: Recording, owner: Any, place: torch.device, watch: Stopwatch) -> None:
        graph = recording.graph
        assert graph is not None  # it was just recorded
        super().__init__(recording.root, graph=graph)
        self.extra_traceback = False
        self._owner = owner
        self._place = place
        self._watch = watch
        self._found: dict[str, Any] = {}
        self.names = [node.name for node in graph.nodes if node.op.startswith("call_")]

    def seconds(self, values: Sequence[Any]) -> list[float]:
        """Run the graph once; the seconds of each call.

        Raises:
            MeasureError: something in the graph holds no data.
        """
        self.run(*values, enable_io_processing=False)
        return self._watch.laps()[::2]  # the time between two calls is the interpreter's own

    def fetch_attr(self, target: str) -> Any:
        """A module or tensor of the real copy, or a constant of the graph itself."""
        if target not in self._found:
            found = _attribute(self._owner, target)
            found = _attribute(self.module, target) if found is None else found
            if isinstance(found, Tensor) and found.is_meta:
                raise MeasureError(f"{target!r} was made while the graph was captured and holds no data")
            self._found[target] = found.to(self._place) if isinstance(found, Tensor) else found
        return self._found[target]

    def fetch_args_kwargs_from_env(self, n: fx.Node) -> tuple[Any, Any]:
        """Arguments of a node; where the graph says meta, the real device."""
        args, kwargs = super().fetch_args_kwargs_from_env(n)
        return self._placed(args), self._placed(kwargs)

    def _placed(self, value: Any) -> Any:
        if isinstance(value, torch.device):
            return self._place if value.type == "meta" else value
        if isinstance(value, dict):
            return {k: self._placed(v) for k, v in value.items()}
        return tuple(map(self._placed, value)) if type(value) is tuple else value

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        """Call a module, between two marks."""
        module = self.fetch_attr(str(target))
        self._watch.mark()
        out = module(*args, **kwargs)
        self._watch.mark()
        return out

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        """Call a function, between two marks."""
        self._watch.mark()
        out = target(*args, **kwargs)
        self._watch.mark()
        return out

    def call_method(self, target: Any, args: Any, kwargs: Any) -> Any:
        """Call a method, between two marks."""
        method, rest = getattr(args[0], str(target)), args[1:]
        self._watch.mark()
        out = method(*rest, **kwargs)
        self._watch.mark()
        return out

    def output(self, target: Any, args: Any, kwargs: Any) -> Any:
        """What the graph returns."""
        self.returned = args[0]
        return args[0]

    def agrees(self, out: Any) -> bool:
        """True if the last run returned the same numbers as the model itself, in the same order."""
        ours, theirs = list(tensors_in(self.returned)), list(tensors_in(out))
        return len(ours) == len(theirs) and all(
            a.shape == b.shape and torch.allclose(a.double(), b.double(), rtol=1e-2, atol=1e-3, equal_nan=True)
            for a, b in zip(ours, theirs, strict=True)
        )


def _attribute(owner: Any, path: str) -> Any:
    """The attribute of that dotted path; None if there is none."""
    for part in path.split("."):
        owner = getattr(owner, part, None)
    return owner
