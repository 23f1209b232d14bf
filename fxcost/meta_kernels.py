"""Shapes of operators whose meta kernel is missing, or refuses what a real kernel takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten


def grouped_mm(
    a: Tensor, b: Tensor, offs: Tensor | None = None, bias: Tensor | None = None, out_dtype: torch.dtype | None = None
) -> Tensor:
    """`torch.nn.functional.grouped_mm`: rows of `a` (or groups of them, ending at `offs`) times one matrix each.

    The stock meta kernel takes bfloat16 only; CPU and CUDA fall back to a loop over groups for other dtypes.
    """
    dtype = out_dtype or a.dtype
    if a.dim() == 2 and b.dim() == 2:
        assert offs is not None
        return a.new_empty((offs.shape[0], a.shape[0], b.shape[1]), dtype=dtype)
    if a.dim() == 2:
        return a.new_empty((a.shape[0], b.shape[-1]), dtype=dtype)
    if b.dim() == 2:
        return a.new_empty((a.shape[1], b.shape[1]), dtype=dtype)
    return a.new_empty((a.shape[0], a.shape[1], b.shape[-1]), dtype=dtype)


META_KERNELS: dict[Any, Callable[..., Any]] = {}
if hasattr(aten, "_grouped_mm"):
    META_KERNELS[aten._grouped_mm.default] = grouped_mm
