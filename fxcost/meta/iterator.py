"""Strides of what pointwise operators return, as PyTorch's C++ has them.

CPU and CUDA run pointwise operators through one class, TensorIterator, which lays a result out as the operands are laid
out. PyTorch's meta kernels say the same in Python, nearly: they differ for kernels that are written there as several
operators (`logical_and`, `div` with rounding, gradients of activations), and where a size is 1.

Source: ATen/TensorIterator.cpp, `compute_fast_setup_type`, `compute_strides`, `reorder_dimensions`,
`allocate_or_resize_outputs`. tests/meta/test_iterator.py compares with real runs of every pointwise operator.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten

Strides = tuple[int, ...]


def row_major(shape: Sequence[int]) -> Strides:
    """Strides of new data in the usual layout."""
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(reversed(strides))


def relaid(tensor: Tensor, strides: Strides) -> Tensor:
    """The tensor itself if it has these strides, else a new one on meta."""
    if tensor.stride() == strides:
        return tensor
    return torch.empty_strided(tensor.shape, strides, dtype=tensor.dtype, device="meta")


def iterated(operands: Sequence[Tensor], with_number: bool = False) -> Strides:
    """Strides that a TensorIterator gives a new result of these operands, in their order.

    A number among the operands is a tensor without dimensions there: it has no say in the order of dimensions, but
    keeps the iterator from taking the layout of operands of one shape as it is.
    """
    shape = torch.broadcast_shapes(*[t.shape for t in operands])
    if not with_number and all(t.shape == shape for t in operands):
        same = _layout_of_all(operands)
        if same is not None:
            return same
    order = _from_inner_to_outer(shape, [_broadcast_strides(t, shape) for t in operands])
    if order == list(range(len(shape)))[::-1]:
        return row_major(shape)
    strides, step = [0] * len(shape), 1
    for dim in order:
        strides[dim] = step
        step *= shape[dim]
    return tuple(strides)


def _layout_of_all(operands: Sequence[Tensor]) -> Strides | None:
    """Strides of a result if all operands, of one shape, lie in memory in one way; None if they don't."""
    first = operands[0]
    if all(t.is_contiguous() for t in operands):
        return row_major(first.shape)
    if first.dim() == 4 and all(t.is_contiguous(memory_format=torch.channels_last) for t in operands):
        return torch.empty(first.shape, device="meta", memory_format=torch.channels_last).stride()
    alike = all(t.stride() == first.stride() for t in operands)
    return first.stride() if alike and aten.is_non_overlapping_and_dense.default(first) else None


def _broadcast_strides(tensor: Tensor, shape: Sequence[int]) -> list[int]:
    missing = len(shape) - tensor.dim()
    along = zip(tensor.shape, tensor.stride(), shape[missing:], strict=True)
    return [0] * missing + [0 if size == 1 and wanted != 1 else stride for size, stride, wanted in along]


def _from_inner_to_outer(shape: Sequence[int], strides: Sequence[Sequence[int]]) -> list[int]:
    """Dimensions by growing stride: the first operand that can tell two dimensions apart decides."""
    order = list(range(len(shape)))[::-1]

    def inner_is_larger(inner: int, outer: int) -> int:
        """1 if the two must be swapped, -1 if they stand right, 0 if no operand can tell."""
        for of in strides:
            if of[inner] == 0 or of[outer] == 0:  # broadcast along one of them
                continue
            if of[inner] != of[outer]:
                return 1 if of[inner] > of[outer] else -1
            if shape[inner] > shape[outer]:
                return 1
        return 0

    for i in range(1, len(order)):  # an insertion sort, since the comparison is no total order
        place = i
        for before in reversed(range(i)):
            found = inner_is_larger(order[before], order[place])
            if found > 0:
                order[before], order[place] = order[place], order[before]
                place = before
            elif found < 0:
                break
    return order


def pointwise(op: Any, last_first: bool = False) -> Callable[..., Any]:
    """The stock kernel of an operator that returns one tensor, which gets the strides that a TensorIterator gives it.

    With `last_first` C++ hands the operands over in reverse.
    """
    places = [i for i, argument in enumerate(op._schema.arguments) if "Tensor" in str(argument.type)]
    number = len(places) == 1 and "calar" in op._schema.overload_name and op not in _WITHOUT_ITS_NUMBER

    def kernel(*args: Any, **kwargs: Any) -> Any:
        out = op(*args, **kwargs)
        given = [args[i] for i in places if i < len(args) and args[i] is not None]
        operands = [value for value in given if isinstance(value, Tensor)]
        if any(t.layout is not torch.strided for t in (out, *operands)):
            return out
        strides = iterated(operands[::-1] if last_first else operands, number or len(operands) < len(given))
        return relaid(out, strides) if len(strides) == out.dim() else out  # a loss that is reduced has one element

    return kernel


def dropout_backward(grad: Tensor, mask: Tensor, scale: float) -> Tensor:
    """`aten.native_dropout_backward`: two products in C++, of the gradient and the mask, and of that and a number."""
    out: Tensor = aten.native_dropout_backward.default(grad, mask, scale)
    return relaid(out, iterated([relaid(out, iterated([grad, mask]))], with_number=True))


def is_pointwise(op: torch._ops.OpOverload) -> bool:
    """True if an operator's one result comes out of a TensorIterator that was given its operands as they stand."""
    returns = op._schema.returns
    one = len(returns) == 1 and str(returns[0].type) == "Tensor" and op.namespace == "aten"
    return one and torch.Tag.pointwise in op.tags and op not in _COPIES


_WITHOUT_ITS_NUMBER = frozenset({aten.pow.Tensor_Scalar})
"""Operators whose number is no operand of the iterator."""
_COPIES = frozenset({aten.clone.default, aten.conj_physical.default, aten.hardtanh.default, aten.nan_to_num.default})
"""Operators that make their result before the iterator runs, laid out as the input is."""
_UNTAGGED = (
    *("hardswish", "hardswish_backward", "hardsigmoid_backward", "hardtanh_backward"),
    *("elu_backward", "softplus_backward", "softshrink_backward", "hardshrink_backward", "mish_backward"),
)
_LAST_FIRST = ("threshold_backward", "leaky_relu_backward")

ITERATED: dict[Any, Callable[..., Any]] = {
    aten.floor_divide.default: pointwise(aten.floor_divide.default),
    aten.native_dropout_backward.default: dropout_backward,
    **{op: pointwise(op) for op in (getattr(aten, name).default for name in _UNTAGGED)},
    **{op: pointwise(op, last_first=True) for op in (getattr(aten, name).default for name in _LAST_FIRST)},
}
"""Kernels of operators that PyTorch does not tag as pointwise, or whose operands come in another order."""
