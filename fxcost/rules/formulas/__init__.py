"""Integer formulas: from sizes to counts, one file per kind of algorithm.

No torch here, and nothing but `+ - * //`, `max` and `math.prod`, so that symbolic sizes pass through as well as
integers. (Three kinds of formula need an integer function more, and say so: `int.bit_length` for ⌈log₂ n⌉, a greatest
common divisor for the windows of adaptive pooling, and the experts that tokens go to; `whole.py` has how a symbolic
size keeps the last two.) What counts as one operation is defined in docs/counting.md.

A function whose name ends in `_macs` returns multiply-accumulates; every other one returns a pair
`(flops, transcendentals)`: the floating-point operations beside MACs, and how many of them are exp, log, sqrt and
their like.
"""

from __future__ import annotations

from .contraction import attention_macs, conv_macs, conv_transpose_macs, distinct, matmul_macs, recurrent_macs
from .linalg import (
    cholesky,
    det,
    eigen,
    fft,
    householder_product,
    inverse,
    lu,
    pairwise_distances,
    qr,
    search,
    solve,
    sort,
    svd,
    topk,
    triangular_solve,
)
from .masked import cached_pairs, causal_pairs, chunked_pairs
from .normalization import batch_norm, layer_norm, normalize, rms_norm, running_stats
from .recurrent import gru_cell, lstm_cell, rnn_cell
from .reduction import log_softmax, logsumexp, mean, softmax, total, variance, vector_norm
from .window import (
    adaptive_window_elements,
    antialiased,
    avg_pool,
    cubic_coefficients,
    interpolate,
    max_pool,
    window_sums,
)

__all__ = [
    "adaptive_window_elements",
    "antialiased",
    "attention_macs",
    "avg_pool",
    "batch_norm",
    "cached_pairs",
    "causal_pairs",
    "cholesky",
    "chunked_pairs",
    "conv_macs",
    "conv_transpose_macs",
    "cubic_coefficients",
    "det",
    "distinct",
    "eigen",
    "fft",
    "gru_cell",
    "householder_product",
    "interpolate",
    "inverse",
    "layer_norm",
    "log_softmax",
    "logsumexp",
    "lstm_cell",
    "lu",
    "matmul_macs",
    "max_pool",
    "mean",
    "normalize",
    "pairwise_distances",
    "qr",
    "recurrent_macs",
    "rms_norm",
    "rnn_cell",
    "running_stats",
    "search",
    "softmax",
    "solve",
    "sort",
    "svd",
    "topk",
    "total",
    "triangular_solve",
    "variance",
    "vector_norm",
    "window_sums",
]
