"""Sparse tensors on meta: how many values they store, and the products that they stand in.

`tensor.to("meta")` makes a sparse tensor that stores nothing, and so do PyTorch's meta kernels for its copies and casts
(a transposed tensor is a copy, too). So a meta copy of ours is made with as many values as the original, and
:func:`meta_kernels` keep it that way while an analysis runs. The shape of a product is that of the dense one.

Not here: operators that make sparse tensors from dense data; what they store is not known without it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

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


def meta_copy(tensor: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """A sparse tensor on meta with as many values as `tensor`, of its dtype or another."""
    tensor = tensor.detach()
    coo = tensor.layout is torch.sparse_coo
    values = torch.empty_like(tensor._values() if coo else tensor.values(), dtype=dtype, device="meta")
    if coo:
        indices = tensor._indices().to("meta")
        return torch.sparse_coo_tensor(
            indices, values, tensor.shape, is_coalesced=tensor.is_coalesced(), check_invariants=False
        )
    by_row = tensor.layout in (torch.sparse_csr, torch.sparse_bsr)
    starts, places = (
        (tensor.crow_indices(), tensor.col_indices()) if by_row else (tensor.ccol_indices(), tensor.row_indices())
    )
    return torch.sparse_compressed_tensor(
        starts.to("meta"), places.to("meta"), values, tensor.shape, layout=tensor.layout, check_invariants=False
    )


def stored(tensor: Tensor) -> int | None:
    """How many values a sparse tensor stores; None for dense ones, and where it isn't known.

    One on meta that stores nothing was most likely moved there, and lost them.
    """
    if not is_sparse(tensor):
        return None
    with _disable_current_modes(), torch._C.DisableTorchFunction():  # looking is no work of the model's
        values = tensor._values() if tensor.layout is torch.sparse_coo else tensor.values()
    return None if tensor.is_meta and not values.numel() else values.numel()


def _same_values(tensor: Tensor, *_: Any, dtype: torch.dtype | None = None, **__: Any) -> Tensor:
    """As many values in the same places: copies and casts, also products with a number or with a dense tensor."""
    return meta_copy(tensor, dtype)


def _to_dense(tensor: Tensor, dtype: torch.dtype | None = None, *_: Any, **__: Any) -> Tensor:
    return torch.empty(tensor.shape, dtype=dtype or tensor.dtype, device="meta")


_META_KERNELS: dict[str, tuple[tuple[str, Callable[..., Tensor]], ...]] = {
    "SparseMeta": (
        ("clone", _same_values),
        ("_to_copy", _same_values),
        ("mul.Tensor", _same_values),
        ("_coalesce", _same_values),
        ("_sparse_softmax", _same_values),
        ("_to_dense", _to_dense),
    ),
    "SparseCsrMeta": (("_to_copy", _same_values), ("sparse_sampled_addmm", _same_values)),
}


def meta_kernels(library: torch.library.Library) -> None:
    """Register what PyTorch lacks for sparse tensors on meta, or has and loses their values with."""
    for key, kernels in _META_KERNELS.items():
        for name, kernel in kernels:
            library.impl(name, kernel, key)


def dense_stand_ins(value: Any) -> Any:
    """Arguments with a dense meta tensor in place of each sparse one."""
    if is_sparse(value):
        return torch.empty(value.shape, dtype=value.dtype, device="meta")
    return type(value)(map(dense_stand_ins, value)) if isinstance(value, (tuple, list)) else value
