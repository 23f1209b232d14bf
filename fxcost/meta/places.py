"""How many places a mask leaves, where its values are known: attention need not compute the others.

Masks are made of positions, which are followed; a causal mask, a window, a chunk or a prefix that stands in a tensor is
counted so, up to the size to which values are followed (cells.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes, _get_current_dispatch_mode_stack

from .cells import Cell, window

_counts: ContextVar[bool] = ContextVar("fxcost_counts_places", default=True)


@contextmanager
def uncounted() -> Iterator[None]:
    """While active, no mask is counted: its count is no polynomial in a length, as formulas need."""
    token = _counts.set(False)
    try:
        yield
    finally:
        _counts.reset(token)


def kept(mask: Tensor | None) -> int | None:
    """Places of a mask that it leaves: True, or above the lowest number; None where that is not known without data."""
    if mask is None or not _counts.get():
        return None
    if not mask.is_meta:
        return _left(mask)
    modes = reversed(_get_current_dispatch_mode_stack())
    cell_of = next((found for mode in modes if (found := getattr(mode, "cell_of", None)) is not None), None)
    cell: Cell | None = None if cell_of is None else cell_of(mask)
    if cell is None or cell.storage is None or cell.sampled:
        return None
    key = mask.dtype, mask.storage_offset(), tuple(mask.shape), mask.stride()
    if key not in cell.places:
        with _disable_current_modes():
            cell.places[key] = _left(window(cell.storage, mask))
    return cell.places[key]


def _left(values: Tensor) -> int:
    left = values if values.dtype is torch.bool else values > torch.finfo(values.dtype).min
    return int(left.sum())
