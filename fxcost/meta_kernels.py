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


def ctc_loss(
    log_probs: Tensor, targets: Tensor, input_lengths: Any, target_lengths: Any, *_: Any
) -> tuple[Tensor, Tensor]:
    """`aten._ctc_loss`: losses (N,) and the log of the forward variables (N, T, 2·S + 1).

    Source: ATen/native/LossCTC.cpp; S is the longest target, taken as dense (the width of padded targets).
    """
    batch = log_probs.shape[1] if log_probs.dim() == 3 else 1
    longest = targets.shape[1] if targets.dim() == 2 else targets.shape[0]
    return log_probs.new_empty((batch,)), log_probs.new_empty((batch, log_probs.shape[0], 2 * longest + 1))


def quantized_linear(x: Tensor, packed: Any, *_: Any) -> Tensor:
    """`quantized::linear_dynamic` and its like: float (…, in) → float (…, out), weights packed (out, in)."""
    return x.new_empty((*x.shape[:-1], packed.unpack()[0].shape[0]))


META_KERNELS: dict[Any, Callable[..., Any]] = {
    aten._ctc_loss.Tensor: ctc_loss,
    aten._ctc_loss.default: ctc_loss,
    torch.ops.quantized.linear_dynamic.default: quantized_linear,
    torch.ops.quantized.linear_relu_dynamic.default: quantized_linear,
    torch.ops.quantized.linear_dynamic_fp16.default: quantized_linear,
}
if hasattr(aten, "_grouped_mm"):
    META_KERNELS[aten._grouped_mm.default] = grouped_mm
