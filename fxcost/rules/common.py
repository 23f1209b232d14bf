"""What rule functions share: reading arguments by name, deciding what is floating-point, and traffic.

No rules here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from math import prod
from typing import Any

import torch

from ..records.cost import Cost
from ..records.recording import Operator, OpRecord, TensorSpec, written_arguments
from .registry import OpKey, Rule


def optional(name: str, rule: Rule) -> dict[OpKey, Rule]:
    """`{operator: rule}` for an operator of namespace aten (or `ns::name`), `{}` if this PyTorch doesn't have it."""
    namespace, _, operator = name.rpartition("::")
    packet = getattr(getattr(torch.ops, namespace or "aten"), operator, None)
    return {} if packet is None else {packet: rule}


def higher_order(name: str, rule: Rule) -> dict[OpKey, Rule]:
    """`{operator: rule}` for a higher-order operator, `{}` if this PyTorch doesn't have it (yet)."""
    operator = getattr(torch.ops.higher_order, name, None)
    return {} if operator is None else {operator: rule}


@lru_cache(maxsize=4096)
def _position(op: Operator, name: str) -> int | None:
    schema = getattr(op, "_schema", None)
    names = [a.name for a in schema.arguments] if schema is not None else []
    return names.index(name) if name in names else None


def argument(op: OpRecord, name: str, default: Any = None) -> Any:
    """The argument called `name` in the operator's schema, `default` if the overload has none."""
    i = _position(op.op, name)
    return default if i is None or i >= len(op.args) else op.args[i]


def in_place(op: OpRecord) -> bool:
    """True if the operator writes its first argument."""
    return 0 in written_arguments(op.op)


def is_floating(op: OpRecord) -> bool:
    """True if the computation is in floating point: an input or the result is."""
    return any(s.is_floating for s in op.inputs) or any(s is not None and s.is_floating for s in op.outputs)


def arithmetic(op: OpRecord, flops: int, transcendentals: int = 0) -> Cost:
    """Floating-point operations; none if the operator computes on integers or booleans. Complex ones count double."""
    if not is_floating(op):
        return Cost()
    times = 2 if any(s.dtype.is_complex for s in op.inputs) else 1
    return Cost(other_flops=times * flops, transcendentals=times * transcendentals)


def contraction(op: OpRecord, macs: int, zero_accumulators: int = 0) -> Cost:
    """Multiply-accumulates of a contraction. A complex one is four real ones into two accumulators."""
    is_complex = any(s.dtype.is_complex for s in op.inputs)
    return Cost(
        macs=4 * macs if is_complex else macs,
        zero_accumulators=2 * zero_accumulators if is_complex else zero_accumulators,
    )


def bytes_of(*specs: TensorSpec | None) -> int:
    """Bytes that distinct tensors hold; `None` holds none."""
    return sum(s.stored_bytes for s in dict.fromkeys(specs) if s is not None)


def bytes_written(op: OpRecord) -> int:
    """Bytes of all tensors that the operator produced."""
    return sum(s.stored_bytes for s in op.written)


def with_bytes(op: OpRecord, cost: Cost, read: int, written: int | None = None) -> Cost:
    """`cost` with its traffic named: `read` bytes, and `written` bytes (by default those of all results)."""
    return replace(
        cost, bytes_read=read, bytes_written=bytes_written(op) if written is None else written, activations=0
    )


def axes(rank: int, dims: int | Sequence[int] | None) -> tuple[int, ...]:
    """Dimensions as non-negative numbers; `None` and `()` mean all of them."""
    if dims is None or (not isinstance(dims, int) and len(dims) == 0):
        return tuple(range(rank))
    numbers: Iterable[int] = (dims,) if isinstance(dims, int) else dims
    return tuple(d % rank for d in numbers) if rank else ()


def rows_and_length(shape: Sequence[int], dims: int | Sequence[int] | None) -> tuple[int, int]:
    """How many rows are reduced, and how many elements each has, if `dims` (all if `None`) of `shape` are reduced."""
    reduced = set(axes(len(shape), dims))
    n = prod(shape[d] for d in reduced)
    return prod(s for d, s in enumerate(shape) if d not in reduced), n
