"""Runs operators on meta tensors: closed forms, PyTorch's meta kernels, and our own where there is none that fits."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from .answers import returns_fresh
from .closed_forms import CLOSED_FORMS
from .convolution import convolution
from .gradients import META_GRADIENTS
from .iterator import ITERATED, is_pointwise, pointwise, relaid
from .layouts import LAYOUTS, filled
from .nested import refuse
from .refusals import REFUSALS
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

    Source: ATen/native/LossCTC.cpp; S is the longest target; with lengths in a tensor the width of padded targets.
    """
    batch = log_probs.shape[1] if log_probs.dim() == 3 else 1
    longest = targets.shape[1] if targets.dim() == 2 else targets.shape[0]
    if isinstance(target_lengths, (tuple, list)):
        longest = max(target_lengths, default=0)
    return log_probs.new_empty((batch,)), log_probs.new_empty((batch, log_probs.shape[0], 2 * longest + 1))


def histogram(x: Tensor, bins: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
    """`aten.histogram` with a number of bins: counts (bins,) and edges (bins + 1,)."""
    return x.new_empty((bins,)), x.new_empty((bins + 1,))


def histogram_between(x: Tensor, edges: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
    """`aten.histogram` with given edges: counts (edges − 1,), and the edges."""
    return x.new_empty((edges.shape[0] - 1,)), torch.empty_like(edges)


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
    out = relaid(out, filled(x, out.shape))
    return (out, mean, rstd) if rest[4] else (out, mean.new_empty((0,)), rstd.new_empty((0,)))


def embedding_bag(op: Any, bags_of_offsets: bool) -> Callable[..., tuple[Tensor, ...]]:
    """Embedding bags: rows (bags, d), and what the backward needs, as the CPU has it.

    That is the bag of each index, unless rows are added up by one call; the sizes of bags, one for each offset if the
    forward pass is all; and the place of each maximum. Source: ATen/native/EmbeddingBag.cpp, `_embedding_bag_cpu_impl`.
    """

    def kernel(
        weight: Tensor,
        indices: Tensor,
        offsets: Tensor,
        scale: bool = False,
        mode: int = 0,
        sparse: bool = False,
        weights: Tensor | None = None,
        last: bool = False,
        padding: int = -1,
    ) -> tuple[Tensor, ...]:
        out = op(weight, indices, offsets, scale, mode, sparse, weights, last, padding)[0]
        rows = weight.dtype in (torch.float32, torch.float16) and weight.stride(1) == 1 and padding < 0
        added = mode == 0 and rows and (weights is None or weights.stride(0) == 1)
        sizes = offsets.new_empty(offsets.shape[0] if bags_of_offsets else out.shape[0])
        places = offsets.new_empty(out.shape if mode == 2 else sizes.shape)
        return out, offsets.new_empty(0 if added else indices.shape[0]), sizes, places

    return kernel


META_KERNELS: dict[Any, Callable[..., Any]] = {
    **ITERATED,
    **LAYOUTS,
    **META_GRADIENTS,
    aten.convolution.default: convolution,
    aten.native_batch_norm.default: batch_norm,
    aten._embedding_bag.default: embedding_bag(aten._embedding_bag.default, False),
    aten._embedding_bag_forward_only.default: embedding_bag(aten._embedding_bag_forward_only.default, True),
    aten._ctc_loss.Tensor: ctc_loss,
    aten._ctc_loss.default: ctc_loss,
    aten._nested_tensor_from_tensor_list.default: refuse,
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
    return META_KERNELS.get(op) or _otherwise(op)


@lru_cache(maxsize=4096)
def _otherwise(op: Any) -> Callable[..., Any]:
    """PyTorch's own meta kernel; of a pointwise operator the result gets the strides that C++ gives it."""
    kernel: Callable[..., Any] = pointwise(op) if returns_fresh(op) and is_pointwise(op) else op
    return kernel


def _first(x: Tensor, *_: Any, **__: Any) -> Tensor:
    return x


def run_on_meta(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run an operator on meta tensors.

    Raises:
        RuntimeError: PyTorch refuses the arguments.
    """
    if (check := REFUSALS.get(func)) is not None:
        check(func, args)
    if func in PRODUCTS and any(map(is_sparse, args)):
        return META_KERNELS.get(func, func)(*dense_stand_ins(args), **kwargs)
    closed = CLOSED_FORMS.get(func)
    if closed is not None and (out := closed(*args, **kwargs)) is not None:
        return out
    return kernel_for(func, args)(*args, **kwargs)
