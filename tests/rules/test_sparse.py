"""Operators on sparse tensors: work is done on stored values alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from oracle import counting, counts, dot, exp, filled, log, numbers, tensor, total
from strategies import drawn, sizes, values

from fxcost.records.cost import Cost
from fxcost.records.recording import OpRecord, TensorSpec
from fxcost.rules import default_registry
from fxcost.rules.pricing import cost_operation

aten = torch.ops.aten
scalars = st.sampled_from([0, 1, 2])


def spec(tensor: torch.Tensor, stored: int | None = None) -> TensorSpec:
    return TensorSpec(tuple(tensor.shape), tensor.dtype, (), 0, -1, stored)


def priced(op, args, outputs) -> Cost:
    """What the rules say of one run."""
    found = cost_operation(OpRecord(op, tuple(args), tuple(outputs)), default_registry())
    assert found.is_costed
    return found.cost


def scaled(start, a, b, beta, alpha):
    """beta · start + alpha · Σ aᵢ bᵢ, as PyTorch defines it: neutral numbers cost nothing, beta = 0 means no start."""
    start = None if beta == 0 else start if beta == 1 else beta * start
    if alpha == 1:
        return dot(a, b, start)
    out = alpha * dot(a, b)
    return out if start is None else out + start


@drawn(sizes, sizes, sizes, scalars, scalars, st.integers(0, 3))
def test_sampled_products_run_where_the_pattern_stores_a_value(m, k, n, beta, alpha, seed):
    """A dot product, and its scaling, for each stored value."""
    pattern = torch.rand(m, n, generator=torch.Generator().manual_seed(seed)) > 0.4
    c, a, b = values(m, n), values(m, k, seed=1), values(k, n, seed=2)
    places, out = pattern.nonzero().tolist(), filled((m, n))
    with counting() as tally:
        x, y, z = numbers(c), numbers(a), numbers(b)
        for i, j in places:
            out[i, j] = scaled(x[i, j], y[i], z[:, j], beta, alpha)
    expected = beta * c + alpha * (a @ b)
    for i, j in places:
        torch.testing.assert_close(float(tensor(np.array([out[i, j]], dtype=object))), float(expected[i, j]))
    stored = len(places)
    cost = priced(
        aten.sparse_sampled_addmm.default, (spec(c, stored), spec(a), spec(b), beta, alpha), [spec(c, stored)]
    )
    assert counts(cost) == tally.cost


@drawn(sizes, sizes, sizes, scalars, scalars, st.integers(0, 3))
def test_sparse_times_dense_runs_over_stored_values(m, k, n, beta, alpha, seed):
    """A row without any is an empty dot product."""
    left = values(m, k) * (torch.rand(m, k, generator=torch.Generator().manual_seed(seed)) > 0.5)
    c, b = values(m, n, seed=1), values(k, n, seed=2)
    out = filled((m, n))
    with counting() as tally:
        x, y, z = numbers(c), numbers(left), numbers(b)
        for i, j in np.ndindex(m, n):
            there = left[i].nonzero().flatten().tolist()
            out[i, j] = scaled(x[i, j], y[i, there], z[there, j], beta, alpha)
    torch.testing.assert_close(tensor(out), beta * c + alpha * (left @ b))
    stored = int((left != 0).sum())
    cost = priced(aten._sparse_addmm.default, (spec(c), spec(left, stored), spec(b), beta, alpha), [spec(c)])
    assert counts(cost) == tally.cost
    if beta == 0 and alpha == 1:
        assert counts(priced(aten.mm.default, (spec(left, stored), spec(b)), [spec(c)])) == tally.cost
    reduced = priced(aten._sparse_mm_reduce_impl.default, (spec(left, stored), spec(b), "sum"), [spec(c), spec(c)])
    assert (reduced.macs, reduced.zero_accumulators) == (stored * n, m * n)


@pytest.mark.parametrize("stored", [1, 5])
def test_sums_and_softmax_at_their_most(stored):
    """All stored values end in one sum, or stand in one row."""
    x = spec(torch.empty(4, 6, dtype=torch.float64), stored)
    row = numbers(values(stored))
    with counting() as tally:
        total(row)
    assert counts(priced(aten._sparse_sum.default, (x,), [spec(torch.empty((), dtype=torch.float64))])) == tally.cost
    with counting() as tally:
        highest = total(row, lambda a, b: a if a > b else b)
        powers = [exp(v - highest) for v in row]
        summed = total(powers)
        for p in powers:
            _ = p / summed
    assert counts(priced(aten._sparse_softmax.default, (x, 1, False), [x])) == tally.cost
    with counting() as tally:
        highest = total(row, lambda a, b: a if a > b else b)
        shifted = [v - highest for v in row]
        summed = log(total([exp(v) for v in shifted]))
        for v in shifted:
            _ = v - summed
    assert counts(priced(aten._sparse_log_softmax.default, (x, 1, False), [x])) == tally.cost
