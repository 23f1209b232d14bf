"""Shapes of gradients on meta tensors: where PyTorch has no meta kernel, and where its own is slow Python.

PyTorch's meta kernels of these operators work the gradient out on meta tensors, element for element, which takes
milliseconds. For contiguous tensors of one dtype the answer is plain; for all others PyTorch is asked.

Not here: the costs (rules/backward*.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from .convolution import convolution_backward
from .iterator import ITERATED, pointwise, relaid, row_major
from .layouts import brought_into, laid_out, rows, suggested

aten = torch.ops.aten
Gradients = tuple[Tensor | None, ...]


def _plain(*tensors: Tensor | None) -> bool:
    """True for contiguous tensors of one dtype; those that are None do not matter."""
    given = [t for t in tensors if t is not None]
    return all(t.is_contiguous() and t.dtype is given[0].dtype for t in given)


def _fresh(like: Sequence[Tensor | None], mask: Sequence[bool]) -> Gradients:
    """A contiguous tensor of the size of each that is wanted."""
    return tuple([t.new_empty(t.shape) if t is not None and m else None for t, m in zip(like, mask, strict=True)])


def like_argument(position: int) -> Callable[..., Tensor]:
    """A gradient of the size of the argument at `position`, contiguous."""

    def kernel(*args: Any, **_: Any) -> Tensor:
        of: Tensor = args[position]
        return of.new_empty(of.shape)

    return kernel


def elementwise(op: Any) -> Callable[..., Tensor]:
    """(grad, x, …) of one shape → that shape."""
    stock = ITERATED.get(op) or pointwise(op)

    def kernel(grad: Tensor, x: Tensor, *rest: Any, **named: Any) -> Tensor:
        if grad.shape == x.shape and grad.dtype is x.dtype and grad.stride() == x.stride() and not named:
            made = grad.new_empty(grad.shape)
            if made.stride() == x.stride():
                return made
        out: Tensor = stock(grad, x, *rest, **named)
        return out

    return kernel


def batch_norm(grad: Tensor, x: Tensor, weight: Tensor | None, *rest: Any) -> Gradients:
    """`native_batch_norm_backward`: gradients of input, weight and bias, the latter two one number a channel.

    An input's gradient that is not wanted is not made, as on CPU and CUDA; the stock meta kernel makes it always.
    """
    mask = rest[6]
    if _plain(grad, x, weight, *rest[:4]) and weight is not None:
        return _fresh((x, weight, weight), mask)
    of_x, *of_rest = aten.native_batch_norm_backward.default(grad, x, weight, *rest)
    out = relaid(of_x, suggested(x, of_x.shape)), *of_rest
    return tuple([gradient if wanted else None for gradient, wanted in zip(out, mask, strict=True)])


def layer_norm(
    grad: Tensor,
    x: Tensor,
    shape: Any,
    mean: Tensor,
    rstd: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mask: Any,
) -> Gradients:
    """`native_layer_norm_backward`: gradients of input, weight and bias."""
    if _plain(grad, x, mean, rstd, weight, bias) and grad.numel():
        return _fresh((x, weight, bias), mask)
    out = aten.native_layer_norm_backward.default(grad, x, shape, mean, rstd, weight, bias, mask)
    return tuple([None if t is None else relaid(t, row_major(t.shape)) for t in out])


def convolution(grad: Tensor, x: Tensor, weight: Tensor, bias_sizes: Any, *rest: Any) -> Gradients:
    """`convolution_backward`: gradients of input, weight and bias."""
    mask = rest[6]
    if _plain(grad, x, weight) and not any(_is_channels_last(t) for t in (x, weight)):
        of_x, of_w = _fresh((x, weight), mask[:2])
        return of_x, of_w, grad.new_empty(bias_sizes) if mask[2] else None
    return convolution_backward(grad, x, weight, bias_sizes, *rest)


def _is_channels_last(tensor: Tensor) -> bool:
    """Tensors with one channel or one place are laid out both ways."""
    last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(tensor.dim())
    return last is not None and tensor.is_contiguous(memory_format=last)


_ELEMENTWISE = (
    *("gelu_backward", "silu_backward", "hardtanh_backward", "threshold_backward", "hardswish_backward"),
    *("hardsigmoid_backward", "sigmoid_backward", "tanh_backward", "leaky_relu_backward", "softplus_backward"),
)

META_GRADIENTS: Mapping[Any, Callable[..., Any]] = {
    aten._ctc_loss_backward.default: like_argument(1),
    aten._ctc_loss_backward.Tensor: like_argument(1),
    aten.fractional_max_pool3d_backward.default: like_argument(1),
    aten.multi_margin_loss_backward.default: like_argument(1),
    aten.multilabel_margin_loss_backward.default: like_argument(1),
    aten.native_batch_norm_backward.default: batch_norm,
    aten.native_layer_norm_backward.default: layer_norm,
    aten.convolution_backward.default: convolution,
    aten.batch_norm_backward.default: laid_out(aten.batch_norm_backward.default, suggested, 0, of=1),
    aten.native_group_norm_backward.default: laid_out(aten.native_group_norm_backward.default, brought_into, 0, of=1),
    aten._log_softmax_backward_data.default: laid_out(aten._log_softmax_backward_data.default, rows),
    aten.huber_loss_backward.default: laid_out(aten.huber_loss_backward.default, rows),
    aten.reflection_pad2d_backward.default: laid_out(aten.reflection_pad2d_backward.default, suggested, of=1),
    aten.replication_pad2d_backward.default: laid_out(aten.replication_pad2d_backward.default, suggested, of=1),
    aten.mish_backward.default: elementwise(aten.mish_backward.default),
    **{op: elementwise(op) for op in (getattr(aten, name).default for name in _ELEMENTWISE)},
}
