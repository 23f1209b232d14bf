"""Gradients of normalizations and softmax: operations beside those that a matrix product does.

`x̂` is the normalized input, `g` the gradient of the output. Flags say which gradients are wanted.
"""

from __future__ import annotations

from .reduction import Pair


def softmax_backward(rows: int, n: int) -> Pair:
    """(g − Σ g·y) · y for each row: n products, n − 1 additions, n subtractions, n products.

    >>> softmax_backward(1, 10)
    (39, 0)
    """
    return rows * (3 * n + max(n - 1, 0)), 0


def log_softmax_backward(rows: int, n: int) -> Pair:
    """g − exp(y) · Σ g for each row: n − 1 additions, n exp, n products, n subtractions.

    >>> log_softmax_backward(1, 10)
    (39, 10)
    """
    return rows * (3 * n + max(n - 1, 0)), rows * n


def layer_norm_backward(rows: int, n: int, channels: int, scaled: bool, of_x: bool, of_w: bool, of_b: bool) -> Pair:
    """Layer normalization of `rows` rows of n, or group normalization; `channels` is how many weights there are.

    x̂ = (x − mean) · rstd; with h = g · w: dx = rstd/n · (n·h − Σh − x̂ · Σ h·x̂) over each row; dw = Σ g·x̂ and db = Σ g
    over all elements that share a weight.

    >>> layer_norm_backward(2, 10, 10, True, True, True, True)
    (258, 0)
    """
    elements = rows * n
    sums = elements - channels
    flops = 2 * elements if of_x or of_w else 0
    if of_x:
        flops += elements * (scaled + 1 + 5) + 2 * rows * max(n - 1, 0) + rows
    if of_w:
        flops += elements + sums
    return flops + (sums if of_b else 0), 0


def rms_norm_backward(rows: int, n: int, scaled: bool, of_x: bool, of_w: bool) -> Pair:
    """Root-mean-square normalization: x̂ = x · rstd, h = g · w, dx = rstd · (h − x̂ · (Σ h·x̂)/n), dw = Σ g·x̂.

    >>> rms_norm_backward(2, 10, True, True, True)
    (170, 0)
    """
    elements = rows * n
    flops = elements if of_x or of_w else 0
    if of_x:
        flops += elements * (scaled + 1 + 3) + rows * max(n - 1, 0) + rows
    if of_w:
        flops += elements + max(rows - 1, 0) * n
    return flops, 0


def batch_norm_backward(
    channels: int, n: int, training: bool, scaled: bool, of_x: bool, of_w: bool, of_b: bool
) -> Pair:
    """Batch normalization of `channels` channels of n elements.

    In training dw = Σ g·x̂ and db = Σ g are needed for dx = (w·rstd/n) · (n·g − db − x̂·dw) too. With running statistics
    rstd is rsqrt(var + eps) of each channel, and dx = g · (w·rstd).

    >>> batch_norm_backward(3, 10, True, True, True, True, True)
    (300, 0)
    >>> batch_norm_backward(3, 10, False, True, True, False, False)
    (39, 3)
    """
    elements, sums = channels * n, channels * max(n - 1, 0)
    both = training and of_x
    flops = 0
    if of_w or both:
        flops += 2 * elements + elements + sums
    if of_b or both:
        flops += sums
    if not training and (of_x or of_w):
        flops += 2 * channels
    if of_x:
        flops += channels * scaled + (5 * elements + channels if training else elements)
    return flops, channels if not training and (of_x or of_w) else 0
