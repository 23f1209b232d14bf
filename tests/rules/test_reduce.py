"""Reductions, scans, norms and softmax against loops."""

import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from oracle import Number, exp, filled, floor, log, maximum, minimum, power, prove, sqrt, total
from recording import price
from strategies import drawn, shapes, values


def along(x, dim, function):
    """`function` of each row along `dim`: a number for each, or a row."""
    rows = np.moveaxis(x, dim, -1)
    results = [function(list(rows[i])) for i in np.ndindex(rows.shape[:-1])]
    if results and isinstance(results[0], list):
        out = filled(rows.shape)
        for i, result in zip(np.ndindex(rows.shape[:-1]), results, strict=True):
            out[i] = result
        return np.moveaxis(out, -1, dim)
    out = filled(rows.shape[:-1])
    for i, result in zip(np.ndindex(out.shape), results, strict=True):
        out[i] = result
    return out


def mean(row):
    return total(row) / len(row)


def variance(row, correction=1):
    m = mean(row)
    centred = [v - m for v in row]
    return total([c * c for c in centred]) / (len(row) - correction)


def scan(step):
    def run(row):
        out = row[:1]
        for v in row[1:]:
            out = [*out, step(out[-1], v)]
        return out

    return run


def softmax(row):
    peak = total(row, maximum)
    raised = [exp(v - peak) for v in row]
    norm = total(raised)
    return [r / norm for r in raised]


def log_softmax(row):
    peak = total(row, maximum)
    shifted = [v - peak for v in row]
    norm = log(total([exp(s) for s in shifted]))
    return [s - norm for s in shifted]


def logsumexp(row):
    peak = total(row, maximum)
    return log(total([exp(v - peak) for v in row])) + peak


def logaddexp(a, b):
    return log(exp(a) + exp(b))


REDUCTIONS = {
    "sum": (torch.sum, total),
    "nansum": (torch.nansum, total),
    "mean": (torch.mean, mean),
    "prod": (torch.prod, lambda row: total(row, lambda a, b: a * b)),
    "amax": (torch.amax, lambda row: total(row, maximum)),
    "amin": (torch.amin, lambda row: total(row, minimum)),
    "max": (lambda x, d: torch.max(x, d)[0], lambda row: total(row, maximum)),
    "min": (lambda x, d: torch.min(x, d)[0], lambda row: total(row, minimum)),
    "var": (lambda x, d: torch.var(x, d, correction=0), lambda row: variance(row, 0)),
    "std": (lambda x, d: torch.std(x, d, correction=0), lambda row: sqrt(variance(row, 0))),
    "var_mean": (lambda x, d: torch.var_mean(x, d, correction=0)[0], lambda row: variance(row, 0)),
    "logsumexp": (torch.logsumexp, logsumexp),
    "softmax": (torch.softmax, softmax),
    "safe_softmax": (torch.ops.aten._safe_softmax, softmax),
    "log_softmax": (torch.log_softmax, log_softmax),
    "cumsum": (torch.cumsum, scan(lambda a, b: a + b)),
    "cumprod": (torch.cumprod, scan(lambda a, b: a * b)),
    "cummax": (lambda x, d: torch.cummax(x, d)[0], scan(maximum)),
    "cummin": (lambda x, d: torch.cummin(x, d)[0], scan(minimum)),
    "logcumsumexp": (torch.logcumsumexp, scan(logaddexp)),
}


@pytest.mark.parametrize("name", REDUCTIONS)
@drawn(shapes(), st.data(), examples=10)
def test_rows_are_reduced_by_their_definition(name, shape, data):
    """Along any dimension of any shape."""
    call, function = REDUCTIONS[name]
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    prove(call, lambda x, d: along(x, d, function), values(*shape), dim)


@drawn(shapes(2, 3), st.data())
def test_several_dimensions_are_one_row(shape, data):
    """Reducing several dimensions is reducing their product; no `dim` means all."""
    dims = tuple(data.draw(st.sets(st.integers(0, len(shape) - 1), min_size=1)))
    x = values(*shape)

    def reference(a, function):
        kept = [d for d in range(a.ndim) if d not in dims]
        flat = a.transpose(*kept, *dims).reshape(*(a.shape[d] for d in kept), -1)
        return along(flat, -1, function)

    prove(lambda a: a.sum(dims), lambda a: reference(a, total), x)
    prove(lambda a: a.mean(dims), lambda a: reference(a, mean), x)
    prove(lambda a: a.amax(dims), lambda a: reference(a, lambda r: total(r, maximum)), x)
    prove(torch.sum, lambda a: total(a.reshape(-1)), x)
    prove(torch.max, lambda a: total(a.reshape(-1), maximum), x)
    prove(torch.mean, lambda a: mean(list(a.reshape(-1))), x)


NORMS = {
    2: lambda row: sqrt(total([v * v for v in row])),
    1: lambda row: total([abs(v) for v in row]),
    0: lambda row: total([Number(v != 0) for v in row]),
    float("inf"): lambda row: total([abs(v) for v in row], maximum),
    float("-inf"): lambda row: total([abs(v) for v in row], minimum),
    3: lambda row: power(total([power(abs(v), 3) for v in row]), 1 / 3),
}


@pytest.mark.parametrize("order", NORMS)
@drawn(shapes(min_size=2), st.data(), examples=10)
def test_norms_of_every_order(order, shape, data):
    """Each order by its own definition."""
    dim = data.draw(st.integers(0, len(shape) - 1))
    call = lambda x: torch.linalg.vector_norm(x, order, dim)  # noqa: E731
    prove(call, lambda x: along(x, dim, NORMS[order]), values(*shape))


def test_distance_of_two_tensors():
    """n subtractions, then a norm."""

    def reference(a, b):
        return sqrt(total([(d := x - y) * d for x, y in zip(a, b, strict=True)]))

    prove(torch.dist, reference, values(5), values(5, seed=1))


def test_extrema_together():
    """aminmax compares each element with both."""
    prove(torch.aminmax, lambda x: (total(x, minimum), total(x, maximum)), values(6))


def test_trace_and_cross():
    """A trace adds the diagonal; a cross product has six products and three subtractions."""
    prove(torch.trace, lambda x: total([x[i, i] for i in range(3)]), values(3, 4))

    def cross(a, b):
        out = filled(a.shape)
        for i in range(a.shape[0]):
            for j in range(3):
                p, q = (j + 1) % 3, (j + 2) % 3
                out[i, j] = a[i, p] * b[i, q] - a[i, q] * b[i, p]
        return out

    prove(torch.linalg.cross, cross, values(4, 3), values(4, 3, seed=1))


@pytest.mark.parametrize("call", [torch.sum, torch.amax, torch.cumsum, torch.argmax, torch.any, torch.count_nonzero])
def test_integers_and_booleans_are_not_floating_point(call):
    """Integer reductions count no FLOPs, but traffic."""
    x = torch.ones(3, 4, dtype=torch.int64)
    cost = price(call, x, 1) if call is not torch.any else price(call, x)
    assert (cost.flops, cost.bytes_read) == (0, 96)


def test_a_row_of_none_costs_none_and_the_mean_of_none_a_division():
    """Sums of empty rows are zero operations, not minus one."""
    assert price(torch.sum, torch.zeros(3, 0), 1).flops == 0
    assert price(torch.mean, torch.zeros(3, 0), 1).flops == 3
    assert price(torch.softmax, torch.zeros(3, 0), 1).flops == 0


def test_argmax_compares():
    """n − 1 compares a row."""
    assert price(torch.argmax, values(3, 5), 1).flops == 3 * 4


def test_complex_sums_are_two_real_ones():
    """A complex addition is two."""
    assert price(torch.sum, torch.zeros(5, dtype=torch.complex64)).flops == 8


def test_histogram():
    """Six operations an element."""

    def reference(x):
        counts = np.zeros(4)
        for v in x:
            inside = (v >= -2) & (v <= 2)
            bin_ = (v - -2) * 4 / (2 - -2)
            place = int(floor(bin_).value)
            counts[min(place, 3)] += inside
        return counts

    prove(lambda x: torch.histc(x, 4, -2, 2), reference, values(7))
