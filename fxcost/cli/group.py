"""The group of all commands, and the help that `fxcost --help` shows."""

from __future__ import annotations

import sys
from typing import Any

import click
from click.shell_completion import CompletionItem

from ..errors import nearest
from ..text.paper import NARROWEST, reflowed
from ..text.version import VERSION
from .commands import Commands
from .output import terminal_width

SECTIONS = {
    "Model and inputs": ("inputs", "batch", "arguments", "head", "dims", "dtype", "train", "real", "capture", "vary",
        "given", "prompt", "new", "context", "weights", "kv", "experts", "speculate", "acceptance", "as_written"),
    "What is counted": ("training", "optimizer", "autocast", "strict", "operators"),
    "One rank of many": ("mesh", "parallel", "parallelize", "rank", "k", "balance", "slack", "microbatches", "links"),
    "Where it runs": ("runs", "warmup", "place", "threads", "processes", "timeout", "retry"),
    "Limits": ("memory", "reserve", "limit", "no_uncosted", "baseline", "tolerance", "update"),
    "Table": ("by", "depth", "top", "sort", "columns", "format", "table_format", "layout", "sources"),
    "Also shown": ("tools", "device", "mode", "fusion", "peak", "formula", "verify", "card", "names",
        "devices", "serve"),
    "Files": (
        "html", "json", "jsonl", "csv", "markdown", "plot", "dot", "svg", "png", "collapse", "speedscope",
        "model_explorer", "chrome_trace", "csv_path", "plot_path",
    ),
}  # fmt: skip
"""The sections of a command's help, with the names of their options. `max_…` are limits; the rest is "Other"."""


MEANT = {
    "help": "fxcost --help, or fxcost COMMAND --help",
    "list": "`fxcost models` lists models, `fxcost conventions` tools, `fxcost devices` devices",
    "ls": "`fxcost models` lists models, `fxcost conventions` tools, `fxcost devices` devices",
    "version": "fxcost --version",
    "summary": "fxcost MODEL shows the table",
}
"""What those are told who type commands of other programs."""


class Grouped(click.Command):
    """A command whose help has its options in sections, if there are many."""

    few = 8

    def get_help(self, ctx: click.Context) -> str:
        """The help, which fits the terminal."""
        return fitted(super().get_help(ctx))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """One list for each section that has an option here."""
        options = [parameter for parameter in self.get_params(ctx) if isinstance(parameter, click.Option)]
        lines = [(section_of(option), line) for option in options if (line := option.get_help_record(ctx)) is not None]
        if len(lines) <= self.few:
            super().format_options(ctx, formatter)
            return
        sections: dict[str, list[tuple[str, str]]] = {title: [] for title in (*SECTIONS, "Other")}
        for title, line in lines:
            sections[title].append(line)
        for title, listed in sections.items():
            if listed:
                with formatter.section(title):
                    formatter.write_dl(listed)


def fitted(text: str) -> str:
    """A help whose examples and lists, which click leaves as they are, fit the terminal too."""
    width = terminal_width(sys.stdout)
    return text if width is None else reflowed(text, max(width, NARROWEST))


def section_of(option: click.Option) -> str:
    """The section of the help that an option stands in."""
    name = option.name or ""
    if name.startswith("max_"):
        return "Limits"
    if name == "memory" and option.is_flag:
        return "Also shown"
    return next((title for title, names in SECTIONS.items() if name in names), "Other")


class DefaultCommand(click.Group):
    """A group that runs its command `cost` where the first argument names no other one."""

    command_class = Grouped
    default = "cost"
    commands: Commands

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.commands = Commands()

    def get_help(self, ctx: click.Context) -> str:
        """The help, which fits the terminal."""
        return fitted(super().get_help(ctx))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the default command in front of arguments that start with none."""
        own = [name for option in self.get_params(ctx) for name in option.opts]
        if args and args[0] not in self.commands and args[0] not in own:
            if not ctx.resilient_parsing and ":" not in args[0]:
                self.check_name(args[0])
            args = [self.default, *args]
        return super().parse_args(ctx, args or ["--help"])

    def check_name(self, name: str) -> None:
        """Catch a mistyped command before it is taken for a model."""
        if name in MEANT:
            raise click.UsageError(f"no command {name!r}; {MEANT[name]}")
        near = nearest(name, self.commands, n=1, cutoff=0.75)
        if near:
            raise click.UsageError(f"no command {name!r}; did you mean {near[0]!r}?")

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Commands, and what the default command takes."""
        default = self.commands[self.default]
        found = super().shell_complete(ctx, incomplete)
        with click.Context(default, parent=ctx, info_name=self.default, resilient_parsing=True) as inner:
            if incomplete.startswith("-"):
                return [*default.shell_complete(inner, incomplete), *found]
            for parameter in default.get_params(inner):
                if isinstance(parameter, click.Argument):
                    found.extend(parameter.shell_complete(inner, incomplete))
        return found

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Show the short form."""
        formatter.write_usage(ctx.command_path, "MODEL [OPTIONS]")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Show the default command's options above the commands."""
        self.commands[self.default].format_options(ctx, formatter)
        self.format_commands(ctx, formatter)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """A line each, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, self.commands.summary(name)) for name in sorted(self.commands)])


@click.group(cls=DefaultCommand, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(VERSION, message="fxcost %(version)s")
def fxcost() -> None:
    """What does a PyTorch model cost? Parameters, MACs, FLOPs, memory traffic and activations, counted exactly.

    MODEL is one of

    \b
      torchvision:resnet50         a builder of torchvision
      timm:vit_base_patch16_224    a model of timm
      hf:llama                     the default configuration of a transformers model type
      hf:path/to/folder            a configuration on disk (config.json)
      package.module:name          a class, a function that makes a model, or a model
      path/to/file.py:name         the same in a file

    It is built without weights; nothing is downloaded. The first three need no --input.

    \b
      fxcost torchvision:resnet50
      fxcost timm:resnet50 --input 8,3,160,160 --by operator
      fxcost hf:llama --arg num_hidden_layers=2 --input input_ids=1,512:int64
      fxcost net.py:Net --arg width=64 --input 1,3,32,32 --dot net.dot
    """
