"""Recurrent layers as ptflops, calflops and DeepSpeed hook them: one formula with two weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from .kinds import RNN
from .seen import ModuleSeen

_ELEMENTWISE = {nn.RNN: 1, nn.RNNCell: 1, nn.GRU: 7, nn.GRUCell: 7, nn.LSTM: 10, nn.LSTMCell: 10}


def hooked(per_weight: int, per_row: int) -> Callable[[ModuleSeen], int]:
    """Per step and layer: `per_weight` per weight, minus `per_row` per row of a weight, biases, element-wise work.

    One direction, doubled if bidirectional (so later layers of bidirectional networks are counted as they are for
    the first direction); times the first two dimensions of the input, or the batch of a cell. Projections are ignored.
    """

    def products(w_ih: Any, w_hh: Any) -> int:
        rows = w_ih.shape[0]
        return per_weight * (w_ih.numel() + w_hh.numel()) - 2 * per_row * rows  # type: ignore[no-any-return]

    def count(call: ModuleSeen) -> int:
        m: Any = call.module
        elementwise = _ELEMENTWISE[type(m)] * m.hidden_size
        if type(m) not in RNN:
            biases = 2 * m.bias_ih.shape[0] if m.bias else 0
            return (products(m.weight_ih, m.weight_hh) + elementwise + biases) * call.x.shape[0]  # type: ignore[no-any-return]
        step = 0
        for i in range(m.num_layers):
            step += products(getattr(m, f"weight_ih_l{i}"), getattr(m, f"weight_hh_l{i}")) + elementwise
            step += 2 * getattr(m, f"bias_ih_l{i}").shape[0] if m.bias else 0
        return step * call.x.shape[0] * call.x.shape[1] * (2 if m.bidirectional else 1)

    return count
