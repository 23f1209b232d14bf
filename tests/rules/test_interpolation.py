"""Resampling against interpolation written from torch's documentation."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from oracle import FUNCTIONS, Number, counting, dot, filled, floor, maximum, minimum, prove, total
from recording import price
from strategies import drawn, flags, sizes, values

F = torch.nn.functional


def source(i, size, out, corners):
    """Where output position i lies in the input: positions are tables and count nothing."""
    if corners:
        return i * (size - 1) / (out - 1) if out > 1 else 0.0
    return (i + 0.5) * size / out - 0.5


def linear_taps(i, size, out, corners):
    position = max(source(i, size, out, corners), 0.0)
    low = min(int(position), size - 1)
    t = position - low
    return [(low, 1 - t), (min(low + 1, size - 1), t)]


def cubic_taps(i, size, out, corners, a=-0.75):
    position = source(i, size, out, corners)
    low = math.floor(position)
    t = position - low
    inner = lambda x: ((a + 2) * x - (a + 3)) * x * x + 1  # noqa: E731
    outer = lambda x: ((a * x - 5 * a) * x + 8 * a) * x - 4 * a  # noqa: E731
    weights = outer(t + 1), inner(t), inner(1 - t), outer(2 - t)
    return [(min(max(low + k, 0), size - 1), w) for k, w in zip(range(-1, 3), weights, strict=True)]


def interpolated(taps, corners):
    """Separable interpolation: along the last dimension first, at every tap of the ones before it."""

    def at(x, places):
        if not places:
            return x[()] if isinstance(x, np.ndarray) else x
        return total([w * at(x[i], places[1:]) for i, w in places[0]])

    def run(x, size):
        out = filled((*x.shape[:2], *size))
        for n, c, *place in np.ndindex(out.shape):
            places = [taps(p, s, o, corners) for p, s, o in zip(place, x.shape[2:], size, strict=True)]
            out[(n, c, *place)] = at(x[n, c], places)
        return out

    return run


MODES = {"linear": 1, "bilinear": 2, "trilinear": 3, "bicubic": 2}


@pytest.mark.parametrize("mode", MODES)
@drawn(st.data(), flags, examples=8)
def test_interpolation(mode, data, corners):
    """Up and down, in one to three dimensions."""
    dims = MODES[mode]
    extents = st.tuples(*[st.integers(1, 4)] * dims)
    spatial, size = data.draw(extents), data.draw(extents)
    taps = cubic_taps if mode == "bicubic" else linear_taps
    call = lambda x, s: F.interpolate(x, s, mode=mode, align_corners=corners)  # noqa: E731
    prove(call, interpolated(taps, corners), values(2, 1, *spatial), size)


@drawn(st.integers(1, 4), st.integers(1, 3))
def test_antialiased_upsampling_is_two_passes(size, factor):
    """Enlarged, a filter keeps its two taps: the last dimension first, then the other."""
    out = size * factor
    cost = price(lambda x: F.interpolate(x, (out, out), mode="bilinear", antialias=True), values(2, 3, size, size))
    first, second = 2 * 3 * size * out, 2 * 3 * out * out
    assert cost.other_flops == 3 * (first + second)


def test_antialiased_downsampling_stretches_the_filter():
    """A third of the size: 2 · 3 taps a position in each pass, 4 · 3 for cubic."""
    x = values(1, 1, 9, 9)
    for mode, taps in (("bilinear", 6), ("bicubic", 12)):
        cost = price(lambda x, m=mode: F.interpolate(x, (3, 3), mode=m, antialias=True), x)
        assert cost.other_flops == (9 * 3 + 3 * 3) * (2 * taps - 1)


round_ = FUNCTIONS["round"]


def sampled(mode, padding, corners):
    """grid_sample from its documentation; outside of the map there are zeros."""

    def coordinate(g, size):
        x = (g + 1) / 2 * (size - 1) if corners else ((g + 1) * size - 1) / 2
        return minimum(maximum(x, 0), size - 1) if padding == "border" else x

    def pixel(x, n, c, at):
        inside = all(0 <= a < s for a, s in zip(at, x.shape[2:], strict=True))
        return x[(n, c, *at)] if inside else Number(0.0)

    def run(x, grid):
        out = filled((*x.shape[:2], *grid.shape[1:-1]))
        for n, *place in np.ndindex(grid.shape[:-1]):
            xs = [coordinate(g, s) for g, s in zip(grid[(n, *place)][::-1], x.shape[2:], strict=True)]
            if mode == "nearest":
                at = [int(round_(v).value) for v in xs]
                for c in range(x.shape[1]):
                    out[(n, c, *place)] = pixel(x, n, c, at)
                continue
            low = [floor(v) for v in xs]
            corners_ = list(itertools.product((0, 1), repeat=len(xs)))
            weights = []
            for corner in corners_:
                sides = [v - p if k else (p.value + 1) - v for v, p, k in zip(xs, low, corner, strict=True)]
                weights.append(total(sides, lambda a, b: a * b))
            for c in range(x.shape[1]):
                terms = [
                    w * pixel(x, n, c, [int(p.value) + k for p, k in zip(low, corner, strict=True)])
                    for w, corner in zip(weights, corners_, strict=True)
                ]
                out[(n, c, *place)] = total(terms)
        return out

    return run


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
@pytest.mark.parametrize("padding", ["zeros", "border"])
@drawn(flags, st.integers(2, 3), sizes, sizes, examples=6)
def test_grid_sampling(mode, padding, corners, dims, n, c):
    """In two and three dimensions; coordinates and weights serve all channels."""
    x, grid = values(n, c, *range(3, 3 + dims)), values(n, *range(2, 2 + dims), dims, low=-1.3, high=1.3)
    call = lambda x, g: F.grid_sample(x, g, mode, padding, corners)  # noqa: E731
    prove(call, sampled(mode, padding, corners), x, grid)


def test_bicubic_grid_sampling():
    """Each position: two coordinates of 4 + 1, two fractions, 25 for each one's weights; each channel 35."""
    x, grid = values(2, 3, 5, 6), values(2, 4, 4, 2)
    cost = price(lambda x, g: F.grid_sample(x, g, "bicubic", align_corners=False), x, grid)
    assert cost.other_flops == 32 * (2 * 5 + 2 + 50) + 2 * 3 * 16 * 35


def test_cubic_weights_take_25_operations():
    """The four polynomials of cubic_taps on counting numbers."""
    with counting() as tally:
        a, t = -0.75, Number(0.3)
        inner = lambda x: ((a + 2) * x - (a + 3)) * x * x + 1  # noqa: E731
        outer = lambda x: ((a * x - 5 * a) * x + 8 * a) * x - 4 * a  # noqa: E731
        weights = outer(t + 1), inner(t), inner(1 - t), outer(2 - t)
    assert tally.flops == 25
    assert math.isclose(sum(float(w) for w in weights), 1.0)


@drawn(sizes, st.integers(2, 3), flags)
def test_affine_grids_are_products(n, dims, corners):
    """Each position in homogeneous coordinates times the matrix of its sample."""
    size = (n, 1, *range(2, 2 + dims))

    def reference(theta, size):
        out = filled((n, *size[2:], dims))
        for i, *place in np.ndindex(out.shape[:-1]):
            point = [
                (2 * p / (s - 1) - 1) if corners and s > 1 else (0.0 if corners else (2 * p + 1) / s - 1)
                for p, s in zip(place, size[2:], strict=True)
            ]
            for r in range(dims):
                out[(i, *place, r)] = dot(theta[i, r], [*point[::-1], 1.0])
        return out

    prove(lambda t, s: F.affine_grid(t, s, corners), reference, values(n, dims, dims + 1), size)
