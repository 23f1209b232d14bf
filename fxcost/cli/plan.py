"""`fxcost plan MODEL`: which modules to checkpoint so that a training step fits into memory."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

import click

from ..text.amounts import parse_bytes
from .checks import check_format, check_numbers, check_plot
from .group import fxcost
from .model import ModelOptions, load_model, model_options, parse_optimizer
from .output import FAILED, GOOD, check_writable, fail, present, write, write_file, wrote
from .progress import working

if TYPE_CHECKING:
    from ..plan.plan import Plan


@fxcost.command()
@model_options
@click.option("--memory", metavar="SIZE", required=True, help="The limit: 24GiB, 80GB, or bytes.")
@click.option("--optimizer", metavar="NAME", default="adamw", show_default=True, help="Whose state counts.")
@click.option("--reserve", metavar="SIZE", default="0", help="Leave so much free for what is not counted.")
@click.option("--autocast", metavar="DTYPE", help="Run as in torch.autocast on CUDA: float16, bfloat16.")
@click.option("--format", "table_format", metavar="FORMAT", default="rounded_outline", help="Any format of tabulate.")
@click.option("--plot", metavar="PATH", help="Draw the frontier of peak against recomputation (matplotlib).")
@click.option("--json", metavar="PATH", help="Write the plan as JSON (-: to standard output).")
def plan(
    *,
    memory: str,
    optimizer: str,
    reserve: str,
    table_format: str,
    plot: str | None,
    json: str | None,
    autocast: str | None,
    **options: Any,
) -> int:
    """Choose modules of MODEL to checkpoint so that a training step fits, at the least recomputation.

    Shows what choices there are, and code to paste. Exit code 1 if none fits.

    \b
      fxcost plan hf:gpt2 --memory 8GiB --input input_ids=8,512:int64
      fxcost plan torchvision:vit_b_16 --batch 64 --memory 8GiB --optimizer adamw
    """
    for size in (memory, reserve):
        parse_bytes(size)
    check_numbers(dtype=options["dtype"], training=True, optimizer=parse_optimizer(optimizer))
    check_format(table_format)
    check_plot(plot)
    check_writable(json)
    from ..errors import PlanError
    from ..plan.plan import plan as find

    chosen = ModelOptions(**{**options, "train": True})
    try:
        with redirect_stdout(sys.stderr), working(f"planning {chosen.model}"):
            loaded, inputs = load_model(chosen)
            found = find(
                loaded.model,
                inputs.args,
                inputs.kwargs,
                memory=memory,
                optimizer=parse_optimizer(optimizer),
                reserve=reserve,
                dtype=chosen.dtype,
                autocast=autocast,
            )
    except PlanError as error:
        return fail(str(error), FAILED)
    _show(found, plot, json, table_format)
    return GOOD


def _show(found: Plan, plot: str | None, json: str | None, table_format: str) -> None:
    if plot is not None:
        write_file(plot, found.plot)
        wrote(plot)
    if json is not None:
        write(json, found.to_json() + "\n")
    if json != "-":
        present(lambda: found.text(table_format))
