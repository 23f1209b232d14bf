"""Costs and parameters of each module: what its own operations cost, and what it costs with all that is below it.

An operation belongs to the innermost module that ran it; a parameter to the module where it is found first. So the
`own` columns add up to the totals, and a module's total is its own plus those of its children. No walk recurses.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ..records.cost import Cost, NodeCost
from ..records.recording import ParameterRecord, Recording, TensorSpec, tensor_specs
from .parameters import ParameterTotals, totals_of


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleCost:
    """One module of the tree. `own` things exclude its children, the others include them.

    `type_name` is "" for a module that the model does not list (it was made inside a forward). `calls` is how often
    the module was called, `outputs` what its first call returned, `own_operators` what it ran itself at a cost. Two
    modules with equal `likeness` are alike: same class, parameters, costs, results and children, whatever their names.
    """

    name: str
    type_name: str
    depth: int
    parent: str | None
    children: tuple[str, ...]
    aliases: tuple[str, ...]
    calls: int
    outputs: tuple[TensorSpec, ...]
    own_operators: tuple[str, ...]
    own: Cost
    cost: Cost
    own_parameters: ParameterTotals
    parameters: ParameterTotals
    likeness: int

    @property
    def local_name(self) -> str:
        """The last part of the FQN; "" for the root."""
        return self.name.rpartition(".")[2]


@dataclass(slots=True)
class _Draft:
    """A module while its sums are being made."""

    name: str
    parent: str | None
    depth: int
    type_name: str = ""
    aliases: tuple[str, ...] = ()
    children: list[str] = field(default_factory=list)
    calls: int = 0
    outputs: tuple[TensorSpec, ...] = ()
    operators: dict[str, bool] = field(default_factory=dict)
    own: Cost = field(default_factory=Cost)
    cost: Cost = field(default_factory=Cost)
    own_parameters: ParameterTotals = field(default_factory=ParameterTotals)
    parameters: ParameterTotals = field(default_factory=ParameterTotals)
    likeness: int = 0


class _Builder:
    """Collects drafts by FQN; a module that is not listed is made, with its parents, when it is first met."""

    def __init__(self, recording: Recording) -> None:
        self.drafts = {"": _Draft("", None, 0)}
        self.canonical = {alias: m.name for m in recording.modules for alias in m.aliases}
        for module in recording.modules:
            draft = self.draft(module.name)
            draft.type_name, draft.aliases = module.type_name, module.aliases

    def draft(self, name: str) -> _Draft:
        """The draft of a module, by any of its FQNs."""
        name = self.canonical.get(name, name)
        missing = []
        while name not in self.drafts:
            missing.append(name)
            parent = name.rpartition(".")[0]
            name = self.canonical.get(parent, parent)
        found = self.drafts[name]
        for child in reversed(missing):
            found.children.append(child)
            found = self.drafts[child] = _Draft(child, found.name, found.depth + 1)
        return found

    def add_node(self, node: NodeCost) -> None:
        """Give each operation of a node to its module."""
        for op in node.operations:
            scope = op.record.scope
            name = f"{node.module}.{scope}".strip(".") if scope else node.module
            draft = self.draft(name)
            draft.own = draft.own + op.cost
            operator = str(op.record.op)
            draft.operators[operator] = draft.operators.get(operator, False) or op.cost != Cost()

    def add_calls(self, recording: Recording) -> None:
        """Count calls: from the calls that capture saw, else from the nodes that call a module."""
        seen = [(call.module, call.output) for call in recording.calls]
        known = {module for module, _ in seen}
        seen += [(n.module, n.outputs) for n in recording.nodes if n.kind == "call_module" and n.module not in known]
        for module, output in seen:
            draft = self.draft(module)
            draft.calls += 1
            draft.outputs = draft.outputs or tuple(tensor_specs(output))

    def preorder(self) -> list[_Draft]:
        """Parents before children, children in order."""
        order, stack = [], [""]
        while stack:
            draft = self.drafts[stack.pop()]
            order.append(draft)
            stack.extend(reversed(draft.children))
        return order


def _roll_up(order: list[_Draft], drafts: Mapping[str, _Draft]) -> None:
    """Add each module to its parent, deepest first, and number the kinds of modules that are alike."""
    kinds: dict[object, int] = {}
    for draft in order:
        draft.cost, draft.parameters = draft.own, draft.own_parameters
    for draft in reversed(order):
        if draft.parent is not None:
            parent = drafts[draft.parent]
            parent.cost = parent.cost + draft.cost
            parent.parameters = parent.parameters + draft.parameters
        children = tuple((c.rpartition(".")[2], drafts[c].likeness) for c in draft.children)
        results = tuple((spec.shape, spec.dtype) for spec in draft.outputs)
        kind = (draft.type_name, draft.own, draft.own_parameters, draft.calls, results, *draft.operators, children)
        draft.likeness = kinds.setdefault(kind, len(kinds))


def module_tree(
    recording: Recording, nodes: Iterable[NodeCost], parameters: Iterable[ParameterRecord]
) -> dict[str, ModuleCost]:
    """Every module by its canonical FQN, parents before children; the root is "".

    `parameters` must be unique (:func:`~fxcost.totals.parameters.unique_parameters`).
    """
    builder = _Builder(recording)
    for node in nodes:
        builder.add_node(node)
    for record in parameters:
        draft = builder.draft(record.name.rpartition(".")[0])
        draft.own_parameters = draft.own_parameters + totals_of(record)
    builder.add_calls(recording)
    order = builder.preorder()
    _roll_up(order, builder.drafts)
    return {draft.name: _finished(draft) for draft in order}


def _finished(draft: _Draft) -> ModuleCost:
    return ModuleCost(
        name=draft.name,
        type_name=draft.type_name,
        depth=draft.depth,
        parent=draft.parent,
        children=tuple(draft.children),
        aliases=draft.aliases,
        calls=draft.calls,
        outputs=draft.outputs,
        own_operators=tuple(name for name, costs in draft.operators.items() if costs),
        own=draft.own,
        cost=draft.cost,
        own_parameters=draft.own_parameters,
        parameters=draft.parameters,
        likeness=draft.likeness,
    )
