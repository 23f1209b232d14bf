"""Shapes of gradients that we say ourselves are those of PyTorch's own meta kernels, and of its kernels on the CPU."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fxcost.meta.gradients import META_GRADIENTS, elementwise
from tests.meta.test_kernels import looks

aten = torch.ops.aten
dtypes = st.sampled_from([torch.float32, torch.float64])
layouts = st.sampled_from([torch.contiguous_format, torch.channels_last])
masks = st.tuples(st.booleans(), st.booleans(), st.booleans())
ELEMENTWISE = [op for op, kernel in META_GRADIENTS.items() if kernel.__qualname__.startswith(elementwise.__name__)]


def on_meta(args):
    return [torch.empty_like(t, device="meta") if isinstance(t, torch.Tensor) else t for t in args]


def present(results):
    """Which results there are, and how they look."""
    return [None if t is None else looks(t) for t in results]


def check(op, args):
    """Ours is what the CPU's kernel makes: which results, their shapes, strides and dtypes."""
    ours, real = META_GRADIENTS[op](*on_meta(args)), op(*args)
    assert present(ours) == present(real)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(1, 4), min_size=2, max_size=5), st.booleans(), layouts, dtypes, masks)
def test_batch_norm(shape, training, layout, dtype, mask):
    """All shapes, modes, layouts and masks."""
    x = torch.rand(shape, dtype=dtype)
    x = x.contiguous(memory_format=layout) if len(shape) == 4 else x
    channel = torch.ones(shape[1], dtype=dtype)
    args = (torch.rand_like(x), x, *[channel] * 5, training, 1e-5, list(mask))
    check(aten.native_batch_norm_backward.default, args)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.booleans(), st.booleans(), dtypes, masks)
def test_layer_norm(shape, affine, transposed, dtype, mask):
    """With and without weights, also of tensors that are not contiguous."""
    x = torch.rand(shape, dtype=dtype)
    if transposed and len(shape) > 2:
        x = x.transpose(0, 1)
    weight = torch.rand(shape[-1:], dtype=dtype) if affine else None
    _, mean, rstd = aten.native_layer_norm(x, shape[-1:], weight, weight, 1e-5)
    mask = [mask[0], mask[1] and affine, mask[2] and affine]
    args = (torch.rand_like(x), x, shape[-1:], mean, rstd, weight, weight, mask)
    check(aten.native_layer_norm_backward.default, args)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), layouts, dtypes, masks)
def test_convolution(dims, n, channels, kernel, layout, dtype, mask):
    """One to three dimensions, both layouts, one channel and one place among them."""
    x = torch.rand((n, channels, *[kernel + 1] * dims), dtype=dtype)
    weight = torch.rand((2, channels, *[kernel] * dims), dtype=dtype)
    if dims == 2:
        x = x.contiguous(memory_format=layout)
    grad = torch.rand((n, 2, *[2] * dims), dtype=dtype)
    ones, zeros = [1] * dims, [0] * dims
    args = (grad, x, weight, [2], ones, zeros, ones, False, zeros, 1, list(mask))
    op = aten.convolution_backward.default  # the CPU's makes the weight's with the bias's, also unasked
    for wanted, ours, real in zip(mask, META_GRADIENTS[op](*on_meta(args)), op(*args), strict=True):
        assert present([ours]) == present([real if wanted else None])


@pytest.mark.parametrize("op", ELEMENTWISE, ids=str)
@pytest.mark.parametrize("shape", [(2, 3), (3, 1), (4,), ()])
def test_elementwise(op, shape):
    """Of equal shapes, and of a gradient that is broadcast or laid out otherwise."""
    x = torch.rand(shape)
    rest = {"hardtanh": (-1, 1), "threshold": (0,), "leaky_relu": (0.1, False), "softplus": (1, 20)}
    more = next((v for k, v in rest.items() if k in str(op)), ())
    for grad in (torch.rand(shape), torch.rand(()).expand(shape), torch.rand(shape[::-1]).t() if shape else x):
        args = on_meta((grad, x))
        args[0] = torch.empty_strided(grad.shape, grad.stride(), device="meta")
        assert looks(META_GRADIENTS[op](*args, *more)) == looks(op(grad, x, *more))


def test_what_pytorch_has_no_meta_kernel_for():
    """Shapes are the CPU's."""
    x, y = torch.rand(3, 4), torch.tensor([0, 2, 3])
    grad = torch.rand(())
    for op, args in (
        (aten.multi_margin_loss_backward.default, (grad, x, y, 1, 1)),
        (aten.multilabel_margin_loss_backward.default, (grad, x, torch.zeros(3, 4, dtype=torch.int64), 1, x * 0)),
    ):
        assert META_GRADIENTS[op](*on_meta(args)).shape == op(*args).shape == x.shape
