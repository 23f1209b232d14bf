"""Which rule prices which operator: an immutable table, and how an operator is looked up in it.

To add a rule, write a function from :class:`~fxcost.records.recording.OpRecord` to
:class:`~fxcost.records.cost.Cost` and put it into the `RULES` of its family's file in `fxcost/rules/`, or register it
from outside with :func:`fxcost.rule`.

Lookup goes from the exact overload to its packet, then to the functional operator that an in-place or `out=`
variant repeats, then to what PyTorch's own schema and tags say: an operator that only aliases its input is free,
one tagged pointwise costs one operation per element. Whatever is left is uncosted, and reported as such.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from ..errors import DuplicateRuleError, RuleError, shown
from ..records.cost import Cost
from ..records.recording import Operator, OpRecord

RuleFunction = Callable[[OpRecord], Cost]
OpKey = Any
"""An `OpOverload`, an `OpOverloadPacket` (all its overloads) or a `HigherOrderOperator`."""


@dataclass(frozen=True, slots=True)
class Rule:
    """How one operator is priced. `reason` is set for operators known to do no arithmetic.

    A rule whose cost names no bytes gets the default traffic: every input read once, every result written once. One
    that names no activations gets the elements written.
    A *free* rule (`function` is None) moves nothing at all. A *nested* one, of an operator that has others among its
    arguments, is called with the registry as well, to price those.
    """

    family: str
    function: Callable[..., Cost] | None
    reason: str | None = None
    nested: bool = False


def check_key(key: OpKey) -> OpKey:
    """The key of a rule itself.

    Raises:
        RuleError: it is no operator.
    """
    if isinstance(key, (torch._ops.OpOverload, torch._ops.OpOverloadPacket, torch._ops.HigherOrderOperator)):
        return key
    raise RuleError(
        f"a rule was registered for {shown(key)}, which is no operator; give an operator such as "
        "torch.ops.aten.mm (all overloads) or torch.ops.aten.mm.default"
    )


def functional_variant(op: torch._ops.OpOverload) -> torch._ops.OpOverloadPacket | None:
    """The packet that an in-place (`add_`) or `out=` overload repeats; None if the operator is neither."""
    packet = op.overloadpacket
    name = packet.__name__
    if name.endswith("_") and not name.endswith("__"):
        return getattr(getattr(torch.ops, op.namespace), name[:-1], None)
    return None


def only_aliases(op: torch._ops.OpOverload) -> bool:
    """True if every result is a view of an argument and nothing is written: the schema's own words."""
    schema = op._schema
    if not schema.returns or any(a.alias_info is not None and a.alias_info.is_write for a in schema.arguments):
        return False
    return all(r.alias_info is not None and not r.alias_info.is_write for r in schema.returns)


@dataclass(frozen=True)
class Registry:
    """An immutable mapping from operators to rules. :meth:`overlay` makes a new one with more."""

    rules: Mapping[OpKey, Rule]
    pointwise: Rule
    view: Rule
    _found: dict[int, tuple[Operator, Rule | None]] = field(default_factory=dict, compare=False, repr=False)

    def overlay(self, rules: Mapping[OpKey, Rule]) -> Registry:
        """A new registry in which `rules` go before what is there."""
        return Registry({**self.rules, **{check_key(k): r for k, r in rules.items()}}, self.pointwise, self.view)

    def find(self, op: Operator) -> Rule | None:
        """The rule for an operator, or None if it has none."""
        try:
            return self._found[id(op)][1]
        except KeyError:
            found = self._search(op)
            self._found[id(op)] = op, found  # hashing an operator takes longer than all the rest
            return found

    def _search(self, op: Operator) -> Rule | None:
        if not isinstance(op, torch._ops.OpOverload):
            return self.rules.get(op)
        for key in (op, op.overloadpacket, functional_variant(op)):
            if key is not None and key in self.rules:
                return self.rules[key]
        if op.namespace == "prims":  # what PyTorch's references are made of: `prims.add` is `aten.add`
            named = getattr(torch.ops.aten, op.overloadpacket.__name__, None)
            if named is not None:
                return self.find(getattr(named, named.overloads()[0]))
        if only_aliases(op):
            return self.view
        if torch.Tag.pointwise in op.tags:
            return self.pointwise
        return None


def merge(*families: Mapping[OpKey, Rule]) -> dict[OpKey, Rule]:
    """One table from many.

    Raises:
        DuplicateRuleError: an operator stands in two of them.
    """
    merged: dict[OpKey, Rule] = {}
    for family in families:
        for key, entry in family.items():
            if check_key(key) in merged:
                raise DuplicateRuleError(f"{key} has a rule in family {merged[key].family!r} and in {entry.family!r}")
            merged[key] = entry
    return merged
