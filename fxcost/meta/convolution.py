"""Layouts of what convolutions and their gradients return: row-major or channels last, as PyTorch decides on the CPU.

PyTorch picks a backend by shapes, dtypes and settings, and the backend's format by the layouts of input and weight. On
meta it does not know the device and answers row-major. So the question is put to the same C++ functions with stand-ins
that say they are on the CPU; cuDNN's answer is the same wherever input or weight is channels last. Row-major data need
no question.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._prims_common import suggest_memory_format
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from .iterator import Strides, relaid
from .layouts import in_format, preserved

aten = torch.ops.aten
_CPU = torch.device("cpu")
_USUAL = torch.contiguous_format
_GROUP_BY_GROUP = frozenset({"Slow2d", "SlowDilated2d", "SlowTranspose2d"})
"""Backends of PyTorch's own, which run groups one after the other and join their results."""


class _Call(NamedTuple):
    """A convolution of images or volumes, and the backend and format that PyTorch picks for it."""

    x: Tensor
    weight: Tensor
    groups: int
    backend: str = ""
    format: torch.memory_format = _USUAL


def convolution(x: Tensor, weight: Tensor, bias: Tensor | None, *settings: Any) -> Tensor:
    """`aten.convolution`."""
    out: Tensor = aten.convolution.default(x, weight, bias, *settings)
    if x.dim() != weight.dim() or not out.numel():
        return out
    call = _decided(x, weight, bias, settings)
    made = _strides(call, _image_shape(out.shape), 1, _format_of_one_group(call))
    return relaid(out, _without_height(made, out.dim()))


def convolution_backward(grad: Tensor, x: Tensor, weight: Tensor, bias_sizes: Any, *rest: Any) -> tuple[Any, ...]:
    """`aten.convolution_backward`: gradients of input, weight and bias, as far as they are wanted."""
    *settings, mask = rest
    of_x, of_weight, of_bias = aten.convolution_backward.default(grad, x, weight, bias_sizes, *rest)
    if x.dim() != weight.dim():
        return of_x, of_weight, of_bias
    if not x.numel():  # zeros like the weight
        return of_x, None if of_weight is None else relaid(of_weight, preserved(weight)), of_bias
    call = _decided(x, weight, None, settings, bias_sizes if mask[2] else None)
    one = _format_of_one_group(call)
    if of_x is not None:
        of_x = relaid(of_x, _without_height(_strides(call, call.x.shape, 1, one), of_x.dim()))
    if of_weight is not None:
        if call.backend in ("Slow2d", "SlowTranspose2d"):
            one = suggest_memory_format(_share(call, call.weight, 0))
        of_weight = relaid(of_weight, _without_height(_strides(call, call.weight.shape, 0, one), of_weight.dim()))
    return of_x, of_weight, of_bias


def _decided(x: Tensor, weight: Tensor, bias: Tensor | None, settings: Sequence[Any], bias_sizes: Any = None) -> _Call:
    stride, padding, dilation, transposed, output_padding, groups = settings
    if x.dim() == 3:  # along one dimension: an image of height 1
        x, weight = x.contiguous().unsqueeze(2), weight.unsqueeze(2)
        stride, padding, dilation, output_padding = [1, *stride], [0, *padding], [1, *dilation], [0, *output_padding]
    if _suggested(x, weight) is _USUAL:
        return _Call(x, weight, groups)
    with FakeTensorMode() as mode:
        a, b = FakeTensor(mode, x, _CPU), FakeTensor(mode, weight, _CPU)
        c = None if bias is None else FakeTensor(mode, bias, _CPU)
        backend = torch._C._select_conv_backend(
            a, b, c, stride, padding, dilation, transposed, output_padding, groups, bias_sizes
        )
        found = torch._C._conv_determine_backend_memory_format(a, b, backend)
    return _Call(x, weight, groups, "" if found is _USUAL else backend.name, found)


def _suggested(*tensors: Tensor) -> torch.memory_format:
    """The channels-last format that one of these tensors has, else the usual one."""
    formats = [suggest_memory_format(t) for t in tensors]
    return next((f for f in formats if f is not _USUAL), _USUAL)


def _share(call: _Call, x: Tensor, dim: int) -> Tensor:
    """One group's share of a tensor that was brought into the format."""
    x = x.contiguous(memory_format=call.format)
    return x.narrow(dim, 0, x.shape[dim] // call.groups).contiguous(memory_format=suggest_memory_format(x))


def _format_of_one_group(call: _Call) -> torch.memory_format:
    """PyTorch's own backends look at a group's share once more."""
    if call.backend not in _GROUP_BY_GROUP:
        return call.format
    return _suggested(_share(call, call.x, 1), _share(call, call.weight, 0))


def _strides(call: _Call, shape: Sequence[int], dim: int, one: torch.memory_format) -> Strides:
    """Strides of a result of this shape, to which those of the groups, of format `one`, are joined along `dim`."""
    if call.groups == 1 or call.backend not in _GROUP_BY_GROUP:
        return in_format(shape, one)
    sizes = [size // call.groups if i == dim else size for i, size in enumerate(shape)]
    return torch.cat([torch.empty(sizes, device="meta", memory_format=one)] * call.groups, dim).stride()


def _image_shape(shape: Sequence[int]) -> Sequence[int]:
    return shape if len(shape) > 3 else (*shape[:2], 1, *shape[2:])


def _without_height(strides: Strides, dims: int) -> Strides:
    return strides if dims > 3 else (*strides[:2], *strides[3:])
