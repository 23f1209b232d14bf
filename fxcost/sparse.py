"""Sparse tensors on meta: how many values they store, and the products that they stand in.

A meta copy of a sparse tensor stores nothing, so the number is carried along on the copy. PyTorch has no meta kernels
for sparse operands; the shape of a product is that of the dense one.

Not here: operators that make sparse tensors from data; what they store is not known without it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten
PRODUCTS = frozenset(
    {
        aten.mm.default,
        aten.mv.default,
        aten.addmm.default,
        aten.addmv.default,
        aten.bmm.default,
        aten._sparse_addmm.default,
    }
)


def is_sparse(value: Any) -> bool:
    """True for tensors of a sparse layout (COO, CSR, CSC, BSR, BSC)."""
    return isinstance(value, Tensor) and value.layout is not torch.strided and not value.is_nested


def meta_copy(tensor: Tensor) -> Tensor:
    """A sparse tensor on meta that remembers how many values the original stores."""
    meta: Any = tensor.detach().to("meta")
    meta._fxcost_stored = stored(tensor)
    return meta  # type: ignore[no-any-return]


def stored(tensor: Tensor) -> int | None:
    """How many values a sparse tensor stores; None for dense ones, and where it isn't known."""
    if not is_sparse(tensor):
        return None
    if tensor.is_meta:
        return getattr(tensor, "_fxcost_stored", None)
    values = tensor._values() if tensor.layout is torch.sparse_coo else tensor.values()
    return values.numel()


def dense_stand_ins(value: Any) -> Any:
    """Arguments with a dense meta tensor in place of each sparse one."""
    if is_sparse(value):
        return torch.empty(value.shape, dtype=value.dtype, device="meta")
    return type(value)(map(dense_stand_ins, value)) if isinstance(value, (tuple, list)) else value
