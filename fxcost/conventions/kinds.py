"""Module classes by kind, and shape helpers, that several tools' tables share."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod
from typing import Any

import torch
from torch import nn

from ..records.recording import Operator, OpRecord, TensorSpec
from ..rules.matmul import addmm, baddbmm, bmm, mm

aten = torch.ops.aten

CONV = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
BATCH_NORM = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
INSTANCE_NORM = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
AVG_POOL = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
MAX_POOL = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
ADAPTIVE_AVG = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)
ADAPTIVE_MAX = (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d)
RNN = (nn.RNN, nn.GRU, nn.LSTM)
RNN_CELL = (nn.RNNCell, nn.GRUCell, nn.LSTMCell)
POOL_FUNCTIONS = tuple(
    f"F.{kind}_pool{d}d" for kind in ("avg", "max", "adaptive_avg", "adaptive_max") for d in (1, 2, 3)
)
CELL_FUNCTIONS = ("torch.lstm_cell", "torch.gru_cell", "torch.rnn_tanh_cell", "torch.rnn_relu_cell")


def is_leaf(module: nn.Module) -> bool:
    """True for modules without children."""
    return not any(True for _ in module.children())


def repeated(value: Any, times: int) -> tuple[int, ...]:
    """A size given once or for each dimension, as a tuple."""
    return tuple(value) if isinstance(value, (tuple, list)) else (value,) * times


def n(spec: Any) -> int:
    """Number of elements; 1 for what is no tensor."""
    return spec.numel if isinstance(spec, TensorSpec) else 1


def quotient_product(sizes: Iterable[int], by: Iterable[int]) -> int:
    """The product of floored quotients."""
    return prod(a // b for a, b in zip(sizes, by, strict=True))


_PRODUCTS: dict[Any, Any] = {aten.mm: mm, aten.addmm: addmm, aten.bmm: bmm, aten.baddbmm: baddbmm}


def packet(op: Operator) -> Any:
    """The operator without its overload: `torch.ops.aten.mm`."""
    return getattr(op, "overloadpacket", None)


def product_macs(op: OpRecord) -> int:
    """MACs of mm, addmm, bmm and baddbmm."""
    macs: int = _PRODUCTS[packet(op.op)](op).macs
    return macs
