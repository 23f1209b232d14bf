"""Records + registry → costed nodes. The only caller of rules.

A rule says what arithmetic an operator does. The traffic and the activations of an operator follow from its record
alone unless the rule names bytes itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from ..errors import RuleError
from ..records.cost import Cost, NodeCost, OpCost
from ..records.recording import NodeRecord, OpRecord, out_arguments, tensor_specs
from .registry import Registry

_NOTHING = Cost()


def cost_nodes(nodes: Iterable[NodeRecord], registry: Registry) -> tuple[NodeCost, ...]:
    """Price every node. Operations that are equal are priced once.

    Nothing is remembered for the next call: a rule may read what changes in between.

    Raises:
        RuleError: a rule failed on a record; the message names the operator, its shapes and the node.
    """
    known: dict[Any, OpCost] = {}
    return tuple([NodeCost(node, *_price(node, registry, known)) for node in nodes])


_Price = tuple[tuple[OpCost, ...], Cost]


def _price(node: NodeRecord, registry: Registry, known: dict[Any, OpCost]) -> _Price:
    try:
        operations = tuple([_priced(op, registry, known) for op in node.operations])
    except RuleError as error:
        raise RuleError(f"{error} (node {node.name!r} in module {node.module!r})") from error.__cause__
    return operations, Cost.total(op.cost for op in operations)


def _priced(op: OpRecord, registry: Registry, known: dict[Any, OpCost]) -> OpCost:
    """The price of an operation, asked of its rule once for equal ones."""
    key = (id(op.op), op.args, op.outputs, *map(type, op.args))  # 1, 1.0 and True are equal; operators live on
    try:
        found = known.get(key)
    except TypeError:  # an argument that can't be hashed
        return cost_operation(op, registry)
    if found is None:
        found = known[key] = cost_operation(op, registry)
    return found if found.record is op else OpCost(op, found.cost, found.family, found.reason)


def cost_operation(op: OpRecord, registry: Registry) -> OpCost:
    """Price one operation; an operator without a rule gets its traffic and the family ""."""
    rule = registry.find(op.op)
    if rule is None:
        return OpCost(op, default_traffic(op), "")
    if rule.function is None:
        return OpCost(op, _NOTHING, rule.family, rule.reason)
    try:
        cost = rule.function(op, registry) if rule.nested else rule.function(op)
    except Exception as error:
        raise RuleError(f"the rule of family {rule.family!r} failed on {op}: {error!r}") from error
    default = default_traffic(op)
    named = cost.bytes_read or cost.bytes_written
    whole = replace(
        cost,
        bytes_read=cost.bytes_read if named else default.bytes_read,
        bytes_written=cost.bytes_written if named else default.bytes_written,
        activations=cost.activations or default.activations,
    )
    return OpCost(op, whole, rule.family, rule.reason)


def default_traffic(op: OpRecord) -> Cost:
    """Every distinct input read once, every result written once; activations are the elements written.

    An operator that produces no element moves nothing. Memory handed over for results (`out=`) is not read.
    """
    written = op.written
    if written and not any(spec.numel for spec in written):
        return _NOTHING
    outs = out_arguments(op.op)
    given = op.args if not outs else [a for i, a in enumerate(op.args) if i not in outs]
    return Cost(
        bytes_read=sum(spec.stored_bytes for spec in dict.fromkeys(tensor_specs(given))),
        bytes_written=sum(spec.stored_bytes for spec in written),
        activations=sum(spec.numel for spec in written),
    )
