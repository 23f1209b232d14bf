"""`fxcost rank MODEL …`: models on a device that is not at hand, fastest first."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import Any

import click

from .checks import check_format, check_numbers
from .complete import complete_model
from .group import fxcost
from .model import ModelOptions, analyse, input_options
from .output import FAILED, GOOD, fail, present


@fxcost.command()
@click.argument("models", metavar="MODEL…", nargs=-1, required=True, shell_complete=complete_model)
@input_options
@click.option("--device", metavar="NAME", required=True, help="Where they would run: rtx4090, h100 …")
@click.option("--mode", type=click.Choice(["eager", "compiled"]), default="eager", show_default=True, help="How.")
@click.option("--autocast", metavar="DTYPE", help="As in torch.autocast on CUDA: float16, bfloat16.")
@click.option("--format", "table_format", metavar="FORMAT", default="rounded_outline", help="Any format of tabulate.")
def rank(*, models: Sequence[str], device: str, mode: str, table_format: str, **options: Any) -> int:
    """Rank each MODEL, with wildcards (timm:resnet*), by its estimated time for a sample on a device.

    \b
      fxcost rank 'timm:resnet1*' timm:vit_tiny_patch16_224 --device rtx4090 --batch 64 --autocast float16
    """
    from ..errors import FxcostError
    from ..estimate.rank import rank as ranked
    from ..sources import matching
    from ..speed.devices import Device

    check_format(table_format)
    check_numbers(dtype=options["dtype"], training=False, optimizer=None)
    found = Device.named(device)  # what is not known is said before any model is built
    with redirect_stdout(sys.stderr):
        names = list(dict.fromkeys(name for model in models for name in matching(model)))
    reports, failed = {}, []
    for name in names:
        try:
            reports[name] = analyse(ModelOptions(model=name, **options))
        except FxcostError as error:
            failed.append(f"{name}: {error}")
    samples = dict.fromkeys(reports, options["batch"] or 1)
    if reports:
        present(lambda: ranked(reports, found, mode, samples).table(table_format), markup=table_format)
    if failed:
        return fail("; ".join(failed), FAILED)
    return GOOD
