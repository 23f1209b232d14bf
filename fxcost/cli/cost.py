"""`fxcost MODEL`: count what a model costs, and write views of the report."""

from __future__ import annotations

from typing import Any

import click

from .group import fxcost
from .model import ModelOptions, analyse, model_options
from .output import FAILED, GOOD, fail
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
@click.option("--strict", is_flag=True, help="Fail (exit code 1) if an operator ran that has no rule.")
def cost(*, strict: bool, **options: Any) -> int:
    """Count what MODEL costs (the default command: `fxcost MODEL`).

    \b
      fxcost torchvision:resnet50 --by operator --top 10
      fxcost net.py:Net --arg width=64 --input 1,3,32,32 --json net.json
    """
    views = take_views(options)
    report = analyse(ModelOptions(**options))
    show_views(report, views)
    if strict and report.uncosted:
        operators = ", ".join(f"{op} ({times}×)" for op, times in report.uncosted.items())
        return fail(f"operators without a rule ran: {operators}", FAILED)
    return GOOD
