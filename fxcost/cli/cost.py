"""`fxcost MODEL`: count what a model costs, and write views of the report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .checks import check_device
from .group import fxcost
from .model import VERIFY, ModelOptions, analyse, comma_separated, model_options
from .output import FAILED, GOOD, fail, present
from .ranks import rank_options
from .views import show_views, take_views, view_options

if TYPE_CHECKING:
    from ..report import Report

EVERYWHERE = "all"


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
@click.option(
    "--formula",
    is_flag=True,
    help="Also show the numbers as formulas in the sizes that are open, and where they hold.",
)
@click.option("--verify", type=int, default=2, show_default=True, help=VERIFY)
@click.option("--autocast", metavar="DTYPE", help="Run as in torch.autocast on CUDA: float16, bfloat16.")
@click.option(
    "--estimate",
    "devices",
    metavar="A,B,…",
    callback=comma_separated,
    help="Also estimate how long it takes on these devices: rtx4090,h100; all of them with `all`.",
)
@click.option(
    "--mode",
    type=click.Choice(["eager", "compiled"]),
    default="eager",
    show_default=True,
    help="For --estimate: how it runs, as it is or through torch.compile.",
)
@rank_options
@click.option("--strict", is_flag=True, help="Fail (exit code 1) if an operator ran that has no rule.")
def cost(*, strict: bool, formula: bool, devices: list[str] | None, mode: str, **options: Any) -> int:
    """Count what MODEL costs (the default command: `fxcost MODEL`).

    \b
      fxcost torchvision:resnet50 --by operator --top 10
      fxcost net.py:Net --arg width=64 --input 1,3,32,32 --json net.json
      fxcost hf:llama --input input_ids=B,S:int64 --dim B=1..64 --dim S=8..4096 --formula
      fxcost hf:llama --training --mesh dp=8,tp=8 --parallel fsdp:dp,tp:tp --by collective
    """
    if mode != "eager" and not devices:
        raise click.UsageError("--mode is for --estimate: name the device")
    for name in devices or ():
        if name != EVERYWHERE:
            check_device(name, None)
    shown = [name for name in devices or () if name != EVERYWHERE]
    views = {**take_views(options), "formula": formula, "estimated": (shown, mode)}
    report = analyse(ModelOptions(**options, formula=formula))
    show_views(report, views)
    if devices and "-" not in views.values():
        layout = views["format"] or "rounded_outline"
        present(lambda: "\n" + _estimates(report, devices, mode, views["top"], layout), markup=layout)
    if strict and report.uncosted:
        operators = ", ".join(f"{op} ({times}×)" for op, times in report.uncosted.items())
        return fail(f"operators without a rule ran: {operators}", FAILED)
    return GOOD


def _estimates(report: Report, devices: list[str], mode: str, top: int | None, layout: str) -> str:
    """One estimate with its nodes, or a row for each of several."""
    from ..estimate.as_estimate import estimates_table
    from ..estimate.rank import devices_for
    from .devices import find_device

    if devices == [EVERYWHERE]:
        return devices_for(report, mode).table(layout)
    if len(devices) == 1:
        return report.estimate(find_device(devices[0]), mode).table(top or 20, layout)
    return estimates_table([report.estimate(find_device(device), mode) for device in devices], layout)
