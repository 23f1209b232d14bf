"""Recurrent layers and cells: LSTM, GRU, Elman RNN, recorded whole.

Weights count as read once, not once for each step, and the sequences between stacked layers as kept inside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from ..meta import units as _units  # noqa: F401  (defines torch.ops.fxcost)
from ..records.cost import Cost
from ..records.recording import OpRecord, TensorSpec
from . import formulas
from .common import argument, arithmetic, optional
from .registry import OpKey, Rule

aten = torch.ops.aten

_GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}


def cell(mode: str, units: int) -> tuple[int, int]:
    """Operations beside the products for `units` = rows × hidden size, and how many are transcendental."""
    if mode == "lstm":
        return formulas.lstm_cell(units)
    if mode == "gru":
        return formulas.gru_cell(units)
    return formulas.rnn_cell(units, mode == "rnn_tanh")


def layers_cost(rows: int, params: Sequence[TensorSpec], mode: str, biased: bool) -> Cost:
    """All layers and directions over `rows` time steps in all.

    `params` is PyTorch's flat list: w_ih (gates·h, i), w_hh (gates·h, o), the biases, and w_hr (o, h) where an
    LSTM projects its state from h to o. Biases are told by their rank, w_hr by having fewer rows than gates·h.
    """
    matrices = [p.shape for p in params if len(p.shape) == 2]
    projected = len(matrices) > 2 and matrices[2][0] != matrices[0][0]
    per_cell = 3 if projected else 2
    cells = [matrices[i] for i in range(0, len(matrices), per_cell)]
    hidden = sum(shape[0] // _GATES[mode] for shape in cells)
    flops, transcendentals = cell(mode, rows * hidden)
    started_at_zero = 0 if biased else 2 * sum(shape[0] for shape in cells)
    if projected:
        started_at_zero += sum(shape[0] for shape in matrices[2::3])
    return Cost(
        macs=formulas.recurrent_macs(rows, matrices),
        other_flops=flops,
        transcendentals=transcendentals,
        zero_accumulators=rows * started_at_zero,
    )


def rnn(op: OpRecord) -> Cost:
    """input (t, n, i), (n, t, i) or packed (rows, i), hx, params → output, hy, cy, reserve.

    Dropout between layers, in training, is two products on each element that a layer hands on.
    """
    x, _hx, params, mode, biased, layers, dropout = op.args[:7]
    rows = x.numel // x.shape[-1] if x.shape[-1] else 0
    dropped = 2 * (layers - 1) * op.out.numel if dropout else 0
    return layers_cost(rows, params, mode, biased) + Cost(other_flops=dropped)


def mkldnn_layer(op: OpRecord) -> Cost:
    """One layer and direction on CPU: input (t, n, i), w_ih, w_hh, b_ih, b_hh."""
    x, weights, modes = op.args[0], op.args[1:5], ("rnn_relu", "rnn_tanh", "lstm", "gru")
    rows = x.numel // x.shape[-1] if x.shape[-1] else 0
    return layers_cost(rows, weights, modes[argument(op, "mode")], bool(argument(op, "has_biases")))


def cudnn(op: OpRecord) -> Cost:
    """cuDNN's whole network: the flat list of weights; mode 0 relu, 1 tanh, 2 LSTM, 3 GRU."""
    x, weights = op.args[:2]
    mode = ("rnn_relu", "rnn_tanh", "lstm", "gru")[argument(op, "mode")]
    rows = x.numel // x.shape[-1] if x.shape[-1] else 0
    biased = any(len(w.shape) == 1 for w in weights)
    return layers_cost(rows, weights, mode, biased)


def mps_lstm(op: OpRecord) -> Cost:
    """The whole LSTM on Apple's devices: input (t, n, i), hx, the flat list of weights."""
    x, _hx, params, biased = op.args[:4]
    return layers_cost(x.numel // x.shape[-1] if x.shape[-1] else 0, params, "lstm", biased)


def fused_lstm_cell(op: OpRecord) -> Cost:
    """(n, 4h) + (n, 4h) gates, already multiplied: the cell's equations, and two more additions if biases come."""
    gates, _hidden, cx, bias = op.args[:4]
    added = 2 * gates.numel if bias is not None else 0
    flops, transcendentals = formulas.lstm_cell(cx.numel)
    return arithmetic(op, flops + added, transcendentals)


def fused_gru_cell(op: OpRecord) -> Cost:
    """(n, 3h) and (n, 3h) gates, already multiplied: the cell's equations, and two more additions if biases come."""
    gates, _hidden, hx, bias = op.args[:4]
    added = 2 * gates.numel if bias is not None else 0
    flops, transcendentals = formulas.gru_cell(hx.numel)
    return arithmetic(op, flops + added, transcendentals)


RULES: Mapping[OpKey, Rule] = {
    torch.ops.fxcost.rnn: Rule("recurrent", rnn),
    aten.mkldnn_rnn_layer: Rule("recurrent", mkldnn_layer),
    aten._cudnn_rnn: Rule("recurrent", cudnn),
    **optional("miopen_rnn", Rule("recurrent", cudnn)),
    **optional("_lstm_mps", Rule("recurrent", mps_lstm)),
    aten._thnn_fused_lstm_cell: Rule("recurrent", fused_lstm_cell),
    aten._thnn_fused_gru_cell: Rule("recurrent", fused_gru_cell),
}
