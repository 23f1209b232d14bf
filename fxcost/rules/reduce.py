"""Reductions and scans: sums, means, variances, norms, extrema, softmax, cumulative sums.

Boolean reductions (`any`, `all`) and counts do no floating-point work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from ..records.cost import Cost
from ..records.recording import OpRecord
from . import formulas
from .common import argument, arithmetic, optional, rows_and_length
from .registry import OpKey, Rule

aten = torch.ops.aten

Formula = Callable[[int, int], tuple[int, int]]


def _dims(op: OpRecord) -> tuple[int, int]:
    """Rows and their length, by the argument `dim` (all dimensions where there is none)."""
    return rows_and_length(op.args[0].shape, argument(op, "dim"))


def reduction(formula: Formula, extra: int = 0, extra_transcendentals: int = 0) -> Callable[[OpRecord], Cost]:
    """A rule that applies a formula of (rows, length), plus `extra` operations for each row."""

    def rule(op: OpRecord) -> Cost:
        rows, n = _dims(op)
        flops, transcendentals = formula(rows, n)
        return arithmetic(op, flops + extra * rows, transcendentals + extra_transcendentals * rows)

    return rule


def min_and_max(op: OpRecord) -> Cost:
    """Both extrema of each row: 2 (n − 1) compares."""
    rows, n = _dims(op)
    return arithmetic(op, 2 * formulas.total(rows, n)[0])


def vector_norm(op: OpRecord) -> Cost:
    """The norm of order `ord` (or `p`) of each row; 2 if not given."""
    rows, n = _dims(op)
    order = argument(op, "ord", argument(op, "p"))
    return arithmetic(op, *formulas.vector_norm(rows, n, 2 if order is None else order))


def power_sum(op: OpRecord) -> Cost:
    """Σ|x|^ord of each row: a norm without its root."""
    rows, n = _dims(op)
    flops, transcendentals = formulas.vector_norm(rows, n, argument(op, "ord", 2))
    return arithmetic(op, flops - (rows if transcendentals else 0), transcendentals - (rows if transcendentals else 0))


def distance(op: OpRecord) -> Cost:
    """‖a − b‖ of two tensors: n subtractions, then the norm."""
    n = max(op.args[0].numel, op.args[1].numel)
    return arithmetic(op, *formulas.pairwise_distances(1, n, op.args[2]))


def masked_softmax(op: OpRecord) -> Cost:
    """Softmax over `dim`, the last if not given; masked places count as dense."""
    dim = argument(op, "dim")
    return arithmetic(op, *formulas.softmax(*rows_and_length(op.args[0].shape, -1 if dim is None else dim)))


def scan_logsumexp(op: OpRecord) -> Cost:
    """Running log Σ exp: n − 1 times log(exp(a) + exp(b)), four operations with three transcendentals."""
    steps = formulas.total(*_dims(op))[0]
    return arithmetic(op, 4 * steps, 3 * steps)


def trace(op: OpRecord) -> Cost:
    """Sum of min(m, n) diagonal elements."""
    return arithmetic(op, formulas.total(1, min(op.args[0].shape))[0])


def cross(op: OpRecord) -> Cost:
    """Cross products of 3-vectors: two products and a subtraction for each element."""
    return arithmetic(op, 3 * op.out.numel)


def histogram(op: OpRecord) -> Cost:
    """⌊(x − lo) · bins / (hi − lo)⌋ and two compares with the range: six operations an element."""
    return arithmetic(op, 6 * op.args[0].numel)


def weighted_count(op: OpRecord) -> Cost:
    """bincount: an addition an element if there are weights, integer work otherwise."""
    weights = op.args[1]
    return arithmetic(op, weights.numel) if weights is not None else Cost()


def segment_reduce(op: OpRecord) -> Cost:
    """One operation for each element along `axis` (n − 1 and the initial value or the mean's division)."""
    return arithmetic(op, op.args[0].numel)


def linear_combination(op: OpRecord) -> Cost:
    """(m, k) coefficients × (k, *) → (m, *): a product and an addition for each term but the first."""
    coefficients = op.args[1].shape
    return arithmetic(op, op.out.numel * (2 * coefficients[1] - 1))


def allclose(op: OpRecord) -> Cost:
    """|x − y| ≤ atol + rtol · |y|: six operations an element."""
    return arithmetic(op, 6 * max(op.args[0].numel, op.args[1].numel))


def boolean(op: OpRecord) -> Cost:
    """Boolean and integer work: no floating-point operations."""
    return Cost()


def _rule(formula: Formula, extra: int = 0, extra_transcendentals: int = 0) -> Rule:
    return Rule("reduction", reduction(formula, extra, extra_transcendentals))


_VARIANCE, _STD = _rule(formulas.variance), _rule(formulas.variance, 1, 1)
_LOG_SOFTMAX = _rule(formulas.log_softmax)
_TOTAL, _SOFTMAX = _rule(formulas.total), _rule(formulas.softmax)
_NORM = Rule("reduction", vector_norm)
_BOOLEAN = Rule("reduction", boolean, "boolean and integer work is not floating-point work")

RULES: Mapping[OpKey, Rule] = {
    aten.sum: _TOTAL,
    aten.nansum: _TOTAL,
    aten.prod: _TOTAL,
    aten.max: _TOTAL,
    aten.min: _TOTAL,
    aten.amax: _TOTAL,
    aten.amin: _TOTAL,
    aten.argmax: _TOTAL,
    aten.argmin: _TOTAL,
    aten.aminmax: Rule("reduction", min_and_max),
    aten._aminmax: Rule("reduction", min_and_max),
    aten.mean: _rule(formulas.mean),
    aten.var: _VARIANCE,
    aten.var_mean: _VARIANCE,
    aten.std: _STD,
    aten.std_mean: _STD,
    aten.logsumexp: _rule(formulas.logsumexp),
    aten._softmax: _SOFTMAX,
    aten.softmax: _SOFTMAX,
    aten._safe_softmax: _SOFTMAX,
    aten._masked_softmax: Rule("reduction", masked_softmax),
    aten._log_softmax: _LOG_SOFTMAX,
    aten.log_softmax: _LOG_SOFTMAX,
    aten.linalg_vector_norm: _NORM,
    aten.norm: _NORM,
    aten.native_norm: _NORM,
    **optional("linalg__powsum", Rule("reduction", power_sum)),
    aten.dist: Rule("reduction", distance),
    aten.cumsum: _TOTAL,
    aten.cumprod: _TOTAL,
    aten.cummax: _TOTAL,
    aten.cummin: _TOTAL,
    aten._cummax_helper: _TOTAL,
    aten._cummin_helper: _TOTAL,
    aten.logcumsumexp: Rule("reduction", scan_logsumexp),
    aten._logcumsumexp: Rule("reduction", scan_logsumexp),
    aten.trace: Rule("reduction", trace),
    aten.linalg_cross: Rule("reduction", cross),
    aten.histc: Rule("reduction", histogram),
    aten.histogram: Rule("reduction", histogram),
    aten.bincount: Rule("reduction", weighted_count),
    aten.segment_reduce: Rule("reduction", segment_reduce),
    aten._compute_linear_combination: Rule("reduction", linear_combination),
    aten.allclose: Rule("reduction", allclose),
    aten._histogramdd_bin_edges: Rule("reduction", min_and_max),
    aten._histogramdd_from_bin_cts: Rule("reduction", histogram),
    aten._histogramdd_from_bin_tensors: Rule("reduction", histogram),
    aten.any: _BOOLEAN,
    aten.all: _BOOLEAN,
    aten.count_nonzero: _BOOLEAN,
    aten._is_all_true: _BOOLEAN,
    aten._is_any_true: _BOOLEAN,
    **optional("hash_tensor", _BOOLEAN),
}
