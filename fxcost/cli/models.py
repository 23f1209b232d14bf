"""`fxcost models`: the names of the models that can be given."""

from __future__ import annotations

import click

from .complete import complete_model
from .group import fxcost
from .names import matching
from .output import FAILED, GOOD, emit, fail


@fxcost.command()
@click.argument("pattern", required=False, default="", shell_complete=complete_model)
def models(*, pattern: str) -> int:
    """List the models that can be given: of all libraries, those that match PATTERN, or what a file defines.

    PATTERN is a part of a name, or has wildcards; with a prefix (timm:) it is looked for in one library.

    \b
      fxcost models resnet50
      fxcost models 'timm:vit_*_patch16*'
      fxcost models net.py
    """
    found = matching(pattern)
    if not found:
        return fail(f"no model matches {pattern!r}", FAILED)
    emit("\n".join(found))
    return GOOD
