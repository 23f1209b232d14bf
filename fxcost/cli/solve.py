"""`fxcost solve MODEL`: the largest size of a dim with which a model stays within a limit, from its formulas."""

from __future__ import annotations

from typing import Any

import click

from .group import fxcost
from .model import VERIFY, ModelOptions, analyse, model_options
from .output import FAILED, GOOD, fail, present


@fxcost.command()
@model_options
@click.option(
    "--dim",
    "dims",
    multiple=True,
    metavar="NAME=LOW..HIGH",
    help="The range of a size that --input leaves open: --input input_ids=B,S:int64 --dim B=1..64 --dim S=8..4096.",
)
@click.option("--given", multiple=True, metavar="NAME=SIZE", help="The size of a dim; of all but one.")
@click.option("--memory", metavar="SIZE", help="What the peak of memory may be: 24GiB, 80GB, or bytes.")
@click.option(
    "--limit", multiple=True, metavar="NUMBER=VALUE", help="What another number may be: --limit macs=10000000."
)
@click.option("--verify", type=int, default=2, show_default=True, help=VERIFY)
@click.option("--training", is_flag=True, help="--memory holds for a training step.")
@click.option("--optimizer", metavar="NAME", help="For --training: as for `fxcost MODEL`.")
def solve(
    *,
    given: tuple[str, ...],
    memory: str | None,
    limit: tuple[str, ...],
    **options: Any,
) -> int:
    """Find the largest size of a dim with which MODEL stays within a limit; exit code 1 if none does.

    \b
      fxcost solve hf:llama --input input_ids=B,S:int64 --dim B=1..64 --dim S=8..4096 --memory 24GiB --given S=4096
    """
    from ..errors import FormulaError
    from ..text.units import named_amount

    sizes = {name: _size(name, value) for name, value in map(_pair, given)}
    limits: dict[str, Any] = dict(map(_pair, limit))
    if memory is None and not limits:
        raise click.UsageError("give a limit: --memory 24GiB, or --limit macs=10000000")
    formula = analyse(ModelOptions(**options, formula=True)).formula
    if unknown := [name for name in sizes if name not in formula.domain]:
        raise click.UsageError(f"--given {unknown[0]}: there is no such dim; open are {', '.join(formula.names)}")
    peak = "training_peak_bytes" if options["training"] else "peak_eager_bytes"
    peak = peak if peak in formula.numbers else "peak_bytes"
    if memory is not None:
        limits[peak] = memory
    free = [name for name in formula.names if name not in sizes]
    try:
        found = formula.solve(**sizes, **{name: _value(value) for name, value in limits.items()})
    except FormulaError as error:
        if len(free) != 1 or any(size not in formula.domain[name] for name, size in sizes.items()):
            raise
        return fail(str(error), FAILED)
    (dim,) = free
    costs = formula.at(**sizes, **{dim: found})
    told = ", ".join(f"{name} = {named_amount(name, costs[name])}" for name in limits)
    end = f"; {dim} = {found} is the end of the domain" if found == formula.domain[dim].high else ""
    present(lambda: f"{dim} = {found}: {told}{end}")
    return GOOD


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not name.isidentifier() or not value:
        raise click.UsageError(f"{text!r}: give NAME=VALUE")
    return name, value


def _size(name: str, text: str) -> int:
    if not text.isdecimal():
        raise click.UsageError(f"--given {name}={text}: give a whole number")
    return int(text)


def _value(text: str) -> int | str:
    return int(text) if text.isdecimal() else text
