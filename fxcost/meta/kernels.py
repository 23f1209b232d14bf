"""Runs operators on meta tensors: closed forms, PyTorch's meta kernels, and our own where there is none that fits."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from .closed_forms import CLOSED_FORMS
from .gradients import META_GRADIENTS
from .nested import refuse
from .sparse import PRODUCTS, dense_stand_ins, is_sparse

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


def histogram(x: Tensor, bins: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
    """`aten.histogram` with a number of bins: counts (bins,) and edges (bins + 1,)."""
    return x.new_empty((bins,)), x.new_empty((bins + 1,))


def histogram_between(x: Tensor, edges: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
    """`aten.histogram` with given edges: counts (edges − 1,), and the edges."""
    return x.new_empty((edges.shape[0] - 1,)), torch.empty_like(edges)


def least_squares(a: Tensor, b: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`aten.linalg_lstsq`: solution (…, n, k) of a (…, m, n) and b (…, m, k) or (…, m), rank, and two empty results."""
    one_column = b.dim() == 1 or b.shape == a.shape[:-1]
    shape = (*a.shape[:-2], a.shape[-1]) if one_column else (*a.shape[:-2], a.shape[-1], b.shape[-1])
    nothing = a.new_empty((0,))
    return a.new_empty(shape), nothing, a.new_empty(a.shape[:-2], dtype=torch.int64), torch.empty_like(nothing)


def int4_linear(x: Tensor, packed: Tensor, *_: Any) -> Tensor:
    """`aten._weight_int4pack_mm`: (m, k) with weights packed (n / 8, …) → (m, n), as CUDA has them.

    The stock kernel asks for a device that fake tensors alone have.
    """
    return x.new_empty((x.shape[0], packed.shape[0] * 8))


def quantized_linear(x: Tensor, packed: Any, *_: Any) -> Tensor:
    """`quantized::linear_dynamic` and its like: float (…, in) → float (…, out), weights packed (out, in)."""
    return x.new_empty((*x.shape[:-1], packed.unpack()[0].shape[0]))


def batch_norm(x: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    """`aten.native_batch_norm`. In eval mode nothing is saved, as on CPU and CUDA; PyTorch's returns statistics."""
    out, mean, rstd = aten.native_batch_norm.default(x, *rest)
    return (out, mean, rstd) if rest[4] else (out, mean.new_empty((0,)), rstd.new_empty((0,)))


META_KERNELS: dict[Any, Callable[..., Any]] = {
    **META_GRADIENTS,
    aten.native_batch_norm.default: batch_norm,
    aten._ctc_loss.Tensor: ctc_loss,
    aten._ctc_loss.default: ctc_loss,
    aten._nested_tensor_from_tensor_list.default: refuse,
    aten.linalg_lstsq.default: least_squares,
    aten._weight_int4pack_mm.default: int4_linear,
    aten.histogram.bin_ct: histogram,
    aten.histogram.bins_tensor: histogram_between,
    torch.ops.quantized.linear_dynamic.default: quantized_linear,
    torch.ops.quantized.linear_relu_dynamic.default: quantized_linear,
    torch.ops.quantized.linear_dynamic_fp16.default: quantized_linear,
}
if hasattr(aten, "_grouped_mm"):
    META_KERNELS[aten._grouped_mm.default] = grouped_mm


@lru_cache(maxsize=4096)
def rewrites_elements(op: Any) -> bool:
    """True for pointwise operators in place on their only tensor (`relu_`): on meta there is nothing to do."""
    if not isinstance(op, torch._ops.OpOverload) or torch.Tag.inplace_view in op.tags:
        return False
    first, *others = op._schema.arguments
    in_place = first.alias_info is not None and first.alias_info.is_write
    alone = not any("Tensor" in str(a.type) for a in others)
    return in_place and alone and torch.Tag.pointwise in op.tags and len(op._schema.returns) == 1


def kernel_for(op: Any, args: tuple[Any, ...]) -> Callable[..., Any]:
    """What runs an operator on dense meta tensors like these."""
    if rewrites_elements(op) and args[0].is_floating_point():
        return _first
    kernel: Callable[..., Any] = META_KERNELS.get(op, op)
    return kernel


def _first(x: Tensor, *_: Any, **__: Any) -> Tensor:
    return x


def run_on_meta(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run an operator on meta tensors."""
    if func in PRODUCTS and any(map(is_sparse, args)):
        return META_KERNELS.get(func, func)(*dense_stand_ins(args), **kwargs)
    closed = CLOSED_FORMS.get(func)
    if closed is not None and (out := closed(*args, **kwargs)) is not None:
        return out
    return kernel_for(func, args)(*args, **kwargs)
