"""Records + registry → costed nodes. The only caller of rules.

A rule says what arithmetic an operator does. The traffic and the activations of an operator follow from its record
alone unless the rule names bytes itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .cost import Cost, NodeCost, OpCost
from .errors import RuleError
from .records import NodeRecord, OpRecord, out_arguments, tensor_specs
from .registry import Registry

_NOTHING = Cost()


def cost_nodes(nodes: Iterable[NodeRecord], registry: Registry) -> tuple[NodeCost, ...]:
    """Price every node. Nodes that share their operations, and operations that are equal, are priced once.

    Raises:
        RuleError: a rule failed on a record; the message names the operator, its shapes and the node.
    """
    priced: dict[int, tuple[tuple[OpCost, ...], Cost]] = {}
    prices: dict[Any, OpCost] = {}
    costed = []
    for node in nodes:
        key = id(node.operations)  # equal layers share one tuple, which the node keeps alive
        if key not in priced:
            try:
                operations = tuple([_priced(op, registry, prices) for op in node.operations])
            except RuleError as error:
                raise RuleError(f"{error} (node {node.name!r} in module {node.module!r})") from error.__cause__
            priced[key] = operations, Cost.total(op.cost for op in operations)
        costed.append(NodeCost(node, *priced[key]))
    return tuple(costed)


def _priced(op: OpRecord, registry: Registry, prices: dict[Any, OpCost]) -> OpCost:
    """The price of an operation, asked of its rule once for equal ones."""
    key = (id(op.op), op.args, op.outputs, *map(type, op.args))  # 1, 1.0 and True are equal; operators live on
    try:
        known = prices.get(key)
    except TypeError:  # an argument that can't be hashed
        return cost_operation(op, registry)
    if known is None:
        known = prices[key] = cost_operation(op, registry)
    return known if known.record is op else OpCost(op, known.cost, known.family, known.reason)


def cost_operation(op: OpRecord, registry: Registry) -> OpCost:
    """Price one operation; an operator without a rule gets its traffic and the family ""."""
    rule = registry.find(op.op)
    if rule is None:
        return OpCost(op, default_traffic(op), "")
    if rule.function is None:
        return OpCost(op, _NOTHING, rule.family, rule.reason)
    try:
        cost = rule.function(op)
    except Exception as error:
        raise RuleError(f"the rule of family {rule.family!r} failed on {op}: {error!r}") from error
    default = default_traffic(op)
    named = cost.bytes_read or cost.bytes_written
    whole = Cost(
        macs=cost.macs,
        other_flops=cost.other_flops,
        transcendentals=cost.transcendentals,
        zero_accumulators=cost.zero_accumulators,
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
