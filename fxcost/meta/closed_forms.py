"""Shapes of the operators that models run most, said in closed form.

PyTorch's meta kernels of these are decompositions in Python, which take up to 1.5 ms. Each of ours answers for
floating-point tensors of one dtype in the usual layout (:func:`_usual`), and returns None for whatever else it is
given, what PyTorch refuses included: then PyTorch is asked. tests/test_closed_forms.py compares both.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import prod
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten

Normalized = tuple[Tensor, Tensor, Tensor] | None
_FULL = (torch.float32, torch.float64)
_NUMBERS = frozenset({int, float, bool})


def _made(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """A row-major tensor of the other's dtype; on meta `new_empty` takes several times as long."""
    return torch.empty(shape, dtype=like.dtype, device="meta")


def _usual(tensor: Tensor) -> bool:
    """True for floating-point data that lies row by row, and in no other layout at the same time."""
    plain = _row_by_row(tensor) and tensor.is_floating_point() and tensor.numel() > 0
    return plain and not _channels_last(tensor)


def _row_by_row(tensor: Tensor) -> bool:
    """True for contiguous data, sizes of 1 having the stride of new data too."""
    shape = tensor.shape
    dense = tensor.layout is torch.strided and tensor.is_contiguous()
    return dense and (1 not in shape or tensor.stride() == _strides(shape))


@lru_cache(maxsize=4096)
def _strides(shape: torch.Size) -> tuple[int, ...]:
    return tuple([prod(shape[i:]) for i in range(1, len(shape) + 1)])


def _channels_last(tensor: Tensor) -> bool:
    return tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last)


def _broadcast(a: torch.Size, b: torch.Size) -> torch.Size | None:
    """Shape of two operands of which one has the result's shape; None where neither has.

    Sizes of 1 are left to PyTorch where shapes differ: what stride they get hangs on the order of the operands.
    """
    if a == b:
        return a
    if len(a) < len(b):
        a, b = b, a
    if 1 in a:
        return None
    fits = all(size in (1, wanted) for size, wanted in zip(reversed(b), reversed(a), strict=False))
    return a if fits else None


def unary(x: Tensor, *numbers: Any) -> Tensor | None:
    """A pointwise operator on one tensor, its other arguments being numbers."""
    return _made(x.shape, x) if _usual(x) and _NUMBERS.issuperset(map(type, numbers)) else None


def gelu(x: Tensor, *, approximate: str = "none") -> Tensor | None:
    """`aten.gelu`, exact or by tanh."""
    return unary(x) if approximate in ("none", "tanh") else None


def clamp(x: Tensor, *limits: Any) -> Tensor | None:
    """`aten.clamp` with one limit or two, either of which may be None."""
    given = [limit for limit in limits if limit is not None]
    return unary(x, *given) if given else None


def binary(x: Tensor, y: Any, *, alpha: Any = 1) -> Tensor | None:
    """A pointwise operator on two tensors, or on one and a number."""
    if not _usual(x) or type(alpha) not in (int, float):
        return None
    if isinstance(y, Tensor):
        shape = _broadcast(x.shape, y.shape) if y.dtype is x.dtype and _usual(y) else None
        return None if shape is None else _made(shape, x)
    return _made(x.shape, x) if type(y) in _NUMBERS else None


def masked_fill(x: Tensor, mask: Tensor, value: Any) -> Tensor | None:
    """`aten.masked_fill` with a number, on a mask of the data's shape or one that is broadcast to it."""
    fits = _usual(x) and mask.dtype is torch.bool and _row_by_row(mask) and type(value) in _NUMBERS
    return _made(x.shape, x) if fits and _broadcast(x.shape, mask.shape) == x.shape else None


def addmm(bias: Tensor, a: Tensor, b: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor | None:
    """`aten.addmm`: (m, k) times (k, n), plus a bias of n or (m, n). The strides of one column are PyTorch's affair."""
    if not _NUMBERS.issuperset((type(beta), type(alpha))):
        return None
    dense = a.layout is b.layout is bias.layout is torch.strided
    fits = dense and a.dim() == b.dim() == 2 and a.is_floating_point() and a.dtype is b.dtype is bias.dtype
    if not fits or a.shape[1] != b.shape[0] or b.shape[1] < 2:
        return None
    shape = (a.shape[0], b.shape[1])
    return _made(shape, a) if bias.shape in (shape, shape[1:]) else None


def roll(x: Tensor, shifts: Any, dims: Any = ()) -> Tensor | None:
    """`aten.roll` along dimensions of the data."""
    known = len(shifts) == len(dims) > 0 and all(-x.dim() <= dim < x.dim() for dim in dims)
    return _made(x.shape, x) if known and _usual(x) else None


def mean(x: Tensor, dims: Any, keepdim: bool = False, *, dtype: torch.dtype | None = None) -> Tensor | None:
    """`aten.mean` along dimensions of the data, which are left out or kept with size 1."""
    reduced = {dim % x.dim() for dim in dims if -x.dim() <= dim < x.dim()} if dims and x.dim() else set()
    if not reduced or len(reduced) != len(dims) or dtype is not None or not _usual(x):
        return None
    return _made(tuple([1 if i in reduced else n for i, n in enumerate(x.shape) if keepdim or i not in reduced]), x)


def batch_norm(x: Tensor, *rest: Any) -> Normalized:
    """`aten.native_batch_norm`: the result, and in training a mean and a deviation for each channel."""
    channels = x.shape[1:2]
    if not channels or not _row_by_row(x) or (not rest[4] and rest[2] is None):  # nothing to normalize by
        return None
    if any(t is not None and (t.shape != channels or t.dtype is not x.dtype) for t in rest[:4]):
        return None
    saved = channels if rest[4] else (0,)
    return _made(x.shape, x), _made(saved, x), _made(saved, x)


def layer_norm(x: Tensor, normalized: Any, weight: Tensor | None, bias: Tensor | None, eps: float) -> Normalized:
    """`aten.native_layer_norm`: the result in row-major layout, and a mean and a deviation for each row."""
    if x.layout is not torch.strided:
        return None
    shape, out = tuple(normalized), _made(x.shape, x)
    rows = x.dim() - len(shape)
    if rows < 0 or not shape or x.shape[rows:] != shape or x.dtype not in _FULL:
        return None
    if any(t is not None and (t.shape != shape or t.dtype is not x.dtype) for t in (weight, bias)):
        return None
    each = (*x.shape[:rows], *[1] * len(shape))
    return out, _made(each, x), _made(each, x)


def group_norm(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, n: int, c: int, area: int, groups: int, eps: float
) -> Normalized:
    """`aten.native_group_norm` of (n, c, …): the result, and a mean and a deviation for each group of each sample."""
    whole = groups > 0 and c % groups == 0 and x.shape[:2] == (n, c) and x.numel() == n * c * area
    if not whole or x.dtype not in _FULL or not _usual(x):
        return None
    if any(t is not None and (t.shape != (c,) or t.dtype is not x.dtype) for t in (weight, bias)):
        return None
    return _made(x.shape, x), _made((n, groups), x), _made((n, groups), x)


def convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
) -> Tensor | None:
    """`aten.convolution` of images: out = (in + 2·padding − dilation·(k − 1) − 1) / stride + 1.

    Source: torch.nn.Conv2d.
    """
    if transposed or x.dim() != 4 or weight.dim() != 4 or not _usual(x) or _channels_last(weight):
        return None
    n, c_in, *size = x.shape
    c_out, c_each, *kernel = weight.shape
    if c_in != c_each * groups or c_out % groups or not c_out or not _row_by_row(weight):
        return None
    if weight.dtype is not x.dtype or not (bias is None or (bias.dtype is x.dtype and bias.shape == (c_out,))):
        return None
    if not all(len(sizes) in (1, 2) for sizes in (padding, dilation, stride)):
        return None
    if min(padding) < 0 or min(dilation) < 1 or min(stride) < 1 or not all(kernel):
        return None
    along = zip(size, kernel, _pair(padding), _pair(dilation), _pair(stride), strict=True)
    out = [(i + 2 * p - d * (k - 1) - 1) // s + 1 for i, k, p, d, s in along]
    return _made((n, c_out, *out), x) if min(out) > 0 else None


def _pair(sizes: Any) -> Any:
    return sizes if len(sizes) == 2 else (*sizes, *sizes)


_UNARY = (
    "abs cos elu erf exp hardsigmoid hardswish hardtanh leaky_relu log log1p mish neg reciprocal relu rsqrt "
    "sigmoid silu sin softplus sqrt tanh"
)
UNARY = (*[getattr(aten, name).default for name in _UNARY.split()], aten.pow.Tensor_Scalar, aten.mul.Scalar)
BINARY = tuple(getattr(aten, name).Tensor for name in ("add", "sub", "mul", "div"))

CLOSED_FORMS: dict[Any, Callable[..., Any]] = {
    **dict.fromkeys(UNARY, unary),
    **dict.fromkeys(BINARY, binary),
    aten.addmm.default: addmm,
    aten.clamp.default: clamp,
    aten.convolution.default: convolution,
    aten.gelu.default: gelu,
    aten.masked_fill.Scalar: masked_fill,
    aten.mean.dim: mean,
    aten.native_batch_norm.default: batch_norm,
    aten.native_group_norm.default: group_norm,
    aten.native_layer_norm.default: layer_norm,
    aten.roll.default: roll,
}
