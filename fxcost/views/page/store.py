"""Tables of what repeats: texts, tensors, costs and operations, each stored once and referred to by its position.

A report of 10,000 nodes holds few distinct ones, so a page stays small.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any

from ...explain.explanation import Operation
from ...records.cost import Cost, OpCost
from ...records.plain import COST_FIELDS
from ...records.recording import TensorSpec
from ...text.words import printable
from ...totals.sums import UNCOSTED_FAMILY
from .formulas import explained

EXACT_IN_JAVASCRIPT = 2**53
"""Integers beyond this are handed over as text, since JavaScript's numbers would round them."""
LONGEST_ARGUMENT = 200
"""Characters of an operator's argument that are shown."""
MOST_EXPLAINED = 250
"""Distinct operations whose formulas are in the page; of the others it names the family."""


def number(n: int) -> int | str:
    """An integer as the page's script can read it without loss.

    >>> number(7), number(2**60)
    (7, '1152921504606846976')
    """
    return n if abs(n) <= EXACT_IN_JAVASCRIPT else str(n)


class Table:
    """Values by position, each once."""

    def __init__(self) -> None:
        self.rows: list[Any] = []
        self._position: dict[Hashable, int] = {}

    def add(self, key: Hashable, make: Callable[[], Any]) -> int:
        """The position of what has this key; `make()` is stored where it is new."""
        found = self._position.get(key)
        if found is None:
            value = make()  # may add to this table itself
            found = self._position[key] = len(self.rows)
            self.rows.append(value)
        return found


class Store:
    """The tables that rows refer to.

    `explain` says how an operation's cost came about, None where that is not known.
    """

    def __init__(self, explain: Callable[[OpCost], Operation | None]) -> None:
        self.explain, self.left_to_explain = explain, MOST_EXPLAINED
        self.texts, self.specs, self.costs = Table(), Table(), Table()
        self.operations, self.runs = Table(), Table()
        self._run_of: dict[int, int] = {}

    def text(self, text: str) -> int:
        """A text, made printable."""
        return self.texts.add(text, lambda: printable(text))

    def spec(self, spec: TensorSpec) -> int:
        """A tensor's shape and dtype as text, and its bytes."""
        return self.specs.add((spec.shape, spec.dtype), lambda: [str(spec), number(spec.nbytes)])

    def specs_of(self, specs: Iterable[TensorSpec | None]) -> list[int]:
        """Many tensors."""
        return [self.spec(spec) for spec in specs if spec is not None]

    def cost(self, cost: Cost) -> int:
        """A cost: its numbers in the order of COST_FIELDS."""
        return self.costs.add(cost, lambda: [number(getattr(cost, name)) for name in COST_FIELDS])

    def run(self, operations: tuple[OpCost, ...]) -> int:
        """What a node ran; equal layers stand once.

        They mostly share one tuple, which the report keeps alive: its identity is a quick way to know it again.
        """
        found = self._run_of.get(id(operations))
        if found is None:
            numbers = tuple(map(self.operation, operations))
            found = self._run_of[id(operations)] = self.runs.add(numbers, lambda: list(numbers))
        return found

    def operation(self, op: OpCost) -> int:
        """[operator, family, reason why it is free, cost, arguments as [name, text], outputs, scope, formulas]."""
        record = op.record
        key: Hashable = (str(record.op), record.args, record.outputs, record.scope)
        try:
            hash(key)
        except TypeError:  # lists among the arguments
            key = str(key)
        return self.operations.add(
            key,
            lambda: [
                self.text(str(record.op)),
                self.text(op.family or UNCOSTED_FAMILY),
                op.reason,
                self.cost(op.cost),
                [[self.text(name), self.text(value)] for name, value in arguments(op)],
                self.specs_of(record.outputs),
                self.text(record.scope),
                self._formulas(op),
            ],
        )

    def _formulas(self, op: OpCost) -> list[Any] | None:
        """How the numbers of an operation came about (formulas.py), if it costs anything."""
        if op.cost == Cost() or not self.left_to_explain:
            return None
        self.left_to_explain -= 1
        found = self.explain(op)
        return explained(found) if found is not None else None

    def tables(self) -> dict[str, list[Any]]:
        """All tables by name."""
        names = ("texts", "specs", "costs", "operations", "runs")
        return {name: getattr(self, name).rows for name in names}


def arguments(op: OpCost) -> list[tuple[str, str]]:
    """Names and values of an operator's arguments, tensors as shapes.

    A schema names them; those of an operator without one are numbered.
    """
    schema = getattr(op.record.op, "_schema", None)
    names = [a.name for a in schema.arguments] if schema is not None else []
    return [(names[i] if i < len(names) else str(i), _shown(value)) for i, value in enumerate(op.record.args)]


def _shown(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        inner = ", ".join(map(_shown, value[:32])) + (", …" if len(value) > 32 else "")
        text = f"[{inner}]"
    else:
        text = str(value)
    return text if len(text) <= LONGEST_ARGUMENT else f"{text[:LONGEST_ARGUMENT]}…"
