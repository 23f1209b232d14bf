"""Shapes in closed form are those that PyTorch's own meta kernels say, on every layout, dtype and broken argument."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fxcost.meta.closed_forms import BINARY, CLOSED_FORMS, UNARY
from fxcost.meta.kernels import run_on_meta
from tests.meta.test_kernels import looks, meta

aten = torch.ops.aten
FLOATS = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
DTYPES = [*FLOATS, torch.int64, torch.bool, torch.complex64]
SHAPES = st.lists(st.sampled_from([1, 2, 3, 3, 2, 0]), max_size=5).map(tuple)


def laid_out(shape, layout, dtype):
    """A tensor on meta of this shape whose data lie as `layout` says."""
    x = meta(*shape, dtype=dtype)
    if layout == "turned" and len(shape) > 1:
        return meta(*shape[::-1], dtype=dtype).permute(*reversed(range(len(shape))))
    if layout == "expanded":
        return meta(*[1] * len(shape), dtype=dtype).expand(shape)
    if layout == "sliced" and shape:
        return meta(*shape[:-1], shape[-1] + 2, dtype=dtype)[..., 1 : shape[-1] + 1]
    return x.contiguous(memory_format=torch.channels_last) if layout == "channels last" and len(shape) == 4 else x


@st.composite
def tensors(draw, shapes=SHAPES, dtypes=DTYPES):
    """Tensors on meta in any layout, most of them in the usual one."""
    layout = draw(st.sampled_from(["usual", "usual", "usual", "turned", "expanded", "sliced", "channels last"]))
    return laid_out(draw(shapes), layout, draw(st.sampled_from([*dtypes[:1] * 3, *dtypes])))


@st.composite
def narrower(draw, shape):
    """A shape that is broadcast to this one, or nearly one."""
    kept = shape[draw(st.integers(0, len(shape))) :]
    return tuple([draw(st.sampled_from([size, size, 1, 2])) for size in kept])


NUMBERS = {
    aten.clamp: [(0.0, 6.0), (0,), (None, 1), (None, None), (2j,), ()],
    aten.pow: [(2,), (0.5,), (0,), (1.0,), (-1,), (True,), (2j,)],
    aten.mul: [(2,), (0.5,), (True,), (2j,)],
    aten.gelu: [()],
    aten.elu: [(), (1.0, 2.0)],
    aten.hardtanh: [(), (0, 6), (6, 0), (2j, 6)],
    aten.leaky_relu: [(), (0.1,)],
    aten.softplus: [(), (2, 3)],
}


@pytest.mark.parametrize("op", [*UNARY, aten.clamp.default, aten.gelu.default], ids=str)
@settings(deadline=None, max_examples=60)
@given(st.data())
def test_unary(op, data):
    """A pointwise operator on one tensor."""
    numbers = data.draw(st.sampled_from(NUMBERS.get(op.overloadpacket, [()])))
    named = (
        data.draw(st.sampled_from([{}, {"approximate": "tanh"}, {"approximate": "?"}]))
        if op is aten.gelu.default
        else {}
    )
    x = data.draw(tensors())
    assert ours(op, x, *numbers, **named) == answer(op, x, *numbers, **named)


@pytest.mark.parametrize("op", BINARY, ids=str)
@settings(deadline=None, max_examples=300)
@given(st.data())
def test_binary(op, data):
    """A pointwise operator on two tensors that are broadcast, or on a tensor and a number; either may be the larger."""
    x = data.draw(tensors())
    y = data.draw(st.one_of(tensors(narrower(tuple(x.shape))), st.sampled_from([2, 0.5, True, 2j])))
    pair = (y, x) if isinstance(y, torch.Tensor) and data.draw(st.booleans()) else (x, y)
    named = (
        data.draw(st.sampled_from([{}, {"alpha": 2}, {"alpha": 0.5}, {"alpha": True}, {"alpha": 2j}]))
        if op in BINARY[:2]
        else {}
    )
    assert ours(op, *pair, **named) == answer(op, *pair, **named)


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_masked_fill(data):
    """Masks of the data's shape, broadcast ones, ones that are larger, and values of any type."""
    x = data.draw(tensors())
    shapes = st.one_of(narrower(tuple(x.shape)), narrower((2, *x.shape)))
    args = (x, data.draw(tensors(shapes, [torch.bool, torch.int64])), data.draw(st.sampled_from([0, 0.5, True, 2j])))
    op = aten.masked_fill.Scalar
    assert ours(op, *args) == answer(op, *args)


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_addmm(data):
    """Products of matrices with any bias, factors among the arguments, and what does not fit."""
    m, k, n = [data.draw(st.integers(0, 3)) for _ in range(3)]
    a, b = data.draw(tensors(st.just((m, k)))), data.draw(tensors(st.sampled_from([(k, n), (k, n), (2, n), (n,)])))
    bias = data.draw(tensors(st.one_of(narrower((m, n)), narrower((2, m, n)))))
    named = data.draw(st.sampled_from([{}, {"beta": 2}, {"alpha": 0.5}, {"beta": 0}, {"beta": True}, {"beta": 2j}]))
    assert ours(aten.addmm.default, bias, a, b, **named) == answer(aten.addmm.default, bias, a, b, **named)


@settings(deadline=None, max_examples=300)
@given(tensors(), st.lists(st.integers(-3, 3), max_size=3), st.lists(st.integers(-4, 4), max_size=3))
def test_roll(x, shifts, dims):
    """Rolling along any dimensions, as many as there are shifts or not."""
    op = aten.roll.default
    assert ours(op, x, shifts, dims) == answer(op, x, shifts, dims)


@settings(deadline=None, max_examples=300)
@given(tensors(), st.one_of(st.none(), st.lists(st.integers(-4, 4), max_size=3)), st.booleans(), st.booleans())
def test_mean(x, dims, keepdim, wider):
    """Means along any dimensions: none, all, out of range, twice the same."""
    op, named = aten.mean.dim, {"dtype": torch.float64} if wider else {}
    assert ours(op, x, dims, keepdim, **named) == answer(op, x, dims, keepdim, **named)


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_group_norm(data):
    """Any numbers of channels and groups, weights that fit or do not."""
    n, c, *rest = data.draw(st.lists(st.sampled_from([1, 2, 4, 0]), min_size=2, max_size=5))
    x = data.draw(tensors(st.just((n, c, *rest))))
    area = data.draw(st.sampled_from([x.numel() // (n * c) if n * c else 1] * 3 + [2]))
    affine = [data.draw(st.sampled_from([None, meta(c), meta(c), meta(c, dtype=torch.float64), meta(3)])) for _ in "wb"]
    args = (x, *affine, n, data.draw(st.sampled_from([c, c, 3])), area, data.draw(st.sampled_from([1, 2, 3, 0])), 1e-5)
    op = aten.native_group_norm.default
    assert ours(op, *args) == answer(op, *args)


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 4), min_size=2, max_size=5),
    st.booleans(),
    st.booleans(),
    st.sampled_from([torch.contiguous_format, torch.channels_last]),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_batch_norm(shape, affine, training, layout, dtype):
    """Every shape, mode, layout and dtype gives what the CPU's kernel gives."""
    x = torch.rand(shape, dtype=dtype)
    if len(shape) == 4:
        x = x.contiguous(memory_format=layout)
    channel = torch.ones(shape[1], dtype=dtype)
    real = (x, channel if affine else None, channel if affine else None, channel, channel, training, 0.1, 1e-5)
    on_meta = [torch.empty_like(t, device="meta") if isinstance(t, torch.Tensor) else t for t in real]
    found = run_on_meta(aten.native_batch_norm.default, tuple(on_meta), {})
    assert [t.shape for t in found] == [t.shape for t in aten.native_batch_norm.default(*real)]
    assert looks(found[0]) == looks(aten.native_batch_norm.default(*real)[0])


def ours(op, *args, **named):
    """What fxcost says an operator returns; the stock kernel's word where there is no closed form for it."""
    result = CLOSED_FORMS[op](*args, **named)
    return answer(op, *args, **named) if result is None else looks(result)


def answer(kernel, *args, **named):
    """What a kernel returns, or that it refuses."""
    try:
        return looks(kernel(*args, **named))
    except (ArithmeticError, RuntimeError, IndexError, TypeError, ValueError):
        return "refused"


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_convolution(data):
    """Whatever its shapes, layout and arguments, a convolution looks as the stock kernel has it, errors included."""
    draw = lambda low, high: data.draw(st.integers(low, high))  # noqa: E731
    groups, kernel = draw(1, 3), (draw(1, 4), draw(1, 4))
    x = meta(draw(0, 2), groups * draw(1, 2), draw(1, 8), draw(1, 8))
    weight = meta(groups * draw(1, 3), data.draw(st.sampled_from([x.shape[1] // groups, 3])), *kernel)
    if data.draw(st.booleans()):
        x = x.contiguous(memory_format=torch.channels_last)
    if data.draw(st.booleans()):
        weight = weight.contiguous(memory_format=torch.channels_last)
    if data.draw(st.booleans()):
        x = x.transpose(2, 3)
    bias = data.draw(st.sampled_from([None, meta(weight.shape[0]), meta(weight.shape[0], dtype=torch.float64)]))
    lengths = st.sampled_from([1, 2, 1, 2, 1, 2, 3])
    options = [[max(low, draw(-2, 3)) - draw(0, 9) // 9 for _ in range(data.draw(lengths))] for low in (1, 0, 1)]
    args = (x, weight, bias, *options, data.draw(st.booleans()), [0, 0], groups)
    assert ours(aten.convolution.default, *args) == answer(aten.convolution.default, *args)


@settings(deadline=None, max_examples=300)
@given(tensors(SHAPES.filter(bool)), st.integers(1, 3), st.booleans())
def test_layer_norm(x, dims, affine):
    """Every shape, layout and dtype gives what the stock meta kernel gives.

    But for the strides of dimensions of one element: that kernel keeps the input's, and the CPU does not.
    """
    inner = tuple(x.shape[-dims:])
    weight = meta(*inner, dtype=x.dtype) if affine else None
    args = (x, inner, weight, weight, 1e-5)
    got = ours(aten.native_layer_norm.default, *args)
    assert without_ones(got) == without_ones(answer(aten.native_layer_norm.default, *args))


def without_ones(looks):
    """Without the strides of dimensions of one element, which reach nothing."""
    if looks == "refused":
        return looks
    return [(shape, [s for n, s in zip(shape, stride, strict=True) if n != 1], *rest) for shape, stride, *rest in looks]


@pytest.mark.parametrize("shape", [(1, 2), (1, 4, 1), (3, 1)])
def test_layer_norm_lies_as_on_the_cpu(shape):
    """A dimension of one element may have any stride; the result has that of row-major layout."""
    x = torch.empty_strided(shape, [1] * len(shape)) if shape[0] == 1 else torch.zeros(shape)
    on_cpu = torch.native_layer_norm(x, shape[-1:], None, None, 1e-5)[0].stride()
    args = (torch.empty_strided(x.shape, x.stride(), device="meta"), shape[-1:], None, None, 1e-5)
    assert run_on_meta(aten.native_layer_norm.default, args, {})[0].stride() == on_cpu


SPARSE = [
    (aten.mul.Tensor, lambda x: (x, x)),
    (aten.mul.Tensor, lambda x: (meta(3, 3), x)),
    (aten.neg.default, lambda x: (x,)),
    (aten.addmm.default, lambda x: (meta(3), x, meta(3, 3))),
]


@pytest.mark.parametrize(("op", "args"), SPARSE, ids=lambda value: str(value) if value in UNARY + BINARY else "")
def test_sparse(op, args):
    """Sparse tensors have no closed form."""
    assert CLOSED_FORMS[op](*args(torch.eye(3).to_sparse().to("meta"))) is None


X, CHANNEL, MATRIX = meta(2, 4, 6, 6), meta(4), meta(4, 4)
USUAL = {
    **{op: (X, 2)[: 1 + (op in (aten.pow.Tensor_Scalar, aten.mul.Scalar))] for op in UNARY},
    **dict.fromkeys(BINARY, (X, X)),
    aten.addmm.default: (CHANNEL, MATRIX, MATRIX),
    aten.clamp.default: (X, 0, None),
    aten.convolution.default: (X, meta(8, 4, 3, 3), meta(8), [1, 1], [0, 0], [1, 1], False, [0, 0], 1),
    aten.gelu.default: (X,),
    aten.masked_fill.Scalar: (X, meta(6, 6, dtype=torch.bool), 0.0),
    aten.mean.dim: (X, [2, 3], True),
    aten.native_batch_norm.default: (X, *[CHANNEL] * 4, False, 0.1, 1e-5),
    aten.native_group_norm.default: (X, CHANNEL, CHANNEL, 2, 4, 36, 2, 1e-5),
    aten.native_layer_norm.default: (X, [6], meta(6), meta(6), 1e-5),
    aten.roll.default: (X, [1], [2]),
}


def test_every_closed_form_answers():
    """What the comparisons above compare is not PyTorch's answer alone: usual arguments have a closed form."""
    assert USUAL.keys() == CLOSED_FORMS.keys()
    assert [op for op, args in USUAL.items() if CLOSED_FORMS[op](*args) is None] == []


def test_batch_norm_with_statistics_of_another_size():
    """What does not fit is no affair of a closed form."""
    assert CLOSED_FORMS[aten.native_batch_norm.default](X, *[meta(3)] * 4, False, 0.1, 1e-5) is None
    assert CLOSED_FORMS[aten.native_batch_norm.default](X, CHANNEL, CHANNEL, None, None, False, 0.1, 1e-5) is None
