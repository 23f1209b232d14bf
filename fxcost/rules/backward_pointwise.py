"""Gradients of elementwise functions and losses: operations per element, from one table.

`g` is the gradient of the result, `x` and `y` the function's arguments; sigmoid and tanh are given their result as `y`.
Expressions are read as in pointwise.py, and proven in the same way by tests/rules/test_backward.py.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from ..records.cost import Cost
from ..records.recording import OpRecord
from .common import argument, arithmetic, with_bytes
from .loss import label_pairs
from .pointwise import Entry
from .registry import OpKey, Rule

aten = torch.ops.aten

TABLE: Mapping[OpKey, Entry] = {
    aten.sigmoid_backward: (3, 0, "g * (1 - y) * y"),
    aten.tanh_backward: (3, 0, "g * (1 - y * y)"),
    aten.logit_backward: (3, 0, "g / (x * (1 - x))"),
    aten.threshold_backward: (1, 0, "where(x <= 0, 0, g)"),
    aten.hardtanh_backward: (2, 0, "where((x <= -1) | (x >= 1), 0, g)"),
    aten.hardsigmoid_backward: (3, 0, "where((x > -3) & (x < 3), g * (1 / 6), 0)"),
    aten.hardswish_backward: (5, 0, "where(x <= -3, 0, where(x < 3, g * (x / 3 + 0.5), g))"),
    aten.leaky_relu_backward: (2, 0, "where(x > 0, g, g * 0.01)"),
    aten.hardshrink_backward: (2, 0, "where((x >= -0.5) & (x <= 0.5), 0, g)"),
    aten.softshrink_backward: (2, 0, "where((x >= -0.5) & (x <= 0.5), 0, g)"),
    aten.silu_backward: (9, 1, "g * (s := 1 / (1 + exp(-x))) * (1 + x * (1 - s))"),
    aten.mish_backward: (14, 4, "g * ((t := tanh(log(1 + exp(x)))) + x * (1 / (1 + exp(-x))) * (1 - t * t))"),
    aten.softplus_backward: (5, 1, "where(x > 20, g, g * (z := exp(x)) / (z + 1))"),
    aten.elu_backward: (3, 1, "where(x <= 0, g * exp(x), g)"),
    aten.log_sigmoid_backward: (9, 1, "g * ((n := x < 0) - where(n, 1, -1) * ((z := exp(-abs(x))) / (1 + z)))"),
    aten.mse_loss_backward: (3, 0, "2 * (x - y) * g"),
    aten.smooth_l1_loss_backward: (5, 0, "where((d := x - y) <= -1, -1, where(d >= 1, 1, 1 * d)) * g"),
    aten.huber_loss_backward: (5, 0, "where((d := x - y) <= -1, -1, where(d >= 1, 1, 1 * d)) * g"),
    aten.binary_cross_entropy_backward: (6, 0, "g * (x - y) / max((1 - x) * x, 1e-12)"),
    aten.soft_margin_loss_backward: (8, 1, "-y * g * (z := exp(-y * x)) / (1 + z)"),
}
"""Operations per element, how many are transcendental, and the expression, with parameters at their defaults."""

GELU: Mapping[str, Entry] = {
    "none": (
        11,
        2,
        "g * (0.5 * (1 + erf(x * 0.7071067811865476)) + x * (0.3989422804014327 * exp(-0.5 * x * x)))",
    ),
    "tanh": (
        18,
        1,
        "g * (0.5 * (1 + (t := tanh(0.7978845608028654 * (x + 0.044715 * (q := x * x) * x)))) "
        "+ 0.5 * x * (1 - t * t) * (0.7978845608028654 * (1 + 0.134145 * q)))",
    ),
}

SCALINGS = ("alpha", "scale", "input_scale", "beta", "delta")
"""Numbers that scale once more where they are not one."""


def per_element(entry: Entry) -> Rule:
    """So many operations for each element of the result, one more for each scaling, weight and mean."""
    operations, transcendental, _ = entry

    def rule(op: OpRecord) -> Cost:
        n = op.out.numel
        more: int = sum(argument(op, name, 1) != 1 for name in SCALINGS)
        more += (argument(op, "weight") is not None) + (argument(op, "reduction") == 1)
        return arithmetic(op, (operations + more) * n, transcendental * n)

    return Rule("pointwise", rule)


def gelu(op: OpRecord) -> Cost:
    """By the exact function or its approximation."""
    operations, transcendental, _ = GELU[argument(op, "approximate")]
    return arithmetic(op, operations * op.out.numel, transcendental * op.out.numel)


def glu(op: OpRecord) -> Cost:
    """For each pair a, b: s = 1 / (1 + exp(−b)), da = g·s, db = g·a·(1 − s)·s: nine operations."""
    n = op.args[0].numel
    return arithmetic(op, 9 * n, n)


def prelu(op: OpRecord) -> Cost:
    """x > 0 selects g or w·g for the input, nothing or x·g for the weight."""
    return arithmetic(op, 3 * op.args[0].numel)


def dropout(op: OpRecord) -> Cost:
    """g · mask · scale."""
    return arithmetic(op, 2 * op.out.numel)


def rrelu(op: OpRecord) -> Cost:
    """In training a product with the noise; else as leaky ReLU."""
    return arithmetic(op, op.out.numel * (1 if argument(op, "training") else 2))


def nll_loss(op: OpRecord) -> Cost:
    """grad, log-probabilities, target, weight, reduction: −g at each target (· weight, / total), zeros elsewhere.

    The log-probabilities themselves are not read.
    """
    grad, _x, target, weight, reduction = op.args[:5]
    each = 1 + (weight is not None) + (reduction == 1)
    cost = arithmetic(op, target.numel * each)
    return with_bytes(op, cost, grad.stored_bytes + target.stored_bytes + (weight.stored_bytes if weight else 0))


def multi_margin_loss(op: OpRecord) -> Cost:
    """For each wrong class margin − x[y] + x[i] > 0 selects ±g, · 2 · z where p is 2; then the target's sum."""
    x, p, weight = op.args[1], argument(op, "p"), argument(op, "weight")
    c = x.shape[-1] if x.shape else 1
    wrong = x.numel // max(c, 1) * max(c - 1, 0)
    return arithmetic(op, wrong * (5 + 2 * (p == 2) + (weight is not None)))


def multilabel_margin_loss(op: OpRecord) -> Cost:
    """For each pair of a target and another class: where 1 − (x[y] − x[i]) > 0, g / c goes to both, with both signs."""
    samples, pairs = label_pairs(op.args[1])
    return arithmetic(op, samples * (1 + 5 * pairs))


RULES: Mapping[OpKey, Rule] = {
    **{key: per_element(entry) for key, entry in TABLE.items()},
    aten.gelu_backward: Rule("pointwise", gelu),
    aten.glu_backward: Rule("pointwise", glu),
    aten._prelu_kernel_backward: Rule("pointwise", prelu),
    aten.native_dropout_backward: Rule("pointwise", dropout),
    aten.rrelu_with_noise_backward: Rule("pointwise", rrelu),
    aten.nll_loss_backward: Rule("loss", nll_loss),
    aten.nll_loss2d_backward: Rule("loss", nll_loss),
    aten.multi_margin_loss_backward: Rule("loss", multi_margin_loss),
    aten.multilabel_margin_loss_backward: Rule("loss", multilabel_margin_loss),
}
