"""`fxcost stages MODEL`: where to cut a model into the stages of a pipeline."""

from __future__ import annotations

from typing import Any

import click

from .checks import check_format
from .group import fxcost
from .model import model_options, report_of
from .output import GOOD, present


@fxcost.command()
@model_options
@click.option("-k", "--stages", "k", type=click.IntRange(min=1), required=True, help="How many stages.")
@click.option(
    "--by",
    type=click.Choice(["module", "node"]),
    default="module",
    show_default=True,
    help="Cut before modules, or anywhere.",
)
@click.option(
    "--balance",
    type=click.Choice(["flops", "macs", "bytes"]),
    default="flops",
    show_default=True,
    help="What stages are balanced by.",
)
@click.option(
    "--slack",
    type=click.FloatRange(min=0),
    default=0.05,
    show_default=True,
    help="By how much the slowest stage may be above the least possible, where less is then sent.",
)
@click.option("--microbatches", type=click.IntRange(min=1), multiple=True, help="Also say how long stages wait.")
@click.option("--training", is_flag=True, help="Also say what each stage saves for its backward pass.")
@click.option(
    "--format",
    "table_format",
    metavar="FORMAT",
    default="rounded_outline",
    help="Any format of tabulate: github, plain …",
)
def stages(
    *,
    model: str,
    k: int,
    by: str,
    balance: str,
    slack: float,
    microbatches: tuple[int, ...],
    table_format: str,
    **options: Any,
) -> int:
    """Cut MODEL, or a report written with --json, into stages of a pipeline, on the inputs of one microbatch.

    \b
      fxcost stages hf:llama -k 4 --microbatches 16
      fxcost stages torchvision:resnet50 -k 4 --by node
    """
    from ..pipeline.stages import stages as cut

    check_format(table_format)
    found = cut(report_of(model, options), k, by=by, balance=balance, slack=slack)
    waits = [f"Bubble with {m} microbatches: {found.bubble(m):.1%}" for m in microbatches]
    present(lambda: "\n".join([found.table(table_format), *waits]), markup=table_format)
    return GOOD
