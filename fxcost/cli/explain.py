"""`fxcost explain MODEL NODE`: how a number came about."""

from __future__ import annotations

import json as json_text
from typing import Any

import click

from .group import fxcost
from .model import model_options, report_of
from .output import GOOD, check_writable, present, write


@fxcost.command()
@model_options
@click.argument("name", metavar="[NODE]", default="")
@click.option("--json", metavar="PATH", help="Write the explanation as JSON; - is the standard output.")
def explain(*, name: str, json: str | None, **options: Any) -> int:
    """Explain the cost of NODE, a module or node of MODEL: the operators that ran, and each one's rule and formula.

    MODEL may also be a report that was written with --json. Without NODE the model itself is explained. `fxcost MODEL
    --by node` lists the nodes.

    \b
      fxcost explain torchvision:resnet50 conv1
      fxcost explain timm:vit_base_patch16_224 blocks.0.attn
    """
    check_writable(json)
    found = report_of(options.pop("model"), options).explain(name)
    if json is not None:
        write(json, json_text.dumps(found.to_dict(), indent=1, ensure_ascii=False) + "\n")
    if json != "-":
        present(lambda: str(found))
    return GOOD
