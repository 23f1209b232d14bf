"""The reference expressions of operators that are counted from a table, for those who explain a count."""

from __future__ import annotations

import torch

from ..records.recording import Operator
from . import loss, pointwise
from .registry import functional_variant


def expression_of(op: Operator) -> str:
    """What an operator computes for each element, as its table says; "" for one that is in no table.

    >>> expression_of(torch.ops.aten.silu_.default)
    'x * (1 / (1 + exp(-x)))'
    """
    if not isinstance(op, torch._ops.OpOverload):
        return ""
    for key in (op, op.overloadpacket, functional_variant(op)):
        for table in (pointwise.TABLE, loss.TABLE):
            if key in table:
                return table[key][2]
    return ""
