"""Arithmetic of recurrent cells beside their matrix products, for `units` = rows × hidden size.

Both products of a cell start at their own bias (so a bias costs nothing extra), and one addition joins them.
A sigmoid is 1 / (1 + exp(−x)): four operations, one of them transcendental.
"""

from __future__ import annotations

from .reduction import Pair


def lstm_cell(units: int) -> Pair:
    """Four joins, three sigmoids, two tanh; f·c + i·g is three operations, o·tanh(c) one.

    Source: cell equations in torch.nn.LSTM.

    >>> lstm_cell(1)
    (22, 5)
    """
    return 22 * units, 5 * units


def gru_cell(units: int) -> Pair:
    """Two joined sigmoids, tanh(a + r·b) is three operations, (1 − z)·n + z·h four.

    Source: cell equations in torch.nn.GRU.

    >>> gru_cell(1)
    (17, 3)
    """
    return 17 * units, 3 * units


def rnn_cell(units: int, tanh: bool) -> Pair:
    """One join and the nonlinearity, tanh or max(x, 0).

    Source: cell equation in torch.nn.RNN.

    >>> rnn_cell(1, tanh=True), rnn_cell(1, tanh=False)
    ((2, 1), (2, 0))
    """
    return 2 * units, units if tanh else 0
