"""Experts that are spread over ranks: how many rows of a product a rank really computes.

With expert parallel by all-reduce every rank has all tokens, and those for experts of other ranks stand behind the last
group of a grouped product, where its kernel computes nothing. How many these are hangs on data; they are taken to be as
many as there are experts elsewhere: tokens spread evenly.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from .private import held

GROUPED = getattr(torch.ops.aten, "_grouped_mm", None)
EVEN = "tokens are spread evenly over the experts: this rank computes its share, {local} of {total} experts"
ALL_ROWS = (
    "products over experts count all rows, also those that belong to experts of other ranks, which kernels leave out"
)
Key = tuple[int, frozenset[int]]
"""How many experts a stack of weights has here, and the sizes of one's weights in whatever order."""


def stacks(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """Shapes of what a rank holds of parameters that may be stacks of experts' weights, by name."""
    return {name: tuple(held(p).shape) for name, p in model.named_parameters() if p.dim() == 3}


def spread(before: Mapping[str, tuple[int, ...]], after: Mapping[str, tuple[int, ...]]) -> dict[Key, tuple[int, int]]:
    """Experts here and in all, of the stacks of weights of which a rank has a part; shapes by the parameter's name.

    >>> spread({"experts.up": (8, 4, 16)}, {"experts.up": (2, 4, 16)})
    {(2, frozenset({16, 4})): (2, 8)}
    """
    return {
        (shape[0], frozenset(shape[1:])): (shape[0], before[name][0])
        for name, shape in after.items()
        if name in before and shape[1:] == before[name][1:] and shape[0] < before[name][0]
    }


def computed(args: tuple[Any, ...], out: Any, share: tuple[int, int]) -> tuple[tuple[Any, ...], Any]:
    """Arguments and result of a grouped product, cut to the rows that are computed.

    Args:
        args: (rows, k) and (experts, k, n), or (k, rows) and (rows, n), then where each group ends.
        out: what it returned.
        share: experts here and in all.
    """
    local, total = share
    a, b, *rest = args
    if b.dim() == 2:
        rows = a.shape[1] * local // total
        return (a[:, :rows], b[:rows], *rest), out
    rows = a.shape[0] * local // total
    return (a[:rows], b, *rest), out[:rows]
