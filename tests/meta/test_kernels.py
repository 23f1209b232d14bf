"""Shapes that we say ourselves are those that PyTorch's own meta kernels say."""

import pytest
import torch

from fxcost.meta.kernels import rewrites_elements, run_on_meta

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
    assert run_on_meta(packet.default, (x,), {}) is x
    assert looks(x) == before


@pytest.mark.parametrize("op", [aten.t_.default, aten.squeeze_.default, aten.add_.Tensor, aten.relu.default], ids=str)
def test_what_changes_more_runs(op):
    """Operators that change metadata, read another tensor or return a new one are not skipped."""
    assert not rewrites_elements(op)


def test_an_integer_tensor_still_gets_its_error():
    """`sigmoid_` can't store floats in integers: the stock kernel says so."""
    with pytest.raises(RuntimeError):
        run_on_meta(aten.sigmoid_.default, (meta(2, dtype=torch.int64),), {})
