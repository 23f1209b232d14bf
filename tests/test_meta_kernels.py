"""Shapes that we say ourselves are those that PyTorch's own meta kernels say; answers are remembered faithfully."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fxcost.meta_kernels import META_KERNELS, ShapeMemo, returns_fresh, rewrites_elements

aten = torch.ops.aten


def meta(*shape, **kwargs):
    return torch.empty(shape, device="meta", **kwargs)


def looks(result):
    """Everything about tensors on meta that an operator decides."""
    tensors = result if isinstance(result, (tuple, list)) else (result,)
    return [(t.shape, t.stride(), t.dtype, t.storage_offset(), t.untyped_storage().nbytes()) for t in tensors]


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
    ours = META_KERNELS[aten.native_batch_norm.default](*on_meta)
    assert [t.shape for t in ours] == [t.shape for t in aten.native_batch_norm.default(*real)]
    assert looks(ours[0]) == looks(aten.native_batch_norm.default(*real)[0])


def answer(kernel, *args):
    """What a kernel returns, or that it refuses."""
    try:
        return looks(kernel(*args))
    except RuntimeError:
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
    options = [[draw(low, 3) for _ in range(data.draw(st.sampled_from([1, 2])))] for low in (1, 0, 1)]
    args = (x, weight, bias, *options, data.draw(st.booleans()), [0, 0], groups)
    assert answer(META_KERNELS[aten.convolution.default], *args) == answer(aten.convolution.default, *args)


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=4),
    st.integers(1, 3),
    st.booleans(),
    st.booleans(),
    st.sampled_from([torch.float16, torch.float32, torch.float64]),
)
def test_layer_norm(shape, dims, affine, turned, dtype):
    """Every shape, layout and dtype gives what the stock meta kernel gives."""
    x = meta(*shape, dtype=dtype)
    x = x.transpose(0, -1) if turned else x
    inner = tuple(x.shape[-dims:])
    weight = meta(*inner, dtype=dtype) if affine else None
    args = (x, inner, weight, weight, 1e-5)
    assert answer(META_KERNELS[aten.native_layer_norm.default], *args) == answer(aten.native_layer_norm.default, *args)


IN_PLACE = [aten.relu_, aten.silu_, aten.sigmoid_, aten.hardtanh_, aten.leaky_relu_]


@pytest.mark.parametrize("packet", IN_PLACE, ids=str)
def test_pointwise_in_place_is_the_tensor_itself(packet):
    """The stock kernel hands the tensor back unchanged in shape, stride and identity, and so do we."""
    assert rewrites_elements(packet.default)
    x = meta(2, 3).t()
    before = looks(x)
    assert packet.default(x) is x
    assert ShapeMemo().run(packet.default, (x,), {}) is x
    assert looks(x) == before


@pytest.mark.parametrize("op", [aten.t_.default, aten.squeeze_.default, aten.add_.Tensor, aten.relu.default], ids=str)
def test_what_changes_more_runs(op):
    """Operators that change metadata, read another tensor or return a new one are not skipped."""
    assert not rewrites_elements(op)


def test_an_integer_tensor_still_gets_its_error():
    """`sigmoid_` can't store floats in integers: the stock kernel says so."""
    with pytest.raises(RuntimeError):
        ShapeMemo().run(aten.sigmoid_.default, (meta(2, dtype=torch.int64),), {})


CALLS = [
    (aten.add.Tensor, (meta(2, 3), meta(3))),
    (aten.convolution.default, (meta(1, 3, 8, 8), meta(4, 3, 3, 3), None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1)),
    (aten.native_layer_norm.default, (meta(2, 5), [5], None, None, 1e-5)),
    (aten.sum.dim_IntList, (meta(2, 5, 3), [1])),
    (aten.clone.default, (meta(4, 2).t(),)),
    (aten._unsafe_view.default, (meta(4, 2), [8])),
]


@pytest.mark.parametrize(("op", "args"), CALLS, ids=str)
def test_remembered_answers_look_the_same(op, args):
    """The second answer to a question equals the first and the stock kernel's, in memory of its own."""
    memo = ShapeMemo()
    first, second, stock = memo.run(op, args, {}), memo.run(op, args, {}), op(*args)
    assert looks(first) == looks(second) == looks(stock)
    if returns_fresh(op) and op is not aten._unsafe_view.default:
        a, b = ((t[0] if isinstance(t, tuple) else t).untyped_storage()._cdata for t in (first, second))
        assert a != b


def test_scalars_of_different_types_are_different_questions():
    """1, 1.0 and True are equal in Python, and make different dtypes here."""
    memo, x = ShapeMemo(), meta(2, dtype=torch.int64)
    assert memo.run(aten.mul.Scalar, (x, 2), {}).dtype is torch.int64
    assert memo.run(aten.mul.Scalar, (x, 2.0), {}).dtype is torch.float32
