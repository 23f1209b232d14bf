"""Shapes that we say ourselves are those that PyTorch's own meta kernels say; answers are remembered faithfully."""

import pytest
import torch

from fxcost.meta.kernels import ShapeMemo, returns_fresh, rewrites_elements

aten = torch.ops.aten


def meta(*shape, **kwargs):
    return torch.empty(shape, device="meta", **kwargs)


def looks(result):
    """Everything about tensors on meta that an operator decides."""
    tensors = result if isinstance(result, (tuple, list)) else (result,)
    return [(t.shape, t.stride(), t.dtype, t.storage_offset(), t.untyped_storage().nbytes()) for t in tensors]


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
