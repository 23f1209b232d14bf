"""Attention recorded whole: fxcost's unit, PyTorch's fused kernels, and the encoder layer's fast path.

Counted dense: causal and boolean masks select and skip nothing; what a mask leaves that is known without data (causal,
a window) stands beside it, as `Cost.masked_macs`. All kernels of one attention cost the same, though
a backend may compute it in blocks. Traffic: Q, K, V and a mask are read, the output is written; the scores are not
stored, and neither counts the log-sum-exp that is kept for backward.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod

import torch

from ..meta import units as _units  # noqa: F401  (defines torch.ops.fxcost)
from ..records.cost import Cost
from ..records.recording import OpRecord, TensorSpec
from . import formulas
from .common import argument, bytes_of, higher_order, optional, with_bytes
from .registry import OpKey, Registry, Rule

aten = torch.ops.aten


def scores_cost(batch: int, l_q: int, l_k: int, d: int, d_v: int, *, bias: bool, dropout: bool, scaled: bool) -> Cost:
    """Cost of softmax(scale · Q Kᵀ + bias) V without traffic.

    Scaling, adding a floating-point mask and the two products of dropout are done on each of the l_q · l_k scores.
    """
    rows = batch * l_q
    flops, exps = formulas.softmax(rows, l_k)
    return Cost(
        macs=formulas.attention_macs(batch, l_q, l_k, d, d_v),
        other_flops=flops + rows * l_k * (scaled + bias + 2 * dropout),
        transcendentals=exps,
        zero_accumulators=rows * (l_k + d_v),
    )


def without(cost: Cost, skipped: int, d: int, each: int) -> Cost:
    """A cost in which `skipped` scores are thrown away by a mask, with `d` MACs and `each` operations for each."""
    return replace(cost, skipped_macs=skipped * d, skipped_flops=skipped * each)


def skipped_pairs(op: OpRecord, batch: int, l_q: int, l_k: int) -> int:
    """Scores that the mask of an attention throws away, as far as that is known without data (meta/places.py)."""
    if argument(op, "is_causal", False) is True:
        return batch * (l_q * l_k - formulas.causal_pairs(l_q, l_k))
    kept, mask = argument(op, "kept"), argument(op, "attn_mask")
    if kept is None or mask is None or not mask.numel:
        return 0
    whole: int = batch * l_q * l_k
    numel: int = mask.numel
    return whole - int(kept) * (whole // numel)


def attention(op: OpRecord) -> Cost:
    """query (*, l_q, d), key (*, l_k, d), value (*, l_k, d_v) → (*, l_q, d_v); batch dimensions broadcast.

    With `enable_gqa` key and value have fewer heads, each serving several heads of the query.
    """
    query, key, value = op.args[:3]
    mask: TensorSpec | None = argument(op, "attn_mask", argument(op, "attn_bias"))
    out = op.out
    cost = scores_cost(
        prod(out.shape[:-2]),
        query.shape[-2],
        key.shape[-2],
        query.shape[-1],
        value.shape[-1],
        bias=mask is not None and mask.is_floating,
        dropout=bool(argument(op, "dropout_p", 0.0)),
        scaled=argument(op, "scale") != 1,
    )
    if skipped := skipped_pairs(op, prod(out.shape[:-2]), query.shape[-2], key.shape[-2]):
        bias = mask is not None and mask.is_floating
        each = 5 + bias + (argument(op, "scale") != 1) + 2 * bool(argument(op, "dropout_p", 0.0))
        cost = without(cost, skipped, query.shape[-1] + value.shape[-1], each)
    cost = with_bytes(op, cost, bytes_of(query, key, value, mask), out.stored_bytes)
    return replace(cost, activations=out.numel)


def flash_forward(op: OpRecord) -> Cost:
    """query (batch, l_q, heads, d), or (tokens, heads, d) with sequence starts in `cum_seq_q` and its like.

    Ragged sequences are counted at their largest length: batch × max_q × max_k.
    """
    query, key, value = op.args[:3]
    bias = argument(op, "bias")
    starts = argument(op, "cum_seq_q", argument(op, "cu_seqlens_q", argument(op, "cu_seq_q")))
    if starts is None:
        batch, l_q, l_k = query.shape[0], query.shape[1], key.shape[1]
    else:
        batch = starts.shape[0] - 1
        l_q = argument(op, "max_q", argument(op, "max_seqlen_q"))
        l_k = argument(op, "max_k", argument(op, "max_seqlen_k"))
    cost = scores_cost(
        batch * query.shape[-2],
        l_q,
        l_k,
        query.shape[-1],
        value.shape[-1],
        bias=bias is not None,
        dropout=bool(argument(op, "dropout_p", 0.0)),
        scaled=argument(op, "scale") != 1,
    )
    return with_bytes(op, cost, bytes_of(query, key, value, bias), op.out.stored_bytes)


def flex_attention(op: OpRecord, registry: Registry) -> Cost:
    """(query, key, value, operators of `score_mod`, block_mask, scale, …): dense; `score_mod` runs on each score.

    Source: definition in `torch.nn.attention.flex_attention`, softmax(score_mod(scale · Q Kᵀ)) V.
    """
    query, key, value, score_mod = op.args[:4]
    scale = op.args[5] if len(op.args) > 5 else None
    batch = prod(query.shape[:-2])
    sizes = query.shape[-2], key.shape[-2], query.shape[-1], value.shape[-1]
    cost = scores_cost(batch, *sizes, bias=False, dropout=False, scaled=scale != 1)
    cost += _on_each(score_mod, batch * sizes[0] * sizes[1], registry)
    return with_bytes(op, cost, bytes_of(query, key, value), op.out.stored_bytes)


def _on_each(operations: tuple[OpRecord, ...], scores: int, registry: Registry) -> Cost:
    """The arithmetic of operators that a kernel runs on each score, which move nothing."""
    once = [
        rule.function(o) for o in operations if (rule := registry.find(o.op)) is not None and rule.function is not None
    ]
    return Cost(
        other_flops=scores * sum(c.other_flops for c in once),
        transcendentals=scores * sum(c.transcendentals for c in once),
    )


def _linear(rows: int, c_in: int, c_out: int, bias: bool) -> Cost:
    return Cost(macs=rows * c_in * c_out, zero_accumulators=0 if bias else rows * c_out)


def _self_attention(shape: tuple[int, ...], l_k: int, embed: int, heads: int, bias: bool, mask: bool) -> Cost:
    """In-projections of query, key and value, attention, out-projection. `shape` is (n, l_q, embed)."""
    n, l_q = shape[:2]
    rows_q, rows_k, d = n * l_q, n * l_k, embed // heads
    projections = _linear(rows_q, embed, 2 * embed, bias) + _linear(rows_k, embed, 2 * embed, bias)
    return projections + scores_cost(n * heads, l_q, l_k, d, d, bias=mask, dropout=False, scaled=True)


def multi_head_attention(op: OpRecord) -> Cost:
    """query (n, l_q, embed), key and value (n, l_k, embed): the fast path of `nn.MultiheadAttention`."""
    query, key = op.args[:2]
    mask = argument(op, "mask")
    bias = argument(op, "qkv_bias") is not None
    floating = mask is not None and mask.is_floating
    return _self_attention(query.shape, key.shape[1], op.args[3], op.args[4], bias, floating)


def encoder_layer(op: OpRecord) -> Cost:
    """src (n, l, embed): the fast path of `nn.TransformerEncoderLayer`: attention, MLP, two norms, two additions."""
    src, embed, heads, mask = op.args[0], op.args[1], op.args[2], argument(op, "mask")
    rows, hidden = src.numel // embed, argument(op, "ffn_weight_1").shape[0]
    floating = mask is not None and mask.is_floating
    attended = _self_attention(src.shape, src.shape[1], embed, heads, argument(op, "qkv_bias") is not None, floating)
    mlp = _linear(rows, embed, hidden, True) + _linear(rows, hidden, embed, True)
    norm_flops, roots = formulas.layer_norm(rows, embed, True, True)
    gelu = bool(argument(op, "use_gelu"))
    activation = Cost(other_flops=rows * hidden * (5 if gelu else 1), transcendentals=rows * hidden if gelu else 0)
    around = Cost(other_flops=2 * norm_flops + 2 * src.numel, transcendentals=2 * roots)
    return attended + mlp + activation + around


_RULE = Rule("attention", attention)
_FORWARD = Rule("attention", flash_forward)

RULES: Mapping[OpKey, Rule] = {
    torch.ops.fxcost.scaled_dot_product_attention: _RULE,
    aten._scaled_dot_product_flash_attention: _RULE,
    aten._scaled_dot_product_efficient_attention: _RULE,
    aten._scaled_dot_product_cudnn_attention: _RULE,
    aten._scaled_dot_product_flash_attention_for_cpu: _RULE,
    aten._scaled_dot_product_fused_attention_overrideable: _RULE,
    **optional("_scaled_dot_product_attention_math_for_mps", _RULE),
    aten._flash_attention_forward: _FORWARD,
    aten._efficient_attention_forward: _FORWARD,
    **optional("_cudnn_attention_forward", _RULE),
    aten._native_multi_head_attention: Rule("attention", multi_head_attention),
    aten._transformer_encoder_layer_fwd: Rule("attention", encoder_layer),
    **higher_order("flex_attention", Rule("attention", flex_attention, nested=True)),
}

LATE_RULES: Mapping[str, Rule] = {"torch_attn::_varlen_attn": _FORWARD}
"""By qualified name, as `torch.nn.attention.varlen` may not be imported (yet)."""
