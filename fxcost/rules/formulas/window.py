"""Sliding windows: pooling and interpolation."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from .reduction import Pair
from .whole import gcd


def window_sums(outputs: int, elements: int) -> Pair:
    """Sums (or maxima) over windows that hold `elements` elements together: one operation less than elements each.

    >>> window_sums(4, 36)
    (32, 0)
    """
    return max(elements - outputs, 0), 0


def avg_pool(outputs: int, kernel: Sequence[int]) -> Pair:
    """Average pooling: k − 1 additions and a division for each output; padded positions count as dense.

    Source: definition in torch.nn.AvgPool2d.

    >>> avg_pool(4, (3, 3))
    (36, 0)
    """
    return outputs * prod(kernel), 0


def max_pool(outputs: int, kernel: Sequence[int]) -> Pair:
    """Maximum pooling: k − 1 compares for each output; padded positions count as dense.

    Source: definition in torch.nn.MaxPool2d.

    >>> max_pool(4, (3, 3))
    (32, 0)
    """
    return outputs * (prod(kernel) - 1), 0


def adaptive_window_elements(spatial: Sequence[int], out: Sequence[int]) -> int:
    """Elements in all windows of one adaptive pooling of a map (count).

    Window i of b over a extent runs from ⌊i·a/b⌋ to ⌈(i+1)·a/b⌉. Summed over i that is a + b − gcd(a, b), because
    Σ⌊i·a/b⌋ for i < b is ((a−1)(b−1) + gcd(a, b) − 1) / 2 (Graham, Knuth, Patashnik, Concrete Mathematics, 3.32).
    Uses the greatest common divisor beside the usual operations.

    >>> adaptive_window_elements((7, 7), (1, 1)), adaptive_window_elements((10,), (4,))
    (49, 12)
    """
    return prod(a + b - gcd(a, b) if b else 0 for a, b in zip(spatial, out, strict=True))


def interpolate(outputs: int, taps: int, dims: int) -> Pair:
    """Separable interpolation at each output from `taps` neighbours in each of `dims` dimensions.

    A one-dimensional step is taps products and taps − 1 additions; it is done taps^(dims−1) + … + 1 times. Linear:
    taps = 2, cubic: 4. The weights depend on positions alone and are not counted.
    Source: definition in torch.nn.Upsample; ATen's kernels nest the dimensions in this way.

    >>> interpolate(1, 2, 1), interpolate(1, 2, 2), interpolate(1, 4, 2)
    ((3, 0), (9, 0), (35, 0))
    """
    return outputs * (2 * taps - 1) * sum(taps**i for i in range(dims)), 0


def antialiased(batch: int, spatial: Sequence[int], out: Sequence[int], width: int) -> Pair:
    """Two-dimensional resampling with antialiasing: along the last dimension first, then along the other.

    A filter of `width` taps (2 linear, 4 cubic, 6 Lanczos) is stretched to ⌈width · in / out⌉ where the map shrinks.
    Taps that stand over the border count as dense. `batch` is batch × channels.
    Source: torch.nn.functional.interpolate(antialias=True), which follows Pillow's resize.

    >>> antialiased(1, (8, 8), (4, 4), 2)
    (336, 0)
    """
    (h, w), (out_h, out_w) = spatial, out
    taps_h, taps_w = (max(-(-width * a // max(b, 1)), width) for a, b in ((h, out_h), (w, out_w)))
    return batch * out_w * (h * (2 * taps_w - 1) + out_h * (2 * taps_h - 1)), 0


def cubic_coefficients(positions: int) -> Pair:
    """The four weights of cubic convolution (Keys 1981) at each position: 25 operations.

    Two inner polynomials ((a+2)x − (a+3))x² + 1 of five operations, two outer ((ax − 5a)x + 8a)x − 4a of six, and
    their three shifted arguments.

    >>> cubic_coefficients(2)
    (50, 0)
    """
    return 25 * positions, 0
