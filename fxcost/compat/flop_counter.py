"""`from torch.utils.flop_counter import FlopCounterMode` (torch 2.14): the same class, with no kernel left out.

torch's own counter misses what a CPU runs as one kernel, so that one model has other numbers there than on meta: fused
attention, an LSTM in oneDNN, and PyTorch's fast path for frozen attention and encoder layers. Here these are counted
by fxcost's rules. What runs inside the `with` block runs, as it does there: give the model meta tensors, and nothing
is computed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils import flop_counter

from ..meta.segments import outline
from ..records.recording import Operator, OpRecord, tensor_specs
from ..rules.user import default_registry

_FUSED = (
    *("_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_flash_attention_for_cpu_backward"),
    *(
        "mkldnn_rnn_layer",
        "mkldnn_rnn_layer_backward",
        "_native_multi_head_attention",
        "_transformer_encoder_layer_fwd",
    ),
)
"""Operators of torch.ops.aten that torch's counter has no formula for."""


class FlopCounterMode(flop_counter.FlopCounterMode):
    """Counts 2 per MAC of products, convolutions and attention, by module and operator; on exit prints a table.

    Arguments and methods (`get_total_flops`, `get_flop_counts`, `get_table`) are torch's own.
    """

    def __init__(
        self,
        mods: nn.Module | list[nn.Module] | None = None,
        depth: int = 2,
        display: bool = True,
        custom_mapping: dict[Any, Any] | None = None,
    ) -> None:
        super().__init__(mods, depth, display, {**_formulas(), **(custom_mapping or {})})


def _formulas() -> dict[Any, Callable[..., int]]:
    """A formula for each of the fused operators that this torch has."""
    packets = [getattr(torch.ops.aten, name) for name in _FUSED if hasattr(torch.ops.aten, name)]
    known = [packet for packet in packets if packet not in flop_counter.flop_registry]
    return {packet: _raw(partial(flops, packet.default)) for packet in known}


def _raw(formula: Any) -> Any:
    """Have torch's counter hand over tensors, not their shapes."""
    formula._get_raw = True
    return formula


def flops(op: Operator, *args: Any, out_val: Any = None, **kwargs: Any) -> int:
    """2 per MAC of one run of an operator, by fxcost's rule."""
    schema: Any = getattr(op, "_schema")  # noqa: B009 - not every operator has one, those here do
    given = [*args, *(kwargs.get(a.name, a.default_value) for a in schema.arguments[len(args) :])]
    record = OpRecord(op, outline(given), tuple(tensor_specs(outline(out_val))))
    rule = default_registry().find(op)
    return 2 * rule.function(record).macs if rule is not None and rule.function is not None else 0
