"""Formulas that were registered with PyTorch's own `torch.utils.flop_counter.register_flop_formula`.

They price operators for which there is no rule here: custom operators of a library that registered one for
`FlopCounterMode`. Such a formula gives FLOPs at 2 for each multiply-accumulate; half of them are taken as MACs, and
reports say so. PyTorch's own formulas are never asked, as there are rules for these operators; nor are those of Triton
kernels by themselves, which run inside an operator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, wraps
from itertools import zip_longest
from typing import Any

import torch
from torch.utils import flop_counter

from ..errors import RuleError
from ..records.cost import Cost, OpCost
from ..records.recording import OpRecord, TensorSpec
from .registry import OpKey, Rule

FAMILY = "registered formula"
"""The family of operators that were priced so."""


def registered_formulas() -> dict[OpKey, Rule]:
    """A rule for each operator for which somebody else than PyTorch has registered a formula."""
    keys = (torch._ops.OpOverloadPacket, torch._ops.HigherOrderOperator)
    found = list(flop_counter.flop_registry.items())
    return {key: _rule(f) for key, f in found if isinstance(key, keys) and f.__module__ != flop_counter.__name__}


@lru_cache(maxsize=1024)
def _rule(formula: Callable[..., Any]) -> Rule:
    """The same rule for the same formula, so that tables of rules can be compared."""

    @wraps(formula)
    def rule(op: OpRecord) -> Cost:
        flops = formula(*_given(op), **_named(op), out_val=_result(op))
        whole = int(flops)
        if whole != flops or whole < 0:
            raise RuleError(f"the formula that was registered for {op.op} gives {flops!r} FLOPs, no whole number")
        return Cost(macs=whole // 2, other_flops=whole % 2)

    return Rule(FAMILY, rule)


def _given(op: OpRecord) -> list[Any]:
    """Positional arguments as PyTorch hands them on: tensors on meta, and no defaults at the end."""
    rows = [(value, a) for value, a in _arguments(op) if a is None or not a.kwarg_only]
    while rows and rows[-1][1] is not None and _is_default(*rows[-1]):
        rows.pop()
    return [_on_meta(value) for value, _ in rows]


def _named(op: OpRecord) -> dict[str, Any]:
    """Arguments by keyword only, defaults left out."""
    rows = [(value, a) for value, a in _arguments(op) if a is not None and a.kwarg_only]
    return {a.name: _on_meta(value) for value, a in rows if not _is_default(value, a)}


def _arguments(op: OpRecord) -> Iterator[tuple[Any, Any]]:
    """Values, and what the schema says of each; None for an operator without a schema."""
    schema = getattr(op.op, "_schema", None)
    return zip_longest(op.args, schema.arguments if schema is not None else ())


def _is_default(value: Any, argument: Any) -> bool:
    return bool(argument.has_default_value()) and _plain(value) == _plain(argument.default_value)


def _plain(value: Any) -> Any:
    return tuple(map(_plain, value)) if isinstance(value, (tuple, list)) else value


def _result(op: OpRecord) -> Any:
    """What the operator returned, as its schema has it: a tensor, a list, or a tuple of results."""
    results = [_on_meta(spec) for spec in op.outputs]
    schema: Any = getattr(op.op, "_schema", None)
    returns: Any = schema.returns if schema is not None else ()
    if len(returns) == 1 and len(results) == 1 and "[]" not in str(returns[0].type):
        return results[0]
    return results if len(returns) == 1 else tuple(results)


def _on_meta(value: Any) -> Any:
    """A value with tensors on meta in place of specs."""
    if isinstance(value, TensorSpec):
        stride = value.stride if len(value.stride) == len(value.shape) else None
        if stride is None:
            return torch.empty(value.shape, dtype=value.dtype, device="meta")
        return torch.empty_strided(value.shape, stride, dtype=value.dtype, device="meta")
    if isinstance(value, (tuple, list)):
        return [_on_meta(item) for item in value]
    return value


def formula_assumptions(operations: Iterable[OpCost]) -> Iterator[str]:
    """A sentence for each operator that was priced by a registered formula."""
    for name in dict.fromkeys(str(op.record.op) for op in operations if op.family == FAMILY):
        yield (
            f"{name}: its FLOPs are those of the formula that was registered for it with "
            "torch.utils.flop_counter.register_flop_formula, and its MACs half of them"
        )
