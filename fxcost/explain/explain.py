"""How a number came about: the operators that ran, the rule of each, its formula, the numbers put in, the source.

A rule is asked once more, with sizes that remember what is done to them (`derivation.py`). So an explanation can't say
anything else than what was counted: the last number of each derivation is the number in the report.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch

from ..errors import RuleError
from ..records.cost import Cost, NodeCost, OpCost
from ..records.recording import OpRecord, TensorSpec
from ..rules import default_registry
from ..rules.expressions import expression_of
from ..rules.pricing import cost_operation
from ..rules.registry import OpKey, Registry, Rule, RuleFunction
from ..totals.sums import Sums
from .derivation import Traced, derive, function_of
from .explanation import Explanation, Operation, Part

QUANTITIES = tuple(Cost.__dataclass_fields__)
"""The numbers of a cost that are explained, in order."""


def explain(report: Sums, name: str, rules: Mapping[OpKey, RuleFunction | Rule] | None = None) -> Explanation:
    """How the cost of a module or node came about; :meth:`Report.explain` says more."""
    registry = default_registry(rules)
    cost = report.cost_of(name)  # says so if there is no such module or node
    module = report.modules.get(report.canonical(name))
    if module is None:
        (node,) = (node for node in report.nodes if node.name == name)
        return Explanation(
            name=name,
            type_name=f"{node.kind} {node.target}" if node.record.is_call else node.kind,
            is_module=False,
            nodes=(name,),
            inputs=node.inputs,
            outputs=node.outputs,
            cost=cost,
            parts=(),
            operations=_explained(node.operations, registry),
        )
    ran = list(_run_by(report, module.name))
    children = [report.modules[child] for child in module.children]
    return Explanation(
        name=module.name,
        type_name=module.type_name,
        is_module=True,
        nodes=tuple(dict.fromkeys(node.name for node, _ in ran)),
        inputs=ran[0][0].inputs if ran and not children else (),
        outputs=module.outputs,
        cost=cost,
        parts=tuple(Part(child.name, child.type_name, child.cost) for child in children),
        operations=_explained((op for _, op in ran), registry),
    )


def _run_by(report: Sums, module: str) -> Iterator[tuple[NodeCost, OpCost]]:
    """What a module ran itself, outside of its children."""
    for node in report.nodes:
        for op in node.operations:
            scope = op.record.scope
            if report.canonical(f"{node.module}.{scope}".strip(".") if scope else node.module) == module:
                yield node, op


def _explained(operations: Any, registry: Registry) -> tuple[Operation, ...]:
    """Each operation that ran, alike ones together."""
    runs: dict[object, list[OpCost]] = {}
    for op in operations:
        record = op.record
        shapes = tuple(replace(spec, storage=-1, offset=0) for spec in record.inputs)
        key = (record.op, shapes, str(_plain(record.args)), op.cost)
        runs.setdefault(key, []).append(op)
    return tuple(explain_operation(alike[0], len(alike), registry) for alike in runs.values())


def explained(op: OpCost) -> Operation | None:
    """How the cost of an operation came about; None where its rule is not to be had any more.

    That is so for an operator without a rule, and for one that was priced by `analyze(…, rules=…)`.
    """
    try:
        return explain_operation(op, 1, default_registry())
    except RuleError:
        return None


def explain_operation(op: OpCost, times: int, registry: Registry) -> Operation:
    """One operation, and how each of its numbers came about.

    Raises:
        RuleError: the rules give another number than the operation has.
    """
    record, rule = op.record, registry.find(op.record.op)
    if not op.is_costed:
        rule = None
    named = dict(_arguments(record))
    cost = _priced(op, named, registry)
    terms = [derive(name, getattr(cost, name)) for name in QUANTITIES if getattr(cost, name)]
    function = rule.function if rule is not None else None
    return Operation(
        record=record,
        times=times,
        cost=op.cost,
        family=op.family,
        reason=op.reason,
        rule=function_of(function) if function is not None else None,
        expression=expression_of(record.op) if op.is_costed else "",
        arguments=tuple((name, _shown(value)) for name, value in named.items()),
        terms=tuple(terms),
    )


def _priced(op: OpCost, named: Mapping[str, Any], registry: Registry) -> Cost:
    """The cost, made of numbers that remember how they came about.

    Raises:
        RuleError: the rules give another number than the report has.
    """
    record = op.record
    results = sum(spec is not None for spec in record.outputs)
    outputs = tuple(_traced(f"outputs[{i}]" if results > 1 else "output", s) for i, s in enumerate(record.outputs))
    args = tuple(_traced(name, value) for name, value in named.items())
    try:
        cost = cost_operation(replace(record, args=args, outputs=outputs), registry).cost
    except RuleError:  # a rule that insists on plain ints
        cost = cost_operation(record, registry).cost
    if cost != op.cost:
        raise RuleError(
            f"the rules give {record.op} another cost than this report has; if it was analysed with rules=…, "
            "or before a rule was registered, give explain() the same rules"
        )
    return cost


def _arguments(record: OpRecord) -> Iterator[tuple[str, Any]]:
    """Names and values of an operator's arguments."""
    schema = getattr(record.op, "_schema", None)
    names = [argument.name for argument in schema.arguments] if schema is not None else []
    for i, value in enumerate(record.args):
        yield (names[i] if i < len(names) else f"args[{i}]"), value


def _traced(name: str, value: Any) -> Any:
    """An argument with sizes and whole numbers that remember that they are of this argument."""
    if isinstance(value, TensorSpec):
        shape = tuple(Traced(n, f"{name}[{i}]") for i, n in enumerate(value.shape))
        stored = None if value.stored is None else Traced(value.stored, f"{name}.stored")
        return replace(value, shape=shape, stored=stored)
    if isinstance(value, (tuple, list)):
        return type(value)(_traced(f"{name}[{i}]", item) for i, item in enumerate(value))
    if isinstance(value, int) and not isinstance(value, bool):
        return Traced(value, name)
    return value


def _plain(value: Any) -> Any:
    """Arguments without storages: what makes two runs alike."""
    if isinstance(value, TensorSpec):
        return str(value)
    if isinstance(value, (tuple, list)):
        return tuple(map(_plain, value))
    return value


def _shown(value: Any) -> str:
    """An argument as text."""
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(_shown, value))}]"
    return str(value).removeprefix("torch.") if isinstance(value, torch.dtype) else str(value)
