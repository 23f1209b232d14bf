"""`fxcost conventions`: the tools and papers whose numbers can be given."""

from __future__ import annotations

from .group import fxcost
from .output import GOOD, present


@fxcost.command()
def conventions() -> int:
    """List the tools and papers whose numbers `--as` gives.

    \b
      fxcost conventions
      fxcost torchvision:vit_b_16 --as thop,fvcore
    """
    from ..conventions import conventions as lines

    width = max(map(len, lines()))
    present(lambda: "\n".join(f"{name:{width}}  {line}" for name, line in lines().items()))
    return GOOD
