"""From analyses at a few points to one whose sizes are polynomials, and its prices: the heart of the room.

The analyses must have one structure. Each of their sizes is fitted (`interpolation.py`); then the ordinary rules price
the operators on what was fitted (`symbolic.py`). What comes out is compared with every analysis there is: all sizes,
and the cost of every operator, as its own rule gave it on ints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from ..errors import RuleError
from ..records.cost import Cost
from ..rules.pricing import cost_operation
from ..rules.registry import Registry
from .bounds import undominated
from .interpolation import Interpolation
from .ledger import COST_NUMBERS, Ledger, booked
from .observation import Item, Observation, decoded
from .polynomial import Polynomial, whole
from .symbolic import Space, polynomial_of

Coordinates = tuple[int, ...]
"""A point as numbers, in the order of the dims."""
SAMPLES = 9
"""How many values of each dim a comparison that is not proven is looked at with."""


class MisfitError(Exception):
    """Analyses that no formula covers: at which item they part, and how."""

    def __init__(self, item: Item, text: str) -> None:
        self.item, self.text = item, text
        where = f"module {item.module!r}" if item.module else "the model"
        super().__init__(f"{item.label} in {where} {text}")


@dataclass(frozen=True, slots=True)
class Box:
    """Where a formula shall hold: `low` ≤ each variable ≤ `high`."""

    names: tuple[str, ...]
    low: Coordinates
    high: Coordinates

    def values(self, point: Coordinates) -> dict[str, int]:
        """A point by the names of its variables."""
        return dict(zip(self.names, point, strict=True))


def compared(one: Observation, other: Observation) -> None:
    """See that two analyses have one structure.

    Raises:
        MisfitError: they have not.
    """
    for mine, theirs in zip(one.items, other.items, strict=False):
        if mine.structure != theirs.structure:
            raise MisfitError(theirs, _parting(mine, theirs))
    if len(one.items) != len(other.items):
        longer = one if len(one.items) > len(other.items) else other
        extra = longer.items[min(len(one.items), len(other.items))]
        raise MisfitError(
            extra, f"runs in one analysis and not in the other ({len(one.items)} and {len(other.items)} steps)"
        )
    if one.lifetimes != other.lifetimes:
        raise MisfitError(_outlived(one, other), "keeps its memory from or until another moment")


def _parting(mine: Item, theirs: Item) -> str:
    if theirs.cost is None or mine.cost is None:
        return "runs there and not at other sizes" if theirs.cost is not None else "is another"
    if (mine.kind, mine.module, mine.label) != (theirs.kind, theirs.module, theirs.label):
        where = f" in module {mine.module!r}" if mine.module and mine.module != theirs.module else ""
        return f"runs where {mine.label} ran{where}"
    return "has other arguments"


def _outlived(one: Observation, other: Observation) -> Item:
    for name, spans in one.lifetimes.items():
        theirs = other.lifetimes.get(name, ())
        items = [item for item in one.items if item.kind == name]
        for item, mine, its in zip(items, spans, theirs, strict=False):
            if mine != its:
                return item
    return one.items[0]


class Lift:
    """Analyses at points of a box, as one with polynomials for sizes.

    Raises:
        MisfitError: they differ in structure, a size has no formula, or a rule's price on ints is another.
    """

    def __init__(self, box: Box, found: Mapping[Coordinates, Observation], registry: Registry, degree: int = 1) -> None:
        self.box, self.registry = box, registry
        self.points = list(found)
        observations = list(found.values())
        self.base = observations[0]
        for other in observations[1:]:
            compared(self.base, other)
        self._interpolation = Interpolation(box.names, self.points, degree)
        self._sizes: dict[tuple[Any, ...], tuple[int, ...]] = {}
        self._costs: dict[tuple[int, tuple[int, ...]], tuple[Cost, frozenset[Polynomial]]] = {}
        self._keys: dict[Any, int] = {}
        self.space = Space(box.values(self._witness()), box.values(box.low))
        rows = zip(*(observation.items for observation in observations), strict=True)
        self.sizes = [self._fitted(row) for row in rows]
        self.costs = [self._priced(item, sizes) for item, sizes in zip(self.base.items, self.sizes, strict=True)]
        for point, observation in found.items():
            self.check_costs(point, observation)
        self._check_assumptions()

    def _witness(self) -> Coordinates:
        """A point where no two sizes are equal by chance: unlikely where all of them are far from each other."""
        return tuple(
            high - (high - low) // (7 + 4 * i)
            for i, (low, high) in enumerate(zip(self.box.low, self.box.high, strict=True))
        )

    def _fitted(self, row: Sequence[Item]) -> tuple[int, ...]:
        """The sizes of an item as numbers that know their polynomials."""
        columns = tuple(zip(*(item.sizes for item in row), strict=True))
        known = self._sizes.get(columns)
        if known is not None:
            return known
        sizes = []
        for values in columns:
            polynomial = self._interpolation(values)
            if polynomial is None:
                sample = ", ".join(map(str, values[:6]))
                raise MisfitError(row[0], f"has a size without a formula: {sample}{' …' if len(values) > 6 else ''}")
            sizes.append(self.space.number(polynomial))
        self._sizes[columns] = tuple(sizes)
        return self._sizes[columns]

    def _priced(self, item: Item, sizes: tuple[int, ...]) -> tuple[Cost, frozenset[Polynomial]] | None:
        """The cost of an operation and what it takes for granted, priced once for equal ones."""
        if item.cost is None:
            return None
        identity = self._keys.setdefault(item.key, len(self._keys)), sizes
        if identity not in self._costs:
            self.space.assumed.clear()
            try:
                cost = cost_operation(decoded(item.key, sizes), self.registry).cost
            except RuleError as error:
                raise MisfitError(
                    item, f"has a rule that can't price sizes that are open ({error.__cause__!r})"
                ) from error
            self._costs[identity] = cost, frozenset(self.space.assumed)
        return self._costs[identity]

    # Checks -----------------------------------------------------------------------------------------------------

    def check(self, point: Coordinates, observation: Observation) -> None:
        """See that an analysis is what the polynomials say, in every size and the cost of every operation.

        Raises:
            MisfitError: it is not.
        """
        compared(self.base, observation)
        values = self.box.values(point)
        known: dict[int, int] = {}
        for item, sizes in zip(observation.items, self.sizes, strict=True):
            for number, size in zip(item.sizes, sizes, strict=True):
                if type(size) is int:
                    said = size
                else:
                    if id(size) not in known:
                        value = polynomial_of(size)(values)
                        known[id(size)] = value if isinstance(value, int) else -1
                    said = known[id(size)]
                if said != number:
                    raise MisfitError(item, f"has a size of {number}, not {polynomial_of(size)}")
        self.check_costs(point, observation)

    def check_costs(self, point: Coordinates, observation: Observation) -> None:
        """The part of :meth:`check` that compares costs."""
        values = self.box.values(point)
        known: dict[int, dict[str, int]] = {}
        for item, priced in zip(observation.items, self.costs, strict=True):
            if priced is None:
                continue
            cost = priced[0]
            if id(cost) not in known:
                numbers = {name: polynomial_of(getattr(cost, name)) for name in COST_NUMBERS}
                known[id(cost)] = {name: _value(number, values) for name, number in numbers.items()}
            for name, value in known[id(cost)].items():
                if value != getattr(item.cost, name):
                    formula = polynomial_of(getattr(cost, name))
                    raise MisfitError(item, f"has {name} of {getattr(item.cost, name)}, not {formula}")

    def _check_assumptions(self) -> None:
        """Comparisons of sizes that rules made must have one answer in the whole box: at a grid of points they have."""
        axes = [_spread(low, high) for low, high in zip(self.box.low, self.box.high, strict=True)]
        seen: set[Polynomial] = set()
        for item, priced in zip(self.base.items, self.costs, strict=True):
            for polynomial in priced[1] - seen if priced is not None else ():
                seen.add(polynomial)
                involved = polynomial.names()
                ranges = [
                    axis if name in involved else axis[:1] for name, axis in zip(self.box.names, axes, strict=True)
                ]
                if any(polynomial(self.box.values(point)) < 0 for point in product(*ranges)):
                    raise MisfitError(item, f"has another formula where {polynomial} is below 0")

    def ledger(self) -> Ledger[Polynomial]:
        """All numbers as polynomials; of the bytes alive only those that can be the most somewhere."""
        sizes = {id(item): given for item, given in zip(self.base.items, self.sizes, strict=True)}
        costs = {id(item): priced for item, priced in zip(self.base.items, self.costs, strict=True)}

        def cost(item: Item) -> Cost:
            priced = costs[id(item)]
            assert priced is not None
            return priced[0]

        book = booked(self.base, lambda item: sizes[id(item)], cost)
        entries = {key: polynomial_of(value) for key, value in book.entries.items()}
        low = self.box.values(self.box.low)
        live = {name: undominated(map(polynomial_of, values), low) for name, values in book.live.items()}
        return Ledger({key: value for key, value in entries.items() if value.terms}, live)


def _value(polynomial: Polynomial, values: Mapping[str, int]) -> int:
    value = polynomial(values)
    return whole(value) if isinstance(value, int) or value.denominator == 1 else -1


def _spread(low: int, high: int) -> list[int]:
    """Values from one end to the other, few of them; all if there are few."""
    if high - low < SAMPLES:
        return list(range(low, high + 1))
    return sorted({low + (high - low) * i // (SAMPLES - 1) for i in range(SAMPLES)} | {low + 1, high - 1})
