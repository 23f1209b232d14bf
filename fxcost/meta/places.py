"""How many places a mask leaves, where its values are known: attention need not compute the others.

Masks are made of positions, which are followed; a causal mask, a window, a chunk or a prefix that stands in a tensor is
counted so, up to the size to which values are followed (cells.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes, _get_current_dispatch_mode_stack

from .cells import Cell, window


@dataclass
class Uncounted:
    """Whether there were masks that could have been counted."""

    met: bool = False


_uncounted: ContextVar[Uncounted | None] = ContextVar("fxcost_uncounted_places", default=None)


@contextmanager
def uncounted() -> Iterator[Uncounted]:
    """While active, no mask is counted, but whether there are any: its count is no polynomial in a length."""
    masks = Uncounted()
    token = _uncounted.set(masks)
    try:
        yield masks
    finally:
        _uncounted.reset(token)


def kept(mask: Tensor | None) -> int | None:
    """Places of a mask that it leaves: True, or above the lowest number; None where that is not known without data."""
    if mask is None:
        return None
    cell = _cell_of(mask) if mask.is_meta else None
    if mask.is_meta and (cell is None or cell.storage is None or cell.sampled):
        return None
    masks = _uncounted.get()
    if masks is not None:
        masks.met = True
        return None
    if cell is None or cell.storage is None:
        return _left(mask)
    key = mask.dtype, mask.storage_offset(), tuple(mask.shape), mask.stride()
    if key not in cell.places:
        with _disable_current_modes():
            cell.places[key] = _left(window(cell.storage, mask))
    return cell.places[key]


def _cell_of(mask: Tensor) -> Cell | None:
    """What is known of a tensor's values, by the mode that follows them."""
    modes = reversed(_get_current_dispatch_mode_stack())
    cell_of = next((found for mode in modes if (found := getattr(mode, "cell_of", None)) is not None), None)
    return None if cell_of is None else cell_of(mask)


def _left(values: Tensor) -> int:
    left = values if values.dtype is torch.bool else values > torch.finfo(values.dtype).min
    return int(left.sum())
