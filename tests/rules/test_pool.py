"""Pooling against windows that are walked."""

import itertools
import math

import numpy as np
import torch
from hypothesis import strategies as st
from oracle import Number, filled, maximum, prove, total
from recording import price
from strategies import drawn, flags, sizes, values

F = torch.nn.functional


def pooled(x, kernel, stride, padding, combine, fill):
    """`combine` of each window of the map padded with `fill`; padding counts as dense."""
    dims = len(kernel)
    lead, spatial = x.shape[:-dims], x.shape[-dims:]
    padded = np.empty((*lead, *(s + 2 * p for s, p in zip(spatial, padding, strict=True))), dtype=object)
    padded.fill(fill)
    padded[(..., *(slice(p, p + s) for p, s in zip(padding, spatial, strict=True)))] = x
    places = [(s + 2 * p - k) // t + 1 for s, p, k, t in zip(spatial, padding, kernel, stride, strict=True)]
    out = filled((*lead, *places))
    for i in np.ndindex(out.shape):
        at = i[-dims:]
        window = tuple(slice(a * t, a * t + k) for a, t, k in zip(at, stride, kernel, strict=True))
        out[i] = combine(list(padded[(*i[:-dims], *window)].reshape(-1)))
    return out


def mean(window):
    return total(window) / len(window)


windows = st.integers(1, 3).flatmap(
    lambda dims: st.tuples(
        st.tuples(*[st.integers(1, 2)] * dims),
        st.tuples(*[st.integers(1, 2)] * dims),
        st.tuples(*[st.integers(2, 3)] * dims),
        flags,
    )
)


@drawn(windows)
def test_average_pooling(window):
    """In one to three dimensions, with padding."""
    kernel, stride, spatial, pad = window
    padding = tuple(k // 2 if pad else 0 for k in kernel)
    call = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}[len(kernel)]
    reference = lambda x: pooled(x, kernel, stride, padding, mean, Number(0.0))  # noqa: E731
    prove(lambda x: call(x, kernel, stride, padding), reference, values(2, 1, *spatial))


@drawn(windows)
def test_max_pooling(window):
    """n − 1 compares for each window."""
    kernel, stride, spatial, pad = window
    padding = tuple(k // 2 if pad else 0 for k in kernel)
    call = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}[len(kernel)]
    lowest = Number(-math.inf)
    reference = lambda x: pooled(x, kernel, stride, padding, lambda w: total(w, maximum), lowest)  # noqa: E731
    prove(lambda x: call(x, kernel, stride, padding), reference, values(2, 1, *spatial))


def adaptive(x, out_size, combine):
    """Window i runs from ⌊i·a/b⌋ to ⌈(i+1)·a/b⌉ in each dimension."""
    dims = len(out_size)
    out = filled((*x.shape[:-dims], *out_size))
    for i in np.ndindex(out.shape):
        spans = [
            slice(p * a // b, -(-(p + 1) * a // b))
            for p, a, b in zip(i[-dims:], x.shape[-dims:], out_size, strict=True)
        ]
        out[i] = combine(list(x[(*i[:-dims], *spans)].reshape(-1)))
    return out


@drawn(st.integers(1, 3).flatmap(lambda d: st.tuples(*[st.tuples(st.integers(1, 7), st.integers(1, 5))] * d)))
def test_adaptive_pooling(extents):
    """Windows that overlap where the sizes do not divide."""
    spatial, out = zip(*extents, strict=True)
    average = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}[len(out)]
    peak = {1: F.adaptive_max_pool1d, 2: F.adaptive_max_pool2d, 3: F.adaptive_max_pool3d}[len(out)]
    x = values(2, 1, *spatial)
    largest = lambda w: total(w, maximum)  # noqa: E731
    prove(lambda a: peak(a, out), lambda a: adaptive(a, out, largest), x)
    if math.prod(out) > 1 or len(out) == 3:  # to one place it runs as a mean over the map
        prove(lambda a: average(a, out), lambda a: adaptive(a, out, mean), x)


def test_pooling_to_one_place_is_a_mean():
    """AdaptiveAvgPool2d(1): hw − 1 additions and a division for each channel, by whichever operator."""
    assert price(torch.nn.AdaptiveAvgPool2d(1), values(2, 3, 7, 5)).other_flops == 2 * 3 * 35


@drawn(sizes, sizes)
def test_unpooling_moves(n, c):
    """Values and indices are read, the map is written, nothing is computed."""
    x = torch.zeros(n, c, 4, 4)
    y, where = F.max_pool2d(x, 2, return_indices=True)
    cost = price(lambda y, i: F.max_unpool2d(y, i, 2, output_size=(4, 4)), y, where)
    assert (cost.flops, cost.bytes_read, cost.bytes_written) == (0, n * c * 4 * (4 + 8), n * c * 16 * 4)


def test_windows_of_every_pair_of_sizes():
    """The closed form against adding up windows, far beyond what tensors would allow."""
    from fxcost.rules.formulas import adaptive_window_elements

    for a, b in itertools.product(range(1, 60), range(1, 60)):
        walked = sum(-(-(i + 1) * a // b) - i * a // b for i in range(b))
        assert adaptive_window_elements((a,), (b,)) == walked
