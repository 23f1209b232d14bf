"""What an explanation says: every number of every operator, down to the sizes of its tensors.

Here are its data, and how they read as text and as plain data; explain.py finds them out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from textwrap import wrap
from typing import Any

from ..records.cost import Cost
from ..records.plain import cost_dict, spec_dict
from ..records.recording import OpRecord, TensorSpec
from ..text import units
from ..text.paper import at_most
from ..text.words import printable
from .derivation import Function, Term

SCHEMA = "fxcost.explanation/1"
"""Name and version of the layout of :func:`to_dict`."""
MOST_OPERATIONS = 20
"""Operations that a text explains; of the others it only says how many there are."""
WIDTH = 110
"""Columns of a text."""
HEADINGS = {
    "macs": "MACs",
    "other_flops": "other FLOPs",
    "transcendentals": "transcendentals, among the other FLOPs",
    "zero_accumulators": "accumulators that start at zero",
    "bytes_read": "bytes read",
    "bytes_written": "bytes written",
    "activations": "activations",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operator that ran, `times` over in the same way: its rule, its arguments, and how its numbers came about.

    `rule` is None for an operator that is free or has no rule; `reason` says why an operator does no arithmetic.
    `expression` is the reference expression of a pointwise operator. `terms` has a derivation for every number of
    `cost` that is not zero, by the names in `QUANTITIES`; `cost` is that of one run.
    """

    record: OpRecord
    times: int
    cost: Cost
    family: str
    reason: str | None
    rule: Function | None
    expression: str
    arguments: tuple[tuple[str, str], ...]
    terms: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a module: one of its children, with all that is in it."""

    name: str
    type_name: str
    cost: Cost


@dataclass(frozen=True, kw_only=True, repr=False)
class Explanation:
    """A module or node, and how its cost came about: `cost` = the costs of `parts` + those of `operations`.

    `operations` are those that a node ran, or a module outside of its children. Prints as text.
    """

    name: str
    type_name: str
    is_module: bool
    nodes: tuple[str, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    cost: Cost
    parts: tuple[Part, ...]
    operations: tuple[Operation, ...]

    def to_dict(self) -> dict[str, Any]:
        """The explanation as plain data."""
        return to_dict(self)

    def __str__(self) -> str:
        return text(self)

    def __repr__(self) -> str:
        return f"<Explanation of {self.name!r}: {self.cost.flops:,} FLOPs>"

    def _repr_html_(self) -> str:
        from ..text.notebook import preformatted

        return preformatted(str(self))


def to_dict(explanation: Explanation) -> dict[str, Any]:
    """The explanation as plain data; a term has the terms that its names stand for below `where`."""
    return {
        "schema": SCHEMA,
        "name": explanation.name,
        "type": explanation.type_name,
        "kind": "module" if explanation.is_module else "node",
        "nodes": list(explanation.nodes),
        "inputs": [spec_dict(spec) for spec in explanation.inputs],
        "outputs": [spec_dict(spec) for spec in explanation.outputs],
        "cost": cost_dict(explanation.cost),
        "parts": [{"name": p.name, "type": p.type_name, "cost": cost_dict(p.cost)} for p in explanation.parts],
        "operations": [_operation(operation) for operation in explanation.operations],
    }


def _operation(operation: Operation) -> dict[str, Any]:
    return {
        "operator": str(operation.record.op),
        "times": operation.times,
        "family": operation.family or None,
        "reason": operation.reason,
        "rule": asdict(operation.rule) if operation.rule is not None else None,
        "expression": operation.expression or None,
        "arguments": dict(operation.arguments),
        "outputs": [spec_dict(spec) for spec in operation.record.outputs if spec is not None],
        "cost": cost_dict(operation.cost),
        "terms": [_term(term) for term in operation.terms],
    }


def _term(term: Term) -> dict[str, Any]:
    return {
        "name": term.name,
        "value": term.value,
        "formula": term.formula,
        "numbers": term.numbers,
        "function": asdict(term.function) if term.function is not None else None,
        "where": [_term(below) for below in term.where],
    }


def text(explanation: Explanation) -> str:
    """What it is, its numbers, its parts, then each operator with its rule and its derivations."""
    return "\n".join(map(printable, _lines(explanation)))


def _lines(explanation: Explanation) -> Iterator[str]:
    kind = "module" if explanation.is_module else "node"
    yield f"{kind} {explanation.name or '(the model)'}: {explanation.type_name}"
    if explanation.inputs or explanation.outputs:
        yield f"{', '.join(map(str, explanation.inputs))} → {', '.join(map(str, explanation.outputs))}".strip()
    cost = explanation.cost
    macs, others = units.exact(cost.macs), units.exact(cost.other_flops)
    read, written = units.exact(cost.bytes_read), units.exact(cost.bytes_written)
    yield f"MACs   {macs}"
    yield f"FLOPs  {units.exact(cost.flops)} = 2 · {macs} MACs + {others} others"
    yield f"bytes  {units.exact(cost.bytes_moved)} = {read} read + {written} written"
    if explanation.parts:
        yield ""
        yield from _parts(explanation)
    for operation in explanation.operations[:MOST_OPERATIONS]:
        yield ""
        yield from _explained(operation)
    rest = len(explanation.operations) - MOST_OPERATIONS
    if rest > 0:
        yield ""
        yield f"and {units.plural(rest, 'operator')} more; explain the nodes {', '.join(explanation.nodes[:3])} …"


def _parts(explanation: Explanation) -> Iterator[str]:
    """The children of a module, and what it does itself: they add up to it."""
    rows = [(f"{part.name} ({part.type_name})", part.cost.macs, part.cost.flops) for part in explanation.parts]
    own_macs = explanation.cost.macs - sum(macs for _, macs, _ in rows)
    own_flops = explanation.cost.flops - sum(flops for _, _, flops in rows)
    if explanation.operations:
        rows.append(("itself", own_macs, own_flops))
    width = max(len(name) for name, _, _ in rows)
    right = len(units.exact(explanation.cost.flops))
    yield f"{'is the sum of':{width + 2}}  {'MACs':>{right}}  {'FLOPs':>{right}}"
    for name, macs, flops in rows:
        yield f"  {name:{width}}  {units.exact(macs):>{right}}  {units.exact(flops):>{right}}"


def _explained(operation: Operation) -> Iterator[str]:
    """One operator: what it is, its rule, what it was given, and its numbers."""
    times = f", {operation.times} times like this" if operation.times > 1 else ""
    family = f"family {operation.family}" if operation.family else "no rule: only its traffic is counted"
    reason = f", {operation.reason}" if operation.reason else ""
    yield f"{operation.record.op}: {family}{reason}{times}"
    seen: set[object] = set()
    if operation.rule is not None:
        rule = operation.rule
        yield f"  rule {rule.name}, {rule.file}:{rule.line}" if rule.file else f"  rule {rule.name}"
        yield from _about(rule, seen, 4)
    if operation.expression:
        yield f"  for each element: {operation.expression}"
    if operation.terms:
        given = ", ".join(f"{name} {value}" for name, value in operation.arguments)
        results = ", ".join(str(spec) for spec in operation.record.outputs if spec is not None)
        yield from _wrapped(f"given {given or 'nothing'}", 2)
        yield from _wrapped(f"makes {results or 'no tensor'}", 2)
    for term in operation.terms:
        yield from _derived(term, HEADINGS[term.name], 2, seen, ())


def _derived(
    term: Term, heading: str, indent: int, seen: set[object], above: tuple[Function | None, ...]
) -> Iterator[str]:
    """A number, its formula in names and in numbers, the function that has it, and what the names stand for.

    `seen` has the functions and terms that were said already, `above` the functions of the terms around this one.
    """
    space, value = " " * indent, units.exact(term.value)
    function = term.function
    named = function is not None and function.file.startswith("fxcost/rules/formulas") and function not in above
    steps = [text for text in (term.formula, term.numbers) if text not in ("", value)]
    one_line = " = ".join([f"{space}{heading}", *steps, value])
    if term.where and (heading, term) in seen:
        yield f"{space}{heading} = {value}, as above"
        return
    seen.add((heading, term))
    if not named and len(one_line) <= at_most(WIDTH):
        yield one_line
    else:
        yield f"{space}{heading} = {value}"
        for step in steps:
            yield from _wrapped(f"= {step}", indent + 2)
    if named and function is not None:
        yield f"{space}  by {function.name}({function.arguments}), {function.file}:{function.line}"
        yield from _about(function, seen, indent + 5)
    sizes = [leaf for leaf in term.where if not leaf.where and leaf.formula not in ("", leaf.name)]
    if sizes:
        yield from _wrapped("with " + ", ".join(f"{leaf.name} = {leaf.formula}" for leaf in sizes), indent + 2)
    for below in term.where:
        if below.where:
            yield from _derived(below, below.name, indent + 4, seen, (*above, function))


def _about(function: Function, seen: set[object], indent: int) -> Iterator[str]:
    """What a function's docstring says, the first time."""
    if function.name not in seen:
        seen.add(function.name)
        for line in (function.summary, f"Source: {function.source}" if function.source else ""):
            yield from _wrapped(line, indent)


def _wrapped(text: str, indent: int) -> Iterator[str]:
    """A text in lines of `WIDTH` at most."""
    space = " " * indent
    yield from wrap(text, at_most(WIDTH), initial_indent=space, subsequent_indent=f"{space}  ", break_long_words=False)
