"""The options that say which model is meant and what it is fed, and the way from them to a report."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .checks import check_numbers
from .collector import full_passes_wait
from .complete import complete_model
from .names import check_model, is_report
from .progress import quiet_option, working
from .ranks import sharding

if TYPE_CHECKING:
    from ..report import Report
    from ..sources.load import Loaded
    from ..sources.shapes import Inputs

Function = TypeVar("Function", bound=Callable[..., Any])


def model_options(function: Function) -> Function:
    """The argument and options that say which model is meant and what it is fed."""
    return click.argument("model", shell_complete=complete_model, callback=check_model)(input_options(function))


def input_options(function: Function) -> Function:
    """The options of :func:`model_options`, for commands that take no model, or two."""
    batch = click.option("--batch", type=click.IntRange(min=1), help="Batch size of the default inputs.  [default: 1]")
    heads = click.Choice(["auto", "none"])
    head = click.option("--head", type=heads, default="auto", help="none: hf:NAME without its language-model head.")
    return batch(head(how_options(quiet_option(function))))


def how_options(function: Function) -> Function:
    """The options that hold for one model as for many."""
    options = [
        click.option(
            "-i",
            "--input",
            "inputs",
            multiple=True,
            metavar="SHAPE",
            help="An input: 1,3,224,224, with a dtype 1,128:int64, by name input_ids=1,128:int64. Repeat for more.",
        ),
        click.option(
            "--arg",
            "arguments",
            multiple=True,
            metavar="NAME=VALUE",
            help="An argument for the model's class, builder or configuration; a Python literal, else text.",
        ),
        click.option(
            "--real",
            is_flag=True,
            help="Build real (random) weights and feed seeded noise, for models that decide by computed values.",
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


def comma_separated(context: click.Context, parameter: click.Parameter, value: str | None) -> list[str] | None:
    """A click callback: `a, b` as a list."""
    return None if value is None else [part.strip() for part in value.split(",")]


VERIFY = "At how many points at random formulas are compared with an analysis."


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
    real: bool = False
    head: str = "auto"
    training: bool = False
    optimizer: str | None = None
    dims: tuple[str, ...] = ()
    formula: bool = False
    """Names in --input stand for sizes also without --dim."""
    verify: int = 2
    autocast: str | None = None
    mesh: str | None = None
    parallel: str | None = None
    parallelize: str | None = None
    rank: str | None = None


def analyse(options: ModelOptions) -> Report:
    """Build the model and analyse it on the inputs given, or else on its default ones."""
    optimizer = parse_optimizer(options.optimizer)
    check_numbers(dtype=options.dtype, training=options.training, optimizer=optimizer)
    from ..analyze import analyze

    waiting = full_passes_wait() if options.mesh else nullcontext()
    with redirect_stdout(sys.stderr), working(f"analysing {options.model}"), waiting:  # its prints are not the answer
        loaded, inputs = load_model(options)
        report = analyze(
            loaded.model,
            inputs.args,
            inputs.kwargs,
            capture=options.capture,
            dtype=options.dtype,
            training=options.training,
            optimizer=optimizer,
            dims=parse_dims(options.dims) or None,
            verify=options.verify,
            autocast=options.autocast,
            **sharding(options.mesh, options.parallel, options.parallelize, options.rank),
        )
        return report.assuming(*loaded.notes)


class AnyName(tuple[str, ...]):
    """A collection that has every name."""

    __slots__ = ()

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.isidentifier()


def parse_dims(texts: Sequence[str]) -> dict[str, tuple[int, int] | None]:
    """Dims from `NAME=LOW..HIGH`, or `NAME` for any size.

    >>> parse_dims(["B=1..64", "S"])
    {'B': (1, 64), 'S': None}
    """
    dims: dict[str, tuple[int, int] | None] = {}
    for text in texts:
        found = re.fullmatch(r"\s*([A-Za-z]\w*)\s*(?:=\s*(\d+)\s*(?:\.\.|-|:)\s*(\d+)\s*)?", text)
        if found is None:
            raise click.UsageError(f"--dim {text!r}: give NAME=LOW..HIGH, e.g. --dim S=8..4096")
        name, low, high = found.groups()
        if name in dims:
            raise click.UsageError(f"--dim {name} is given twice")
        dims[name] = None if low is None else (int(low), int(high))
    return dims


def report_of(name: str, options: dict[str, Any]) -> Report:
    """A report from a file that was written with --json, or of a model, on what the options say.

    Raises:
        FxcostError: the file is no report, or as :func:`analyse`.
    """
    if is_report(name):
        from ..report import Report

        return Report.from_json(name)
    return analyse(ModelOptions(model=name, **options))


def load_model(options: ModelOptions) -> tuple[Loaded, Inputs]:
    """The model and its inputs, as the options say.

    Raises:
        FxcostError: an option can't be read, or the model can't be built.
    """
    from ..model.inputs import has_names, parameter_dtype
    from ..sources.load import load
    from ..sources.shapes import parse_inputs, with_data

    if options.inputs and options.batch:
        raise click.UsageError("--batch is for the default inputs; give the batch size in --input")
    if options.dims and not options.inputs:
        raise click.UsageError("--dim is for names in --input: --input B,3,224,224 --dim B=1..64")
    if options.dims and options.real:
        raise click.UsageError("--dim leaves sizes open, and --real needs all of them")
    given = parse_inputs(options.inputs, AnyName() if options.formula else parse_dims(options.dims))
    if options.formula and not has_names((given.args, given.kwargs)):
        raise click.UsageError("--formula needs a size that is open: --input B,3,224,224 --dim B=1..64")
    train, real = options.train or options.training, options.real
    arguments = parse_arguments(options.arguments)
    loaded = load(options.model, arguments, train=train, real=real, head=options.head)
    inputs = given if options.inputs else loaded.default_inputs(options.batch or 1)
    return loaded, with_data(inputs, parameter_dtype(loaded.model, None)) if real else inputs


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
        except (ValueError, SyntaxError, MemoryError, RecursionError):  # of what is nested too deep, too
            arguments[name.strip()] = value
    return arguments


def parse_optimizer(text: str | None) -> str | float | None:
    """An optimizer's name, or bytes per parameter."""
    try:
        return float(text) if text is not None else None
    except ValueError:
        return text
