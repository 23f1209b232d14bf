"""The backward pass: gradients of convolutions, attention, recurrent layers, normalizations and softmax.

A gradient that nobody needs is not computed and costs nothing: `output_mask` and its like say which are. Each gradient
of a convolution that is needed costs the multiply-accumulates of the forward pass, groups included: every weight meets
every place once more.

Elementwise gradients are in backward_pointwise.py, those of pools, resampling and lookups in backward_places.py, those
of torchvision's operators in vision.py; matrix products, sums and copies are the operators that they are in
the forward pass. Attention is counted as its definition has it, four products; kernels that keep no scores compute the
first product of the forward pass once more, which is theirs to know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod

import torch

from ..meta import unit_gradients as _unit_gradients  # noqa: F401  (defines torch.ops.fxcost.*_backward)
from ..records.cost import Cost
from ..records.recording import OpRecord, TensorSpec, tensor_specs
from .attention import skipped_pairs
from .common import argument, arithmetic, contraction, higher_order, optional, rows_and_length
from .formulas import gradient
from .registry import OpKey, Rule

aten = torch.ops.aten

# ------------------------------------------------------------------------------------------------------ contractions


def convolution(op: OpRecord) -> Cost:
    """grad (n, c_out, *out), input (n, c_in, *spatial), weight → gradients of input, weight and bias.

    Source: the input's gradient is a transposed convolution with the same weights, the weight's is the sum over all
    places of grad × input, which are as many products.
    """
    grad, x, weight = op.args[:3]
    of_x, of_w, of_b = argument(op, "output_mask")
    batched = len(x.shape) == len(weight.shape)
    n = x.shape[0] if batched else 1
    places = (x if argument(op, "transposed", False) else grad).shape[1 + batched :]
    macs = n * prod(places) * weight.numel
    fresh = (x.numel if of_x else 0) + (weight.numel if of_w else 0)
    channels = grad.shape[1 if batched else 0]
    return contraction(op, macs * (of_x + of_w), fresh) + arithmetic(op, grad.numel - channels if of_b else 0)


def linear(op: OpRecord) -> Cost:
    """(input, grad, weight, output_mask): grad · W, gradᵀ · input, and the sum of grad."""
    x, grad, weight = op.args[:3]
    of_x, of_w, of_b = argument(op, "output_mask")
    rows = grad.numel // max(weight.shape[0], 1)
    fresh = (x.numel if of_x else 0) + (weight.numel if of_w else 0)
    return contraction(op, rows * weight.numel * (of_x + of_w), fresh) + arithmetic(
        op, grad.numel - weight.shape[0] if of_b else 0
    )


def attention_gradient(op: OpRecord, batch: int, l_q: int, l_k: int, d: int, d_v: int, needed: Sequence[bool]) -> Cost:
    """dV = Pᵀ dO, dP = dO Vᵀ, dS = P · (dP − Σ dO·O), dQ = dS K, dK = dSᵀ Q, as far as they are needed.

    `needed` is for Q, K, V and the mask; the mask's gradient is dS summed over what it was broadcast to. A scale that
    is not one is a product for each score.
    """
    of_q, of_k, of_v, of_mask = needed
    through = of_q or of_k or of_mask
    scores, rows = batch * l_q * l_k, batch * l_q
    scaled, dropped = argument(op, "scale") != 1, bool(argument(op, "dropout_p", 0.0))
    macs = scores * (d_v * (of_v + through) + d * (of_q + of_k))
    flops = scores * 2 * dropped
    if through:
        flops += rows * max(2 * d_v - 1, 0) + scores * (2 + (scaled and (of_q or of_k)))
    fresh = (scores if through else 0) + rows * d * of_q + batch * l_k * (d * of_k + d_v * of_v)
    return Cost(macs=macs, other_flops=flops, zero_accumulators=fresh)


def attention(op: OpRecord) -> Cost:
    """(grad, query (*, l_q, d), key (*, l_k, d), value (*, l_k, d_v), …): fxcost's unit and PyTorch's SDPA kernels."""
    grad, query, key, value = op.args[:4]
    mask = argument(op, "attn_mask", argument(op, "attn_bias"))
    default = (True, True, True, False)
    needed = argument(op, "needed", argument(op, "grad_input_mask", default)) or default
    of_mask = needed[3] and mask is not None
    l_q, l_k, d, d_v = query.shape[-2], key.shape[-2], query.shape[-1], value.shape[-1]
    batch = prod(grad.shape[:-2])
    cost = attention_gradient(op, batch, l_q, l_k, d, d_v, (*needed[:3], of_mask))
    skipped = skipped_pairs(op, batch, l_q, l_k)
    if not skipped:
        return cost
    of_q, of_k, of_v = needed[:3]
    through = of_q or of_k or of_mask
    each = 2 * bool(argument(op, "dropout_p", 0.0))
    if through:
        each += 2 + (argument(op, "scale") != 1 and (of_q or of_k))
    return replace(
        cost, skipped_macs=skipped * (d_v * (of_v + through) + d * (of_q + of_k)), skipped_flops=skipped * each
    )


def flash_attention(op: OpRecord) -> Cost:
    """(grad, query (batch, l_q, heads, d), …), or (tokens, heads, d) with sequence starts: as in the forward pass."""
    _, query, key, value = op.args[:4]
    starts = argument(op, "cum_seq_q", argument(op, "cu_seqlens_q"))
    if isinstance(starts, TensorSpec) and len(query.shape) == 3:
        batch = starts.shape[0] - 1
        l_q, l_k = (
            argument(op, "max_q", argument(op, "max_seqlen_q")),
            argument(op, "max_k", argument(op, "max_seqlen_k")),
        )
    else:
        batch, l_q, l_k = query.shape[0], query.shape[1], key.shape[1]
    needed = (True, True, True, bool(argument(op, "bias_requires_grad", False)))
    return attention_gradient(op, batch * query.shape[-2], l_q, l_k, query.shape[-1], value.shape[-1], needed)


def flex_attention(op: OpRecord) -> Cost:
    """(grad, query, key, value, out, logsumexp, captured, scale, needed): dense, without what `score_mod` computes.

    Each score's gradient is added to that of each tensor that `score_mod` captures.
    """
    grad, _query, key = op.args[:3]
    captured = argument(op, "captured")
    summed = len(captured) * prod(grad.shape[:-1]) * key.shape[-2]
    return attention(op) + arithmetic(op, summed)


def higher_order_flex_attention(op: OpRecord) -> Cost:
    """(query, key, value, out, logsumexp, grad, …, scale at 10, …): all three gradients."""
    query, key, value = op.args[:3]
    sizes = query.shape[-2], key.shape[-2], query.shape[-1], value.shape[-1]
    return attention_gradient(op, prod(query.shape[:-2]), *sizes, (True, True, True, False))


_CELL = {"lstm": 23, "gru": 18, "rnn_tanh": 4, "rnn_relu": 2}
"""Operations for each hidden unit and step. LSTM: dh joins (1), do (1), dc through o·tanh(c) (5), di, df, dg and the
next dc (4), three sigmoid' (9) and a tanh' (3). GRU: dh joins (2), dn and dz (4), the next dh (1), tanh' (3), r's
product and that of its gate (2), two sigmoid' (6). Elman: join (1) and tanh' (3) or a comparison (1)."""


def rnn(op: OpRecord) -> Cost:
    """Every weight matrix meets every step twice: in its own gradient, and in that of what it multiplied.

    The input's gradient is left out where it is not needed, and so is the initial state's: one step less. The second
    direction's part of an input's gradient is accumulated onto the first one's.
    """
    x, hx, params, mode = op.args[1], op.args[3], op.args[4], argument(op, "mode")
    needed = argument(op, "needed")
    of_x, of_states, of_params = needed[0], any(needed[1 : 1 + len(hx)]), needed[1 + len(hx) :]
    rows, batch = (x.numel // x.shape[-1] if x.shape[-1] else 0), (hx[0].shape[1] if len(hx[0].shape) == 3 else 1)
    directions = 2 if argument(op, "bidirectional") else 1
    matrices = [(p.shape, wanted) for p, wanted in zip(params, of_params, strict=True) if len(p.shape) == 2]
    projected = len(matrices) > 2 and matrices[2][0][0] != matrices[0][0][0]
    per_cell = 3 if projected else 2
    macs = flops = fresh = 0
    for i, (shape, wanted) in enumerate(matrices):
        cell, role = divmod(i, per_cell)
        back = rows if role == 2 or (role == 0 and (cell >= directions or of_x)) else 0
        if role == 1:
            back = rows if of_states else rows - batch
        macs += prod(shape) * (rows * wanted + back)
        onto_first = role == 0 and cell % directions
        fresh += prod(shape) * wanted + (0 if onto_first else back * shape[1])
        if role == 0:
            hidden = shape[0] // {"lstm": 4, "gru": 3}.get(mode, 1)
            flops += rows * hidden * _CELL[mode]
    biases = sum(p.numel for p, wanted in zip(params, of_params, strict=True) if len(p.shape) == 1 and wanted)
    return Cost(macs=macs, other_flops=flops + biases * max(rows - 1, 0), zero_accumulators=fresh)


def rnn_kernel(op: OpRecord) -> Cost:
    """mkldnn's and cuDNN's kernels: both gradients of all matrices, over all steps."""
    x = op.args[0]
    rows = x.numel // x.shape[-1] if x.shape[-1] else 0
    matrices = [s for s in tensor_specs(op.args[1:5]) if len(s.shape) == 2]
    return Cost(macs=2 * rows * sum(s.numel for s in matrices))


def lstm_cell(op: OpRecord) -> Cost:
    """Gradients of the cell's equations; both products are operators of their own."""
    return arithmetic(op, _CELL["lstm"] * argument(op, "cx").numel)


def gru_cell(op: OpRecord) -> Cost:
    """As `lstm_cell`."""
    return arithmetic(op, _CELL["gru"] * argument(op, "grad_hy").numel)


# ---------------------------------------------------------------------------------------- normalization and softmax


def _mask(op: OpRecord, count: int) -> tuple[bool, ...]:
    mask = argument(op, "output_mask")
    return tuple(mask) if mask is not None else (True,) * count


def batch_norm(op: OpRecord) -> Cost:
    """(grad, input (n, c, *spatial), weight, …): `train` says whose statistics normalized."""
    x, weight = argument(op, "input"), argument(op, "weight")
    c = x.shape[1] if len(x.shape) > 1 else 1
    training = bool(argument(op, "train", argument(op, "update", True)))
    flops, roots = gradient.batch_norm_backward(c, x.numel // max(c, 1), training, weight is not None, *_mask(op, 3))
    return arithmetic(op, flops, roots)


def layer_norm(op: OpRecord) -> Cost:
    """(grad, input (*, *normalized_shape), …): rows over the last dimensions, one weight for each of their elements."""
    x, n = argument(op, "input"), prod(argument(op, "normalized_shape"))
    scaled = argument(op, "weight") is not None
    return arithmetic(op, *gradient.layer_norm_backward(x.numel // max(n, 1), n, n, scaled, *_mask(op, 3)))


def group_norm(op: OpRecord) -> Cost:
    """(grad, input (n, c, *spatial), …): rows are groups, one weight for each channel."""
    n, c, places, groups = (argument(op, name) for name in ("N", "C", "HxW", "group"))
    scaled = argument(op, "weight") is not None
    return arithmetic(op, *gradient.layer_norm_backward(n * groups, c // groups * places, c, scaled, *_mask(op, 3)))


def rms_norm(op: OpRecord) -> Cost:
    """(grad, input (*, *normalized_shape), …)."""
    x, n = argument(op, "input"), prod(argument(op, "normalized_shape"))
    scaled = argument(op, "weight") is not None
    return arithmetic(op, *gradient.rms_norm_backward(x.numel // max(n, 1), n, scaled, *_mask(op, 2)))


def weight_norm(op: OpRecord) -> Cost:
    """v and g of v · (g / ‖v‖): dg = (Σ dw·v) / ‖v‖, dv = (g / ‖v‖) · (dw − v · (dg / ‖v‖)), sums over each slice."""
    v, g = argument(op, "saved_v"), argument(op, "saved_g")
    return arithmetic(op, v.numel + (v.numel - g.numel) + 3 * g.numel + 3 * v.numel)


def softmax(op: OpRecord) -> Cost:
    """(grad, result, dim)."""
    return arithmetic(op, *gradient.softmax_backward(*rows_and_length(op.args[0].shape, argument(op, "dim"))))


def log_softmax(op: OpRecord) -> Cost:
    """(grad, result, dim)."""
    return arithmetic(op, *gradient.log_softmax_backward(*rows_and_length(op.args[0].shape, argument(op, "dim"))))


_CONVOLUTION = Rule("convolution", convolution)
_ATTENTION = Rule("attention", attention)
_FLASH = Rule("attention", flash_attention)
_BATCH = Rule("normalization", batch_norm)

RULES: Mapping[OpKey, Rule] = {
    aten.convolution_backward: _CONVOLUTION,
    aten.convolution_backward_overrideable: _CONVOLUTION,
    aten._slow_conv2d_backward.output_mask: _CONVOLUTION,
    aten.linear_backward: Rule("matmul", linear),
    aten.mkldnn_linear_backward: Rule("matmul", linear),
    torch.ops.fxcost.scaled_dot_product_attention_backward: _ATTENTION,
    torch.ops.fxcost.flex_attention_backward: Rule("attention", flex_attention),
    **higher_order("flex_attention_backward", Rule("attention", higher_order_flex_attention)),
    aten._scaled_dot_product_flash_attention_backward: _ATTENTION,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: _ATTENTION,
    aten._scaled_dot_product_efficient_attention_backward: _ATTENTION,
    aten._scaled_dot_product_cudnn_attention_backward: _ATTENTION,
    aten._scaled_dot_product_fused_attention_overrideable_backward: _ATTENTION,
    aten._flash_attention_backward: _FLASH,
    aten._efficient_attention_backward: _FLASH,
    **optional("_cudnn_attention_backward", _ATTENTION),
    torch.ops.fxcost.rnn_backward: Rule("recurrent", rnn),
    aten.mkldnn_rnn_layer_backward: Rule("recurrent", rnn_kernel),
    aten._cudnn_rnn_backward: Rule("recurrent", rnn_kernel),
    aten._thnn_fused_lstm_cell_backward_impl: Rule("recurrent", lstm_cell),
    aten._thnn_fused_gru_cell_backward: Rule("recurrent", gru_cell),
    aten.native_batch_norm_backward: _BATCH,
    aten.cudnn_batch_norm_backward: _BATCH,
    aten.miopen_batch_norm_backward: _BATCH,
    aten.batch_norm_backward: _BATCH,
    aten.native_layer_norm_backward: Rule("normalization", layer_norm),
    aten.native_group_norm_backward: Rule("normalization", group_norm),
    **optional("_fused_rms_norm_backward", Rule("normalization", rms_norm)),
    aten._weight_norm_interface_backward: Rule("normalization", weight_norm),
    aten._softmax_backward_data: Rule("reduction", softmax),
    aten._log_softmax_backward_data: Rule("reduction", log_softmax),
    aten._masked_softmax_backward: Rule("reduction", softmax),
}
