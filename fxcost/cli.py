"""The command `fxcost`: arguments, exit codes and output streams. Nothing else in the package prints.

`fxcost MODEL …` is short for `fxcost cost MODEL …`. A new command is a function with `@fxcost.command()`, and shares
the options that say which model is meant through `@model_options`. torch is imported when a command runs, not for
`--help`.

Exit codes: 0 good; 1 the model was analysed but something asked for does not hold (`--strict`); 2 bad usage, or a
model that can't be built or analysed, with one line on the error stream.
"""

from __future__ import annotations

import ast
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, TypeVar

import click

from . import __version__
from .errors import FxcostError

if TYPE_CHECKING:
    import torch

    from .report import Report
    from .shapes import Inputs

Function = TypeVar("Function", bound=Callable[..., Any])

GOOD, FAILED, BAD_USAGE, INTERRUPTED = 0, 1, 2, 130


class DefaultCommand(click.Group):
    """A group that runs its command `cost` where the first argument names no other one."""

    default = "cost"

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the default command in front of arguments that start with none."""
        own = [name for option in self.get_params(ctx) for name in option.opts]
        if args and args[0] not in self.commands and args[0] not in own:
            args = [self.default, *args]
        return super().parse_args(ctx, args or ["--help"])

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Show the short form."""
        formatter.write_usage(ctx.command_path, "MODEL [OPTIONS]")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Show the default command's options above the commands."""
        self.commands[self.default].format_options(ctx, formatter)
        self.format_commands(ctx, formatter)


@click.group(cls=DefaultCommand, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="fxcost %(version)s")
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


def model_options(function: Function) -> Function:
    """The argument and options that say which model is meant and what it is fed."""
    options = [
        click.argument("model"),
        click.option(
            "-i",
            "--input",
            "inputs",
            multiple=True,
            metavar="SHAPE",
            help="An input: 1,3,224,224, with a dtype 1,128:int64, by name input_ids=1,128:int64. Repeat for more.",
        ),
        click.option("--batch", type=click.IntRange(min=1), help="Batch size of the default inputs.  [default: 1]"),
        click.option(
            "--arg",
            "arguments",
            multiple=True,
            metavar="NAME=VALUE",
            help="An argument for the model's class, builder or configuration; a Python literal, else text.",
        ),
        click.option("--train", is_flag=True, help="Leave the model in training mode; else it is in eval mode."),
        click.option(
            "--capture",
            type=click.Choice(["auto", "symbolic", "concrete"]),
            default="auto",
            show_default=True,
            help="How to capture the graph: trace with proxies, or run once on meta tensors.",
        ),
        click.option("--dtype", help="Cost weights and floating-point inputs as if they had this dtype: bfloat16."),
        click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def _split(context: click.Context, parameter: click.Parameter, value: str | None) -> list[str] | None:
    return None if value is None else [part.strip() for part in value.split(",")]


LAYOUT = ("by", "depth", "top", "sort", "columns", "format")
"""Options that go to `Report.table` as they are; without any of them, what `print(report)` shows is printed."""


@fxcost.command()
@model_options
@click.option("--by", type=click.Choice(["module", "node", "operator", "family"]), help="Rows of the table.")
@click.option("--depth", type=click.IntRange(min=0), help="Levels of modules to show.")
@click.option("--top", type=click.IntRange(min=1), help="Show only so many rows, the largest first.")
@click.option("--sort", metavar="COLUMN", help="Sort the rows, largest first.")
@click.option("--columns", metavar="A,B,…", callback=_split, help="Columns: name,output,params,macs,flops,bytes …")
@click.option("--format", metavar="FORMAT", help="Any format of tabulate: github, html, plain, tsv …")
@click.option(
    "--as", "tools", metavar="A,B,…", callback=_split, help="What other tools print, and why: thop,fvcore,ptflops …"
)
@click.option("--dot", metavar="PATH", help="Write the graph for Graphviz; - is the standard output.")
@click.option("--json", metavar="PATH", help="Write the whole report as JSON.")
@click.option("--csv", metavar="PATH", help="Write the nodes as CSV.")
@click.option("--memory", is_flag=True, help="Also show the peak of memory, what is alive then, and a chart.")
@click.option("--training", is_flag=True, help="Also cost a training step, in training mode: backward, optimizer …")
@click.option(
    "--optimizer",
    metavar="NAME",
    help="For --training: sgd, momentum, adam, adamw (default), adafactor, lion, or bytes per parameter.",
)
@click.option("--plot", metavar="PATH", help="Draw memory over time (PNG, SVG, PDF); needs matplotlib.")
@click.option("--strict", is_flag=True, help="Fail (exit code 1) if an operator ran that has no rule.")
def cost(*, dot: str | None, json: str | None, csv: str | None, strict: bool, **options: Any) -> int:
    """Count what MODEL costs (the default command: `fxcost MODEL`)."""
    chosen = {name: options.pop(name) for name in LAYOUT}
    layout = {name: value for name, value in chosen.items() if value is not None}
    tools, memory, plot = options.pop("tools"), options.pop("memory"), options.pop("plot")
    report = analyse(ModelOptions(**options))
    if tools:
        table = report.compared(*tools, format=chosen["format"] or "rounded_outline")
    else:
        table = report.table(**layout) if layout else str(report)
    shown = [table, *([str(report.memory)] if memory else []), *([str(report.training)] if report.training else [])]
    table = "\n\n".join(shown)
    if plot is not None:
        (report.training or report.memory).plot(plot)
    views = [(dot, report.to_dot), (json, report.to_json), (csv, report.to_csv)]
    written = [write(path, view()) for path, view in views if path is not None]
    if "-" not in written:
        emit(table)
    if strict and report.uncosted:
        operators = ", ".join(f"{op} ({times}×)" for op, times in report.uncosted.items())
        return fail(f"operators without a rule ran: {operators}", FAILED)
    return GOOD


@fxcost.command()
@model_options
@click.option("--memory", metavar="SIZE", required=True, help="The limit: 24GiB, 80GB, or bytes.")
@click.option(
    "--training",
    "optimizer",
    is_flag=False,
    flag_value="adamw",
    metavar="[OPTIMIZER]",
    help="A training step must fit, with this optimizer (adamw).",
)
@click.option("--reserve", metavar="SIZE", default="0", help="Leave so much free for what is not counted.")
def fit(*, memory: str, optimizer: str | None, reserve: str, **options: Any) -> int:
    """Find the largest batch with which MODEL fits into memory; exit code 1 if not even one sample does."""
    from .fit import fit as find

    chosen = ModelOptions(**{**options, "train": options["train"] or optimizer is not None})
    with redirect_stdout(sys.stderr):
        model, inputs = load_model(chosen)
        found = find(
            model,
            inputs.args,
            inputs.kwargs,
            memory=memory,
            reserve=reserve,
            optimizer=_optimizer(optimizer),
            capture=chosen.capture,
            dtype=chosen.dtype,
        )
    emit(str(found))
    return GOOD if found.fits else FAILED


def _optimizer(text: str | None) -> str | float | None:
    """An optimizer's name, or bytes per parameter."""
    try:
        return float(text) if text is not None else None
    except ValueError:
        return text


@fxcost.command()
def conventions() -> int:
    """List the tools and papers whose numbers `--as` gives."""
    from .conventions import conventions as lines

    width = max(map(len, lines()))
    emit("\n".join(f"{name:{width}}  {line}" for name, line in lines().items()))
    return GOOD


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """The values of :func:`model_options`."""

    model: str
    inputs: tuple[str, ...]
    batch: int | None
    arguments: tuple[str, ...]
    train: bool
    capture: str
    dtype: str | None
    training: bool = False
    optimizer: str | None = None


def analyse(options: ModelOptions) -> Report:
    """Build the model and analyse it on the inputs given, or else on its default ones."""
    from .analyze import analyze

    with redirect_stdout(sys.stderr):  # what the model's own code prints is not part of the answer
        model, inputs = load_model(options)
        return analyze(
            model,
            inputs.args,
            inputs.kwargs,
            capture=options.capture,
            dtype=options.dtype,
            training=options.training,
            optimizer=_optimizer(options.optimizer),
        )


def load_model(options: ModelOptions) -> tuple[torch.nn.Module, Inputs]:
    """The model and its inputs, as the options say.

    Raises:
        FxcostError: an option can't be read, or the model can't be built.
    """
    from .load import load
    from .shapes import parse_inputs

    if options.inputs and options.batch:
        raise click.UsageError("--batch is for the default inputs; give the batch size in --input")
    given = parse_inputs(options.inputs)
    if ":" not in options.model:
        _check_command(options.model)
    loaded = load(options.model, parse_arguments(options.arguments), train=options.train or options.training)
    return loaded.model, given if options.inputs else loaded.default_inputs(options.batch or 1)


def _check_command(name: str) -> None:
    """Catch a mistyped command before it is taken for a model."""
    near = get_close_matches(name, fxcost.commands, n=1, cutoff=0.75)
    if near:
        raise click.UsageError(f"no command {name!r}; did you mean {near[0]!r}?")


def parse_arguments(texts: Sequence[str]) -> dict[str, Any]:
    """Keyword arguments from `NAME=VALUE`: values are Python literals, or else text.

    >>> parse_arguments(["width=64", "norm=None", "act=gelu", "sizes=[1, 2]"])
    {'width': 64, 'norm': None, 'act': 'gelu', 'sizes': [1, 2]}
    """
    arguments: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip().isidentifier():
            raise click.UsageError(f"--arg {text!r}: give NAME=VALUE, e.g. --arg num_classes=10")
        try:
            arguments[name.strip()] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            arguments[name.strip()] = value
    return arguments


def emit(text: str) -> None:
    """Put text on the standard output; a reader that has gone (`fxcost … | head -3`) is no error."""
    try:
        click.echo(text, nl=not text.endswith("\n"))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python flushes at its end


def write(path: str, text: str) -> str:
    """Write a view to a file, or to the standard output if the path is `-`; returns the path."""
    if path == "-":
        emit(text)
        return path
    try:
        with open(path, "w", encoding="utf-8", newline="") as file:
            file.write(text)
    except OSError as error:
        raise click.UsageError(f"cannot write {path}: {error.strerror or error}") from error
    return path


def fail(message: str, code: int) -> int:
    """Put one line on the error stream, and return the exit code."""
    click.echo(f"fxcost: error: {' '.join(message.split())}", err=True)
    return code


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line (by default the process's own) and return its exit code. The console script."""
    args = list(sys.argv[1:] if argv is None else argv)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing is downloaded, whatever a model's own code asks for
    try:
        code = fxcost.main(args, prog_name="fxcost", standalone_mode=False)
        return code if isinstance(code, int) else GOOD
    except (KeyboardInterrupt, click.Abort):
        return fail("interrupted", INTERRUPTED)
    except click.ClickException as error:
        return fail(f"{error.format_message()} (fxcost --help)", BAD_USAGE)
    except Exception as error:
        if "--debug" in args:
            traceback.print_exc()
        if isinstance(error, FxcostError):
            return fail(str(error), BAD_USAGE)
        kind = type(error).__name__
        return fail(f"unexpected {kind}: {error}; --debug shows where" if str(error) else kind, BAD_USAGE)
