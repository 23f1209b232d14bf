"""Indices that point nowhere: PyTorch refuses them by their values, which its meta kernels do not see.

Only where the values are known: constants, and integers that were given with data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten

_Pairs = Iterator[tuple[Any, int]]


def _rows(args: tuple[Any, ...]) -> _Pairs:
    yield args[1], args[0].shape[0]


def _along(args: tuple[Any, ...]) -> _Pairs:
    """`dim` stands before the index."""
    yield args[2], args[0].shape[args[1]] if args[0].dim() else 1


def _each(args: tuple[Any, ...]) -> _Pairs:
    """An index for each dimension, or none; a mask takes as many as it has."""
    place = 0
    for index in args[1]:
        if isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8):
            place += index.dim()
            continue
        if place < args[0].dim():
            yield index, args[0].shape[place]
        place += 1


def _classes(args: tuple[Any, ...]) -> _Pairs:
    """Targets of a loss; one of them may say that a place does not count."""
    yield args[1], args[0].shape[1 if args[0].dim() > 1 else 0]


def _anywhere(args: tuple[Any, ...]) -> _Pairs:
    yield args[1], args[0].numel()


_Check = tuple[Callable[[tuple[Any, ...]], _Pairs], bool, type[Exception]]
_ALONG = ("gather", "scatter.src", "scatter.value", "scatter_.src", "scatter_.value", "scatter_add", "scatter_add_")
_EACH = ("index.Tensor", "index_put", "index_put_", "_unsafe_index.Tensor")


def _overload(name: str) -> Any:
    packet, _, overload = name.partition(".")
    return getattr(getattr(aten, packet), overload or "default")


_LOSSES = (aten.nll_loss_forward.default, aten.nll_loss2d_forward.default)
BOUNDED: dict[Any, _Check] = {
    aten.embedding.default: (_rows, False, IndexError),
    aten._embedding_bag.default: (_rows, False, RuntimeError),
    aten._embedding_bag_forward_only.default: (_rows, False, RuntimeError),
    aten.take.default: (_anywhere, True, IndexError),
    aten.index_select.default: (_along, False, IndexError),
    **dict.fromkeys(_LOSSES, (_classes, False, IndexError)),
    **{_overload(name): (_along, False, RuntimeError) for name in _ALONG},
    **{_overload(name): (_each, True, IndexError) for name in _EACH},
}
"""Operator → what pairs indices with sizes, whether indices may count from the end, what is raised."""


def check_bounds(func: Any, args: tuple[Any, ...], value: Callable[[Tensor], Tensor | None]) -> None:
    """Raise as PyTorch does where an index of which `value` knows what it holds points outside.

    Raises:
        IndexError, RuntimeError: it does.
    """
    pairs, from_the_end, error = BOUNDED[func]
    if func is aten.index_select.default and args[0].dim() > 1:  # as the CPU's kernel does
        error = RuntimeError
    for index, size in pairs(args):
        known = value(index) if isinstance(index, Tensor) and index.numel() else None
        if known is None:
            continue
        if func in _LOSSES:
            known = known[known != args[4]]
        if not known.numel():
            continue
        low, high = (int(limit) for limit in known.aminmax())
        if low < (-size if from_the_end else 0) or high >= size:
            found = low if low < (-size if from_the_end else 0) else high
            raise error(f"index {found} is out of bounds for a dimension of size {size}")
