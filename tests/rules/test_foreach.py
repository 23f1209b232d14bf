"""Operators on lists of tensors cost what the single ones cost."""

import pytest
import torch
from recording import price, price_of
from strategies import values

from fxcost.records.cost import Cost

aten = torch.ops.aten
A, B = values(3, 4), values(5)


@pytest.mark.parametrize("name", ["exp", "neg", "sqrt", "sigmoid", "reciprocal", "tanh", "frac", "erf"])
def test_functions_of_one_list(name):
    """As the function on each tensor, traffic included."""
    together = price(getattr(torch, f"_foreach_{name}"), [A, B])
    assert together == price(getattr(torch, name), A) + price(getattr(torch, name), B)


@pytest.mark.parametrize("name", ["add", "sub", "mul", "div", "maximum"])
def test_functions_of_two_lists(name):
    """Pairs of tensors, out of place and in place."""
    single = getattr(torch, name)
    apart = price(single, A, A.clone()) + price(single, B, B.clone())
    together = price(getattr(torch, f"_foreach_{name}"), [A, B], [A.clone(), B.clone()])
    in_place = price(getattr(torch, f"_foreach_{name}_"), [A, B], [A.clone(), B.clone()])
    assert together == apart
    assert (in_place.flops, in_place.bytes_read) == (apart.flops, apart.bytes_read)


def test_norms_and_maxima():
    """A norm, a largest element of each tensor."""
    assert price(torch._foreach_norm, [A, B]).flops == sum(price(torch.linalg.vector_norm, t).flops for t in (A, B))
    assert price(torch._foreach_max, [A, B]).flops == sum(price(torch.max, t).flops for t in (A, B))


def test_a_moving_average_of_weights():
    """One interpolation for each weight: three operations."""
    average = torch.optim.swa_utils.get_ema_multi_avg_fn(0.9)
    assert price(lambda old, new: average([old], [new], 1), A, A.clone()).flops == 3 * 12


def test_copies_only_move():
    """No arithmetic."""
    copied = price_of(aten._foreach_copy_.default, [A, B], [A.clone(), B.clone()])
    assert copied.flops == 0
    assert copied.bytes_read == A.nbytes + B.nbytes
    assert price(torch._foreach_zero_, [A, B]) == Cost(bytes_written=A.nbytes + B.nbytes, activations=17)
