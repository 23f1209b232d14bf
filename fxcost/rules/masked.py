"""Attention that knows its mask (`fxcost::masked_attention`), forward and backward.

`macs` are dense, as of all attention; `masked_macs` are exactly those of the pairs that the mask leaves. Of the keys
those are read that some query sees, once, however many heads share them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod

import torch

from ..meta import masked as _masked  # noqa: F401  (defines torch.ops.fxcost.masked_attention)
from ..records.cost import Cost
from ..records.recording import OpRecord
from . import formulas
from .attention import scores_cost, without
from .backward import attention_gradient
from .common import argument, bytes_of, with_bytes
from .registry import OpKey, Rule


def pairs(op: OpRecord, l_q: int, l_k: int) -> int:
    """Pairs of a query and a key that the operator's mask leaves, for each head."""
    causal, window, chunk = (argument(op, name) for name in ("causal", "window", "chunk"))
    if chunk:
        return formulas.chunked_pairs(argument(op, "start"), l_q, chunk)
    if causal:
        return formulas.cached_pairs(l_q, l_k, window)
    return l_q * l_k


def masked_attention(op: OpRecord) -> Cost:
    """query (n, heads, l_q, d), key (n, groups, l_k, d), value (n, groups, l_k, d_v) → (n, l_q, heads, d_v).

    Where keys come in two parts, `rotated` (n, 1, l_k, d_r), key has d − d_r. A soft cap is a division, a tanh and a
    product for each score; a sink is one more exponential and addition for each query.
    """
    query, key, value, rotated = op.args[:4]
    l_q, l_k, d, d_v = query.shape[-2], key.shape[-2], query.shape[-1], value.shape[-1]
    rows = prod(query.shape[:-1])
    capped, scaled, sinks = bool(argument(op, "softcap")), bool(argument(op, "scaled")), bool(argument(op, "sinks"))
    cost = scores_cost(prod(query.shape[:2]), l_q, l_k, d, d_v, bias=False, dropout=False, scaled=scaled)
    cost += Cost(other_flops=rows * (l_k * 3 * capped + 2 * sinks), transcendentals=rows * (l_k * capped + sinks))
    skipped = prod(query.shape[:2]) * (l_q * l_k - pairs(op, l_q, l_k))
    cost = without(cost, skipped, d + d_v, 5 + scaled + 3 * capped)
    read = query.stored_bytes + bytes_of(key, value, rotated) * keys_seen(op, l_q, l_k) // max(l_k, 1)
    return replace(with_bytes(op, cost, read, op.out.stored_bytes), activations=op.out.numel)


def keys_seen(op: OpRecord, l_q: int, l_k: int) -> int:
    """How many of the keys some query sees."""
    window, chunk = argument(op, "window"), argument(op, "chunk")
    if chunk:
        start = argument(op, "start")
        return min(l_k, int(start) % int(chunk) + l_q)
    return min(l_k, int(window) + l_q - 1) if window else l_k


def backward(op: OpRecord) -> Cost:
    """(grad, query, key, value, rotated, out, logsumexp, …, needed): four products, by attention's definition."""
    _, query, key, value, rotated = op.args[:5]
    needed = argument(op, "needed")
    l_q, l_k, d, d_v = query.shape[-2], key.shape[-2], query.shape[-1], value.shape[-1]
    of_key = needed[1] or (needed[3] and rotated is not None)
    cost = attention_gradient(op, prod(query.shape[:2]), l_q, l_k, d, d_v, (needed[0], of_key, needed[2], False))
    scores = prod(query.shape[:2]) * l_q * l_k
    capped = 3 * bool(argument(op, "softcap"))
    cost += Cost(other_flops=scores * capped)
    per_score = d_v * (needed[2] + (needed[0] or of_key)) + d * (needed[0] + of_key)
    each = (3 if needed[0] or of_key else 0) + capped
    return without(cost, scores - prod(query.shape[:2]) * pairs(op, l_q, l_k), per_score, each)


RULES: Mapping[OpKey, Rule] = {
    torch.ops.fxcost.masked_attention: Rule("attention", masked_attention),
    torch.ops.fxcost.masked_attention_backward: Rule("attention", backward),
}
