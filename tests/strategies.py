"""Hypothesis strategies for small tensors and operator arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

sizes = st.integers(1, 3)
maybe_empty = st.integers(0, 3)
flags = st.booleans()


def drawn(*args: Any, examples: int = 25, **kwargs: Any) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """`given`, with few examples and no deadline: reference algorithms are slow, and one case is nearly as good."""
    return lambda test: settings(deadline=None, max_examples=examples)(given(*args, **kwargs)(test))


def shapes(min_dims: int = 1, max_dims: int = 3, min_size: int = 1, max_size: int = 4) -> st.SearchStrategy:
    """Shapes as tuples."""
    return st.lists(st.integers(min_size, max_size), min_size=min_dims, max_size=max_dims).map(tuple)


def values(*shape: int, low: float = -2.0, high: float = 2.0, seed: int = 0) -> torch.Tensor:
    """Distinct reproducible float64 values in [low, high]."""
    generator = torch.Generator().manual_seed(seed + 7919 * len(shape) + sum(shape))
    return low + (high - low) * torch.rand(shape, generator=generator, dtype=torch.float64)


@st.composite
def broadcastable(draw: st.DrawFn, count: int = 2) -> tuple[tuple[int, ...], ...]:
    """Shapes that broadcast with each other: some dimensions of one, leading ones left out; 0-sized among them."""
    full = draw(st.lists(st.sampled_from([0, 1, 2, 3]), min_size=0, max_size=3))
    result = []
    for _ in range(count):
        kept = [1 if draw(flags) else n for n in full]
        result.append(tuple(kept[draw(st.integers(0, len(kept))) :]))
    return tuple(result)


@st.composite
def convolutions(draw: st.DrawFn, transposed: bool) -> dict:
    """Arguments of a small convolution of one or two dimensions: groups, strides, padding, dilation, bias."""
    dims = draw(st.integers(1, 2))
    groups = draw(st.integers(1, 2))
    c_in, c_out = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    per_dim = lambda low, high: tuple(draw(st.integers(low, high)) for _ in range(dims))  # noqa: E731
    kernel, stride, padding, dilation = per_dim(1, 3), per_dim(1, 2), per_dim(0, 1), per_dim(1, 2)
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    if transposed:
        output_padding = tuple(draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True))
        # the result may not have a negative size
        spatial = tuple(draw(st.integers(1, 3)) + (2 * p) // s for p, s in zip(padding, stride, strict=True))
    else:
        output_padding = (0,) * dims
        spatial = tuple(max(r - 2 * p, 1) + draw(st.integers(0, 2)) for r, p in zip(reach, padding, strict=True))
    return {
        "n": draw(maybe_empty) if not transposed else draw(sizes),
        "c_in": c_in,
        "c_out": c_out,
        "groups": groups,
        "kernel": kernel,
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "output_padding": output_padding,
        "spatial": spatial,
        "bias": draw(flags),
    }
