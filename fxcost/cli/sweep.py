"""`fxcost sweep MODEL …`: many models, or one model at many shapes, as one table."""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from typing import Any

import click

from .complete import complete_model
from .group import fxcost
from .model import comma_separated, how_options, parse_arguments, parse_optimizer
from .output import FAILED, GOOD, QUIET, check_writable, fail, present, write
from .progress import quiet_option


@fxcost.command()
@click.argument("models", metavar="MODEL…", nargs=-1, required=True, shell_complete=complete_model)
@how_options
@click.option("--batch", metavar="N,N,…", callback=comma_separated, help="Batch sizes of the default inputs: 1,8,32.")
@click.option(
    "--vary",
    multiple=True,
    metavar="NAME=A,B,…",
    help="Let NAME in --input and --arg be each of these: --input 1,3,S,S --vary S=224,288. Repeat for more.",
)
@click.option("--training", is_flag=True, help="Also cost a training step, in training mode.")
@click.option("--optimizer", metavar="NAME", help="For --training: as for `fxcost MODEL`.")
@click.option("--processes", type=click.IntRange(min=1), help="How many at once.  [default: one for each CPU]")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), help="Seconds after which a model is given up.")
@click.option("--memory", metavar="SIZE", help="What a process may allocate: 8GiB (Linux).")
@click.option("--jsonl", metavar="PATH", help="Add each row to this file as JSON; go on there where it stopped.")
@click.option("--retry", is_flag=True, help="With --jsonl: repeat what failed.")
@click.option("--csv", metavar="PATH", help="Write all rows as CSV; - is the standard output.")
@click.option("--sort", metavar="COLUMN", help="Sort the rows, largest first.")
@click.option("--top", type=click.IntRange(min=1), help="Show only so many rows.")
@click.option("--columns", metavar="A,B,…", callback=comma_separated, help="Columns: name,inputs,params,macs,error …")
@click.option("--format", metavar="FORMAT", help="Any format of tabulate: github, html, plain, tsv …")
@quiet_option
def sweep(*, models: Sequence[str], csv: str | None, **options: Any) -> int:
    """Count what each MODEL costs, with wildcards (timm:resnet*); exit code 1 if one could not be analysed.

    \b
      fxcost sweep 'timm:resnet*' --sort flops --top 10
      fxcost sweep torchvision:resnet50 --input N,3,S,S --vary N=1,8 --vary S=160,224
    """
    from ..sweeps import Sweep
    from ..sweeps import sweep as run

    chosen = {key: options.pop(key) for key in ("columns", "sort", "top", "format")}
    layout = {key: value for key, value in chosen.items() if value is not None}
    pool = {key: options.pop(key) for key in ("processes", "timeout", "memory", "retry")}
    Sweep(()).table(**layout)  # what can't be shown or written must be known before hours of work
    check_writable(csv)
    check_writable(options["jsonl"])
    path, quiet = options.pop("jsonl"), click.get_current_context().meta.get(QUIET)
    with redirect_stdout(sys.stderr):  # what a library prints as it is imported is not part of the answer
        found = run(list(items(models, **options)), path=path, progress=not quiet, **pool)
    if csv is None or write(csv, found.to_csv()) != "-":
        present(lambda: found.table(**layout), markup=layout.get("format"))
    if found.errors:
        return fail(f"{len(found.errors)} of {len(found)} could not be analysed", FAILED)
    return GOOD


def items(
    models: Sequence[str],
    *,
    inputs: Sequence[str],
    arguments: Sequence[str],
    vary: Sequence[str],
    batch: Sequence[str] | None,
    train: bool,
    real: bool,
    training: bool,
    optimizer: str | None,
    capture: str,
    dtype: str | None,
) -> Iterator[dict[str, Any]]:
    """What `fxcost.sweep` takes: every model, each with every batch size and every combination of what varies.

    Raises:
        FxcostError: an input can't be read, or there is no such dtype or optimizer.
    """
    from ..memory.optimizers import check_optimizer
    from ..model.inputs import as_float_dtype
    from ..sources.shapes import parse_inputs

    if inputs and batch:
        raise click.UsageError("--batch is for the default inputs; let the batch size in --input vary with --vary")
    state = parse_optimizer(optimizer)
    options = {"training": training, "optimizer": state, "dtype": dtype}
    if state is not None:
        check_optimizer(state)
    if dtype is not None:
        as_float_dtype(dtype)
    options["capture"] = capture if capture != "auto" else None
    said = {key: value for key, value in options.items() if value}
    for model, size in itertools.product(models, _sizes(batch)):
        for values in combinations(vary, [*inputs, *arguments]):
            given = parse_inputs([substituted(text, values) for text in inputs])
            item = {"model": model, "arguments": parse_arguments([substituted(text, values) for text in arguments])}
            fed = {"inputs": given.args, "kwargs": given.kwargs} if inputs else {"batch": size}
            yield {**item, **fed, "train": train or training, "real": real, **said}


def _sizes(batch: Sequence[str] | None) -> Sequence[int | None]:
    for text in batch or ():
        if not text.isdigit() or not int(text):
            raise click.UsageError(f"--batch: {text!r} is no batch size; give whole numbers such as 1,8,32")
    return [int(text) for text in batch] if batch else [None]


def combinations(vary: Sequence[str], texts: Sequence[str]) -> Iterator[Mapping[str, str]]:
    """Every combination of values from `NAME=A,B,…`, the last name varying fastest.

    >>> [dict(values) for values in combinations(["N=1,2", "S=8"], ["N,3,S,S"])]
    [{'N': '1', 'S': '8'}, {'N': '2', 'S': '8'}]
    """
    choices: dict[str, list[str]] = {}
    for text in vary:
        name, equals, values = text.partition("=")
        if not equals or not name.isidentifier() or not values:
            raise click.UsageError(f"--vary {text!r}: give NAME=VALUE,VALUE, e.g. --vary S=224,288")
        if not any(_whole_word(name).search(given) for given in texts):
            raise click.UsageError(f"--vary {text!r}: {name} is in no --input and no --arg, as in --input 1,3,{name}")
        choices[name] = [value.strip() for value in values.split(",")]
    for chosen in itertools.product(*choices.values()):
        yield dict(zip(choices, chosen, strict=True))


def substituted(text: str, values: Mapping[str, str]) -> str:
    """An input or argument with names replaced by their values; what stands before a "=" is left alone.

    >>> substituted("N={N=N,L:int64; x=N}", {"N": "8", "L": "128"})
    'N={N=8,128:int64; x=8}'
    """
    for key, to in values.items():
        text = _whole_word(key).sub(lambda _, to=to: to, text)  # type: ignore[misc]
    return text


def _whole_word(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(name)}(?!\w)(?!\s*=)")
