"""`fxcost MODEL`: count what a model costs, and write views of the report."""

from __future__ import annotations

from typing import Any

import click

from .group import fxcost
from .model import ModelOptions, analyse, model_options
from .output import FAILED, GOOD, fail
from .ranks import rank_options
from .views import show_views, take_views, view_options


@fxcost.command()
@model_options
@view_options
@click.option("--training", is_flag=True, help="Also cost a training step, in training mode: backward, optimizer …")
@click.option(
    "--optimizer",
    metavar="NAME",
    help="For --training: sgd, momentum, adam, adamw (default), adafactor, lion, or bytes per parameter.",
)
@click.option(
    "--dim",
    "dims",
    multiple=True,
    metavar="NAME=LOW..HIGH",
    help="Leave a size of --input open: --input B,3,224,224 --dim B=1..64. Repeat for more.",
)
@click.option("--formula", is_flag=True, help="With --dim: also show the numbers as formulas, and where they hold.")
@rank_options
@click.option("--strict", is_flag=True, help="Fail (exit code 1) if an operator ran that has no rule.")
def cost(*, strict: bool, formula: bool, **options: Any) -> int:
    """Count what MODEL costs (the default command: `fxcost MODEL`).

    \b
      fxcost torchvision:resnet50 --by operator --top 10
      fxcost net.py:Net --arg width=64 --input 1,3,32,32 --json net.json
      fxcost hf:llama --input input_ids=B,S:int64 --dim B=1..64 --dim S=8..4096 --formula
      fxcost hf:llama --training --mesh dp=8,tp=8 --parallel fsdp:dp,tp:tp --by collective
    """
    if formula and not options["dims"]:
        raise click.UsageError("--formula needs a size that is open: --input B,3,224,224 --dim B=1..64")
    views = {**take_views(options), "formula": formula}
    report = analyse(ModelOptions(**options))
    show_views(report, views)
    if strict and report.uncosted:
        operators = ", ".join(f"{op} ({times}×)" for op, times in report.uncosted.items())
        return fail(f"operators without a rule ran: {operators}", FAILED)
    return GOOD
