"""Runs operators on meta tensors: closed forms, PyTorch's meta kernels, and our own where there is none that fits.

Half of PyTorch's meta kernels are Python code that takes up to half a millisecond, and deep models ask the same
question over and over. An operator that returns fresh tensors is a function of its arguments' shapes, strides, dtypes
and scalars on meta, so :class:`ShapeMemo` asks once per analysis.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from .cells import tensors
from .closed_forms import CLOSED_FORMS
from .convolution import convolution
from .gradients import META_GRADIENTS
from .iterator import ITERATED, is_pointwise, pointwise, relaid
from .layouts import LAYOUTS, filled
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


META_KERNELS: dict[Any, Callable[..., Any]] = {
    **ITERATED,
    **LAYOUTS,
    **META_GRADIENTS,
    aten.convolution.default: convolution,
    aten.native_batch_norm.default: batch_norm,
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


Made = tuple[tuple[torch.Size, tuple[int, ...], torch.dtype] | None, ...]
"""Shape, stride and dtype of each result in fresh memory; None where an operator returned none."""
_SCALARS = frozenset({int, float, bool})
_PLAIN = frozenset({str, type(None), torch.dtype, torch.device, torch.memory_format, torch.layout})
_VALUE_TAGS = (torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape, torch.Tag.inplace_view)


@lru_cache(maxsize=4096)
def returns_fresh(op: Any) -> bool:
    """True if an operator writes nothing, aliases nothing and returns only tensors, by its schema."""
    if not isinstance(op, torch._ops.OpOverload) or any(tag in op.tags for tag in _VALUE_TAGS):
        return False
    schema = op._schema
    tensors = all(str(r.type) == "Tensor" and r.alias_info is None for r in schema.returns)
    return tensors and bool(schema.returns) and not schema.is_mutable


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


class ShapeMemo:
    """What operators returned on meta tensors, by what they were given."""

    def __init__(self) -> None:
        self._made: dict[Any, Made | None] = {}

    def run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an operator on meta tensors, or make what it returned before for the same question."""
        if func in PRODUCTS and any(map(is_sparse, args)):
            return META_KERNELS.get(func, func)(*dense_stand_ins(args), **kwargs)
        closed = CLOSED_FORMS.get(func)
        if closed is not None and (out := closed(*args, **kwargs)) is not None:
            return out
        kernel = kernel_for(func, args)
        if not returns_fresh(func):
            return kernel(*args, **kwargs)
        key = (func, _question(args), _question(tuple(kwargs.items())))
        try:
            made = self._made.get(key, _UNASKED)
        except TypeError:  # an argument that can't be hashed
            return kernel(*args, **kwargs)
        if made is _UNASKED:
            out = kernel(*args, **kwargs)
            self._made[key] = describe(out, args)
            return out
        if made is None:
            return kernel(*args, **kwargs)
        return fresh(made, len(func._schema.returns) == 1)


def fresh(made: Made, single: bool) -> Any:
    """New meta tensors as described; without a tuple around it if there is a `single` one."""
    tensors = [m and torch.empty_strided(m[0], m[1], dtype=m[2], device="meta") for m in made]
    return tensors[0] if single else tuple(tensors)


_UNASKED: Any = object()


def _question(value: Any) -> Any:
    """A hashable stand-in for an argument; unhashable itself for what it does not know."""
    kind = type(value)
    if kind is Tensor or kind is torch.nn.Parameter:
        if value.layout is not torch.strided or value.is_complex() or value.is_quantized:
            return [value]
        return (value.shape, value.stride(), value.dtype)
    if kind is tuple or isinstance(value, list):
        return tuple([_question(v) for v in value])
    if kind in _SCALARS:
        return (kind, value)  # 1, 1.0 and True are equal, and not the same argument
    if kind in _PLAIN:
        return value
    return [value]


def describe(out: Any, args: Any) -> Made | None:
    """What an operator returned, if all of it is dense and in fresh memory."""
    given = {t.untyped_storage()._cdata for t in tensors(args)}
    made: list[Any] = []
    for tensor in out if isinstance(out, (tuple, list)) else (out,):
        if tensor is None:
            made.append(None)
            continue
        if type(tensor) is not Tensor or tensor.layout is not torch.strided:
            return None
        storage = tensor.untyped_storage()
        dense = storage.nbytes() == tensor.numel() * tensor.element_size()
        if storage._cdata in given or not dense or tensor.storage_offset():
            return None
        made.append((tensor.shape, tensor.stride(), tensor.dtype))
    return tuple(made)
