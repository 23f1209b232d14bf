"""Losses: operations per element from one table, then the reduction; and quantizing, which is as simple.

`reduction` is 0 none, 1 mean, 2 sum. Losses that PyTorch composes of other operators (cross entropy, KL divergence,
cosine embedding …) need no rule. What depends on the labels' values counts at its most.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ..records.cost import Cost
from ..records.recording import OpRecord, TensorSpec
from . import formulas
from .common import argument, arithmetic, optional
from .pointwise import Entry
from .registry import OpKey, Rule

aten = torch.ops.aten

TABLE: Mapping[OpKey, Entry] = {
    aten.mse_loss: (2, 0, "(d := x - y) * d"),
    aten.smooth_l1_loss: (6, 0, "where((a := abs(d := x - y)) < 1, 0.5 * d * d, a - 0.5)"),
    aten.huber_loss: (6, 0, "where((a := abs(d := x - y)) <= 1, 0.5 * d * d, a - 0.5)"),
    aten.binary_cross_entropy: (10, 2, "-(y * max(log(x), -100) + (1 - y) * max(log(1 - x), -100))"),
    aten.binary_cross_entropy_with_logits: (9, 2, "(1 - y) * x - (min(x, 0) - log1p(exp(-abs(x))))"),
    aten.soft_margin_loss: (5, 2, "log(1 + exp(-y * x))"),
}
"""Operations per element, how many are transcendental, and the expression, with beta and delta equal to one."""

QUANTIZE: Mapping[OpKey, Entry] = {
    aten.quantize_per_tensor: (5, 0, "min(max(round(x / s) + z, lo), hi)"),
    aten.quantize_per_channel: (5, 0, "min(max(round(x / s) + z, lo), hi)"),
    aten.quantize_per_tensor_dynamic: (5, 0, "min(max(round(x / s) + z, lo), hi)"),
    aten.fake_quantize_per_tensor_affine_cachemask: (7, 0, "(min(max(round(x / s) + z, lo), hi) - z) * s"),
    aten._fake_quantize_per_tensor_affine_cachemask_tensor_qparams: (
        7,
        0,
        "(min(max(round(x / s) + z, lo), hi) - z) * s",
    ),
    aten.fake_quantize_per_channel_affine_cachemask: (7, 0, "(min(max(round(x / s) + z, lo), hi) - z) * s"),
    aten._fake_quantize_learnable_per_tensor_affine: (7, 0, "(min(max(round(x / s) + z, lo), hi) - z) * s"),
    aten._fake_quantize_learnable_per_channel_affine: (7, 0, "(min(max(round(x / s) + z, lo), hi) - z) * s"),
}


def reduced(reduction: int, n: int) -> int:
    """Operations that reduce n losses: none, n − 1 additions and a division, or n − 1 additions."""
    if reduction == 0:
        return 0
    return (formulas.mean if reduction == 1 else formulas.total)(1, n)[0]


def _extras(op: OpRecord) -> int:
    """Products more per element: a weight, a positive weight (1 + (p − 1)·y, and its product), beta or delta ≠ 1."""
    weights: int = (argument(op, "weight") is not None) + (4 if argument(op, "pos_weight") is not None else 0)
    others: int = sum(argument(op, name, 1) != 1 for name in ("beta", "delta"))
    return weights + others


def elementwise(entry: Entry) -> Rule:
    """input and target of one shape, then the reduction."""
    operations, transcendental, _ = entry

    def rule(op: OpRecord) -> Cost:
        n = max(op.args[0].numel, op.args[1].numel)
        return arithmetic(
            op, (operations + _extras(op)) * n + reduced(argument(op, "reduction"), n), transcendental * n
        )

    return Rule("loss", rule)


def quantize(entry: Entry) -> Rule:
    """So many operations for each element."""

    def rule(op: OpRecord) -> Cost:
        return Cost(other_flops=entry[0] * op.args[0].numel)

    return Rule("pointwise", rule)


def observed_fake_quantize(op: OpRecord) -> Cost:
    """The range of each row (or of all), followed by a moving average, then fake quantization with what it gives.

    A row of n takes 2(n − 1) compares, running + c · (new − running) twice, and nine operations for scale and zero
    point: min(lo, 0), max(hi, 0), (hi − lo) / levels, min(max(round(lowest − lo / scale), …), …). Both parts count,
    whatever their switches say. Source: torch.ao.quantization.FusedMovingAvgObsFakeQuantize.
    """
    x = op.args[0]
    rows = x.shape[argument(op, "ch_axis")] if argument(op, "per_row_fake_quant") else 1
    observing = 2 * (x.numel - rows) + 15 * rows
    return arithmetic(op, observing + 7 * x.numel)


def nll_loss(op: OpRecord) -> Cost:
    """log-probabilities (n, c, *spatial), target (n, *spatial): −x[y], times the class's weight if there is one.

    The mean divides by the sum of the weights, n − 1 additions more.
    """
    target, weight, reduction = op.args[1:4]
    n = target.numel
    flops = n * (1 + (weight is not None)) + reduced(reduction, n)
    if weight is not None and reduction == 1:
        flops += formulas.total(1, n)[0]
    return arithmetic(op, flops)


def multi_margin_loss(op: OpRecord) -> Cost:
    """x (n, c), target (n): for each wrong class max(0, margin − x[y] + x[i])^p, · weight; their sum, / c."""
    x, p, weight = op.args[0], op.args[2], argument(op, "weight")
    c = x.shape[-1] if x.shape else 1
    n = x.numel // max(c, 1)
    terms = n * max(c - 1, 0)
    flops = terms * (3 + (p == 2) + (weight is not None)) + formulas.mean(n, max(c - 1, 0))[0]
    return arithmetic(op, flops + reduced(argument(op, "reduction"), n))


def label_pairs(x: TensorSpec) -> tuple[int, int]:
    """x (*, c): samples, and pairs of a target with a class that is none in each, half of the classes being targets."""
    c = x.shape[-1] if x.shape else 1
    return x.numel // max(c, 1), (c // 2) * (c - c // 2)


def multilabel_margin_loss(op: OpRecord) -> Cost:
    """x (n, c): the sum of max(0, 1 − (x[y] − x[i])) over targets y and other classes i, / c."""
    samples, pairs = label_pairs(op.args[0])
    return arithmetic(op, samples * 4 * pairs + reduced(argument(op, "reduction"), samples))


def chunked_cross_entropy(op: OpRecord) -> Cost:
    """input (n, d), weight (c, d), target …: a linear layer, log-softmax and likelihood, a chunk of rows at a time.

    The gradients that it computes at once, as its flags say: softmax − target, times the row's weight (two operations a
    logit), then the products of a linear layer's gradients. Source: torch.nn.modules.linear_cross_entropy.
    """
    x, weight, bias = op.args[0], op.args[1], argument(op, "linear_bias")
    n, (c, d) = x.numel // max(x.shape[-1], 1), weight.shape
    of_x, of_w, of_b = (
        bool(argument(op, f"compute_{name}_grad", False)) for name in ("input", "linear_weight", "linear_bias")
    )
    flops, transcendentals = formulas.log_softmax(n, c)
    flops += n * (1 + (argument(op, "weight") is not None)) + (reduced(1, n) if argument(op, "reduction") else 0)
    flops += n * c * 2 * (of_x or of_w or of_b) + (n * c - c if of_b else 0)
    fresh = (0 if bias is not None else n * c) + n * d * of_x + c * d * of_w
    return Cost(macs=n * c * d * (1 + of_x + of_w), zero_accumulators=fresh) + arithmetic(op, flops, transcendentals)


def ctc_states(log_probs: TensorSpec, targets: TensorSpec, inputs: Any, lengths: Any) -> tuple[int, int]:
    """States of all recursions, 2l + 1 a step for a target of length l, and how many sequences there are.

    log-probabilities are (t, n, c). Lengths in tensors count as the longest possible.
    """
    t, n = log_probs.shape[0], log_probs.shape[1] if len(log_probs.shape) == 3 else 1
    if not isinstance(lengths, (tuple, list)):
        longest = targets.shape[1] if len(targets.shape) == 2 else targets.numel // max(n, 1)
        inputs, lengths = (t,) * n, (longest,) * n
    return sum(steps * (2 * length + 1) for steps, length in zip(inputs, lengths, strict=True)), n


def ctc_loss(op: OpRecord) -> Cost:
    """log-probabilities (t, n, c): the forward recursion over t steps and 2l + 1 states of each target of length l.

    A state takes log Σ exp of three predecessors (twelve operations, four transcendental) + its log-probability; the
    loss joins the last two states (eight, three) and a negation.
    """
    states, n = ctc_states(*op.args[:4])
    return arithmetic(op, 13 * states + 9 * n, 4 * states + 3 * n)


RULES: Mapping[OpKey, Rule] = {
    **{key: elementwise(entry) for key, entry in TABLE.items()},
    **{key: quantize(entry) for key, entry in QUANTIZE.items()},
    aten._fused_moving_avg_obs_fq_helper: Rule("pointwise", observed_fake_quantize),
    aten._fused_moving_avg_obs_fq_helper_functional: Rule("pointwise", observed_fake_quantize),
    aten.nll_loss_forward: Rule("loss", nll_loss),
    aten.nll_loss2d_forward: Rule("loss", nll_loss),
    aten.multi_margin_loss: Rule("loss", multi_margin_loss),
    aten._ctc_loss: Rule("loss", ctc_loss),
    aten._cudnn_ctc_loss: Rule("loss", ctc_loss),
    **optional("miopen_ctc_loss", Rule("loss", ctc_loss)),
    aten.multilabel_margin_loss_forward: Rule("loss", multilabel_margin_loss),
}
LATE_RULES: Mapping[str, Rule] = {
    "torch_nn::_linear_cross_entropy_batch_chunked": Rule("loss", chunked_cross_entropy),
    "torch_nn::_linear_cross_entropy_batch_chunked_no_reduction": Rule("loss", chunked_cross_entropy),
}
"""By qualified name, as PyTorch defines them when `F.linear_cross_entropy` is first called."""
