"""Layer, group, batch and RMS normalization."""

from __future__ import annotations

from .reduction import Pair, variance


def normalize(elements: int, scaled: bool, shifted: bool) -> Pair:
    """(x − mean) · rstd for `elements` elements, then · weight if `scaled` and + bias if `shifted`.

    >>> normalize(10, scaled=True, shifted=True)
    (40, 0)
    """
    return elements * (2 + scaled + shifted), 0


def layer_norm(rows: int, n: int, scaled: bool, shifted: bool) -> Pair:
    """Layer normalization of `rows` rows of n, also group normalization (rows = batch × groups).

    Mean and variance in two passes, rsqrt(variance + eps) for each row, then `normalize`.
    Source: definition in torch.nn.LayerNorm.

    >>> layer_norm(1, 10, True, True)
    (82, 1)
    """
    return variance(rows, n)[0] + 2 * rows + normalize(rows * n, scaled, shifted)[0], rows


def rms_norm(rows: int, n: int, scaled: bool) -> Pair:
    """Root-mean-square normalization: n squares, n − 1 additions, a division, + eps, rsqrt, n products (+ weight).

    Source: definition in torch.nn.RMSNorm.

    >>> rms_norm(1, 10, True)
    (42, 1)
    """
    return rows * (2 * n + max(n - 1, 0) + 3 + n * scaled), rows


def batch_norm(channels: int, n: int, training: bool, scaled: bool, shifted: bool) -> Pair:
    """Batch normalization of `channels` channels of n elements; running statistics apart (`running_stats`).

    rsqrt(variance + eps) for each channel, then `normalize`; in training also mean and variance in two passes.
    Source: definition in torch.nn.BatchNorm2d.

    >>> batch_norm(3, 10, False, True, True)
    (126, 3)
    """
    flops = 2 * channels + normalize(channels * n, scaled, shifted)[0]
    return flops + (variance(channels, n)[0] if training else 0), channels


def running_stats(channels: int) -> Pair:
    """Update of running mean and variance: (1 − m) · old + m · new for both, and variance · n / (n − 1) first.

    >>> running_stats(3)
    (21, 0)
    """
    return 7 * channels, 0
