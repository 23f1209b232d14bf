"""Multiply-accumulates of contractions: matrix products, convolutions, attention, recurrent layers."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from .whole import keepable

Dims = Sequence[int]


def matmul_macs(batch: int, m: int, k: int, n: int) -> int:
    """Multiply-accumulates (count) of `batch` products of an (m, k) with a (k, n) matrix.

    Source: definition of the matrix product: m·n dot products of length k.

    >>> matmul_macs(2, 3, 4, 5)
    120
    """
    return batch * m * k * n


def conv_macs(n: int, c_in: int, c_out: int, groups: int, kernel: Dims, out: Dims) -> int:
    """Multiply-accumulates (count) of a forward convolution, bias excluded.

    Shapes: input (n, c_in, *spatial), weight (c_out, c_in // groups, *kernel), output (n, c_out, *out).
    Source: definition in torch.nn.Conv2d; padded positions count as dense.

    >>> conv_macs(1, 3, 8, 1, (3, 3), (4, 4))
    3456
    """
    return n * c_out * prod(out) * (c_in // groups) * prod(kernel)


def conv_transpose_macs(n: int, c_in: int, c_out: int, groups: int, kernel: Dims, spatial: Dims) -> int:
    """Multiply-accumulates (count) of a transposed convolution: every input element meets every kernel tap.

    Shapes: input (n, c_in, *spatial), weight (c_in, c_out // groups, *kernel).
    Source: definition in torch.nn.ConvTranspose2d; taps that fall outside the output count as dense.

    >>> conv_transpose_macs(1, 8, 3, 1, (3, 3), (4, 4))
    3456
    """
    return n * c_in * prod(spatial) * (c_out // groups) * prod(kernel)


def attention_macs(batch: int, l_q: int, l_k: int, d: int, d_v: int) -> int:
    """Multiply-accumulates (count) of softmax(Q Kᵀ) V for `batch` heads in all, dense.

    Shapes: Q (batch, l_q, d), K (batch, l_k, d), V (batch, l_k, d_v).
    Source: definition in torch.nn.functional.scaled_dot_product_attention.

    >>> attention_macs(2, 3, 5, 4, 7)
    330
    """
    return batch * l_q * l_k * (d + d_v)


@keepable
def distinct(groups: int, rows: int) -> int:
    """How many of `groups` get at least one of `rows` that fall on them evenly and independently: expected, rounded.

    groups · (1 − (1 − 1/groups)^rows), in integers. With 40 rows and more for each group it is all of them but for
    one part in e⁴⁰.

    >>> distinct(8, 2), distinct(8, 16), distinct(8, 1000)
    (2, 7, 8)
    """
    if groups <= 1 or rows >= 40 * groups:
        return groups if rows else 0
    if rows <= 1:
        return rows
    every = prod([groups] * (rows - 1))  # as a power, a type checker takes it for a float
    return (groups * every - prod([groups - 1] * rows) + every // 2) // every


def recurrent_macs(rows: int, matrices: Sequence[Dims]) -> int:
    """Multiply-accumulates (count) of recurrent layers: every weight matrix meets every row of the sequences.

    `rows` is time steps × batch (for packed sequences the number of steps that are there), `matrices` the shapes
    of all weight matrices of all layers and directions.
    Source: cell equations in torch.nn.LSTM, GRU, RNN.

    >>> recurrent_macs(10, [(16, 3), (16, 4)])
    1120
    """
    return rows * sum(prod(shape) for shape in matrices)
