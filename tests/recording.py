"""What a torch callable runs on meta tensors, as operator records, and what that costs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from fxcost.meta.recorder import OpRecorder
from fxcost.meta.segments import Segment
from fxcost.meta.storages import Storages
from fxcost.meta.units import whole_units
from fxcost.records.cost import Cost, OpCost
from fxcost.records.recording import Operator, OpRecord, TensorSpec
from fxcost.rules import default_registry
from fxcost.rules.pricing import cost_operation


def on_meta(value: Any) -> Any:
    """The same nest with meta tensors of the same shapes, strides and dtypes."""
    if isinstance(value, torch.Tensor):
        return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")
    if isinstance(value, torch.nn.Module):
        return value.to("meta")
    if isinstance(value, (tuple, list)):
        return type(value)(on_meta(v) for v in value)
    if isinstance(value, dict):
        return {k: on_meta(v) for k, v in value.items()}
    return value


def record(call: Callable[..., Any], *args: Any, **kwargs: Any) -> list[OpRecord]:
    """The operators that `call` runs, in order."""
    args, kwargs = on_meta(args), on_meta(kwargs)
    recorder = OpRecorder(Storages())
    recorder.segment = Segment()
    with torch.no_grad(), whole_units(), recorder:
        call(*args, **kwargs)
    return recorder.segment.operations


def operations(call: Callable[..., Any], *args: Any, **kwargs: Any) -> list[OpCost]:
    """The same, priced by the default registry; every operator must have a rule."""
    registry = default_registry()
    priced = [cost_operation(op, registry) for op in record(call, *args, **kwargs)]
    assert [str(op.record.op) for op in priced if not op.is_costed] == []
    return priced


def price(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Cost:
    """What `call` costs in all."""
    return Cost.total(op.cost for op in operations(call, *args, **kwargs))


def described(op: Operator, *args: Any, outputs: Any = (), **kwargs: Any) -> OpRecord:
    """The record of an operator that can't run here (no meta kernel, another device): its outputs are given."""
    numbers: dict[int, int] = {}

    def spec(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            number = numbers.setdefault(value.untyped_storage()._cdata, len(numbers))
            return TensorSpec(tuple(value.shape), value.dtype, value.stride(), value.storage_offset(), number)
        return tuple(spec(v) for v in value) if isinstance(value, (tuple, list)) else value

    rest = op._schema.arguments[len(args) :]
    values = [*args, *(kwargs.get(a.name, a.default_value) for a in rest)]
    outputs = (outputs,) if isinstance(outputs, torch.Tensor) else outputs
    return OpRecord(op, spec(values), spec(outputs))


def price_of(op: Operator, *args: Any, outputs: Any = (), **kwargs: Any) -> Cost:
    """What such an operator costs."""
    priced = cost_operation(described(op, *args, outputs=outputs, **kwargs), default_registry())
    assert priced.is_costed
    return priced.cost
