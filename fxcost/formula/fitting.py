"""From dims and a way to run an analysis to a domain and polynomials: the road of this room in one file.

A point in the middle, then a line along each dim (`search.py`), then the corners of the box that these lines span, and
points at random. All sizes are fitted on all points; what disagrees joins them, and what then has no formula is told.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import combinations, product

from torch import nn

from ..errors import FormulaError, FxcostError
from ..memory.analysis import Analysis
from ..rules.registry import Registry
from .bounds import undominated
from .dims import Dims, Point
from .domain import Domain
from .ledger import Ledger, concrete
from .lift import Box, Coordinates, Lift, MisfitError
from .observation import Observation
from .polynomial import ZERO, Polynomial, whole
from .probing import Probe, Run
from .search import Axis, search
from .told import notes_of, ranges_of
from .uneven import degree_of, grouped, joined, peaks

MOST_CORNERS = 3
"""With more dims than this, corners are taken in pairs of dims instead of all."""
_PEAKS = {"graph": "of the forward pass", "eager": "of the forward pass in eager Python", "step": "of a training step"}
ATTEMPTS = 3
"""How often a point that does not fit makes the ranges be searched anew."""
REFITS = 6
"""How many points may disagree, and join those that are fitted, before it is said that no formula fits."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """Where the numbers have formulas, and the formulas. `base` is the point that the search went out from.

    `patterned` says that modules which are named alike but for their places stand under one name.
    """

    domain: Domain
    ledger: Ledger[Polynomial]
    base: Mapping[str, int]
    patterned: bool


def fit(
    dims: Dims,
    run: Run,
    registry: Registry,
    verify: int = 2,
    explain: Callable[[Point], Analysis] | None = None,
    root: nn.Module | None = None,
) -> Fitted:
    """Find the formulas of a model's numbers.

    Args:
        dims: the ranges asked for.
        run: analyses at a point.
        registry: rules by which to price.
        verify: at how many points at random to compare with an analysis.
        explain: runs the model's own code at a point, to find the lines at which formulas end.
        root: the model, for the forwards that these lines are in.

    Raises:
        FormulaError: no dim has a formula.
        FxcostError: the analysis in the middle of the ranges failed.
    """
    probe = Probe(dims, run, registry)
    base = tuple(dim.middle for dim in dims.values())
    probe(base)
    seen: list[Coordinates] = []
    for attempt in range(ATTEMPTS):
        base, axes = _axes(probe, dims, base, seen)
        if all(axis.range.is_fixed for axis in axes):
            ranges = ranges_of(axes, probe.names, base, explain, root)
            told = "; ".join(f"{name} {reason}" for name, found in ranges.items() for reason in found.reasons())
            raise FormulaError(f"there is no formula in {', '.join(dims)}: {told}")
        fitting = _Fitting(probe, base, axes)
        try:
            ledger = fitting.ledger(verify)
            break
        except (FormulaError, MisfitError, FxcostError) as error:
            if fitting.failed is None or fitting.failed in seen or attempt == ATTEMPTS - 1:
                raise FormulaError(f"each dim has a formula, but together they have none: {error}") from error
            seen.append(fitting.failed)
    ranges = ranges_of(axes, probe.names, base, explain, root)
    notes = (*notes_of(axes, ledger, root if explain is not None else None), *fitting.notes)
    domain = Domain(ranges, len(fitting.verified), len(probe.found), notes)
    return Fitted(domain, ledger, dict(zip(probe.names, base, strict=True)), fitting.patterned)


def _axes(probe: Probe, dims: Dims, base: Coordinates, seen: Sequence[Coordinates]) -> tuple[Coordinates, list[Axis]]:
    """What is found along each dim, one after the other, and the point that they go through then."""
    axes: list[Axis] = []
    for i, dim in enumerate(dims.values()):
        steps = [axis.range.step for axis in axes if axis.range.step > 1]
        ends = [good for axis in axes for name, _, good in axis.causes if name != "between"]
        axis = search(probe.line(base, i, ends), dim, steps, [point[i] for point in seen])
        axes.append(axis)
        if base[i] not in axis.range:
            nearest = min(axis.sizes, key=lambda size: abs(size - base[i]))
            base = (*base[:i], nearest, *base[i + 1 :])
    return base, axes


class _Fitting:
    """Formulas on the box that the axes span."""

    def __init__(self, probe: Probe, base: Coordinates, axes: Sequence[Axis]) -> None:
        self.probe, self.base, self.axes = probe, base, list(axes)
        self.verified: set[Coordinates] = set()
        self.notes: list[str] = []
        self.failed: Coordinates | None = None
        """A point at random that is not what the formulas say."""
        self.even = [i for i, axis in enumerate(axes) if not axis.uneven and not axis.range.is_fixed]
        self.uneven = [i for i, axis in enumerate(axes) if axis.uneven]
        self.lattices = [axis.lattice for axis in axes]

    def ledger(self, verify: int) -> Ledger[Polynomial]:
        """The numbers as polynomials in the dims.

        Raises:
            MisfitError, FxcostError: there are none on the whole box.
        """
        return self._in_sizes(self._even(verify) if not self.uneven else self._summed(verify))

    # All sizes fitted -------------------------------------------------------------------------------------------

    def _even(self, verify: int) -> Ledger[Polynomial]:
        for corner in self._corners(self.base):
            self.probe(corner)
        lift, points = self._lifted({})
        ledger = lift.ledger()
        self.verified.update(points)
        chance, left, refits = random.Random(0), verify, 0
        while left:
            point = self.failed = self._random(chance)
            observation = self.probe(point)
            try:
                lift.check(self._even_indices(point), observation)
                _checked(ledger, self._values(point), observation)
                left, self.failed = left - 1, None
                self.verified.add(point)
            except MisfitError:
                refits += 1
                if refits > REFITS:
                    raise
                lift, points = self._lifted({})
                ledger = lift.ledger()
                self.verified.update(points)
        for point in self.verified:
            _checked(ledger, self._values(point), self.probe(point))
        return ledger

    def _lifted(self, uneven: Mapping[int, int]) -> tuple[Lift, list[Coordinates]]:
        """One lift of everything that was analysed in the box, the uneven dims staying at given sizes."""
        points = [p for p in self._inside() if all(p[i] == size for i, size in uneven.items())]
        names = tuple(self.axes[i].name for i in self.even)
        low = tuple(0 for _ in self.even)
        high = tuple(self.lattices[i].count - 1 for i in self.even)
        found = {self._even_indices(p): self.probe(p) for p in points}
        distinct = min((len({p[i] for p in points}) for i in self.even), default=2)
        return Lift(Box(names, low, high), found, self.probe.registry, 2 if distinct > 3 else 1), points

    def _inside(self) -> list[Coordinates]:
        """Points of the domain that were analysed; that of the search first."""
        ranges = [axis.range for axis in self.axes]
        inside = [
            point
            for point, found in self.probe.found.items()
            if isinstance(found, Observation) and all(n in r for n, r in zip(point, ranges, strict=True))
        ]
        return sorted(inside, key=lambda point: point != self.base)

    def _corners(self, base: Coordinates) -> Iterator[Coordinates]:
        """Corners of the box: all, or with many dims those of each pair, and the two ends of the diagonal."""
        ends = [(axis.range.low, axis.range.high) for axis in self.axes]
        if len(self.even) <= MOST_CORNERS:
            for chosen in product((0, 1), repeat=len(self.even)):
                yield self._moved(base, {i: ends[i][c] for i, c in zip(self.even, chosen, strict=True)})
            return
        for pair in combinations(self.even, 2):
            yield self._moved(base, {i: ends[i][1] for i in pair})
        for end in (0, 1):
            yield self._moved(base, {i: ends[i][end] for i in self.even})

    @staticmethod
    def _moved(base: Coordinates, sizes: Mapping[int, int]) -> Coordinates:
        return tuple(sizes.get(i, size) for i, size in enumerate(base))

    def _random(self, chance: random.Random) -> Coordinates:
        return tuple(axis.range.low + axis.range.step * chance.randrange(len(axis.range)) for axis in self.axes)

    def _indices(self, point: Coordinates) -> Coordinates:
        return tuple(lattice.index(size) for lattice, size in zip(self.lattices, point, strict=True))

    def _even_indices(self, point: Coordinates) -> Coordinates:
        indices = self._indices(point)
        return tuple(indices[i] for i in self.even)

    def _values(self, point: Coordinates) -> dict[str, int]:
        return dict(zip(self.probe.names, self._indices(point), strict=True))

    # Sums fitted along uneven dims ------------------------------------------------------------------------------

    def _summed(self, verify: int) -> Ledger[Polynomial]:
        """Formulas at a few sizes of the uneven dims, and their coefficients fitted in these.

        Peaks may have other formulas at the upper ends of these dims, and are fitted there too where that is needed.
        """
        names = tuple(self.axes[i].name for i in self.uneven)
        patterned = self.patterned
        low, high = self._nodes()
        ledgers = {self._node_indices(node): self._at_node(node, patterned) for node in low}
        whole_ledger = joined(names, ledgers)
        chance = random.Random(0)
        points = [*self._inside(), *(self._random(chance) for _ in range(max(verify, 4)))]
        found = {point: _checked(whole_ledger, self._values(point), self.probe(point), patterned) for point in points}
        self.verified.update(found)
        wanted = {point: {name: max(live) for name, live in ledger.live.items()} for point, ledger in found.items()}
        live: dict[str, tuple[Polynomial, ...]] = {}
        candidates = peaks(names, ledgers, self._ends())
        for ends in ((), high):
            more = {self._node_indices(node): self._at_node(node, patterned) for node in ends}
            for name, polynomials in peaks(names, more, self._ends()).items() if more else ():
                candidates[name] = {**candidates.get(name, {}), **polynomials}
            for name, polynomials in candidates.items():
                seen = {point: peaks[name] for point, peaks in wanted.items()}
                right = self._prevailing(polynomials, seen)
                if right:
                    live[name] = right
            if len(live) == len(candidates):
                break
        if len(live) < len(candidates):
            missing = ", ".join(_PEAKS[name] for name in candidates if name not in live)
            self.notes.append(f"no formula fits the peak of memory {missing}")
        return Ledger(whole_ledger.entries, live)

    def _prevailing(self, polynomials: Iterable[Polynomial], seen: Mapping[Coordinates, int]) -> tuple[Polynomial, ...]:
        """Those that are nowhere more than what was seen, if the largest of them is that everywhere; else none."""
        at = [(self._values(point), peak) for point, peak in seen.items()]
        kept = [p for p in polynomials if all(p(values) <= peak for values, peak in at)]
        if not kept or any(max(p(values) for p in kept) != peak for values, peak in at):
            return ()
        return undominated(kept, dict.fromkeys(self.probe.names, 0))

    def _ends(self) -> list[dict[str, int]]:
        """The lower and the upper corner of the even dims."""
        names = [self.axes[i].name for i in self.even]
        return [
            dict.fromkeys(names, 0),
            {name: self.lattices[i].count - 1 for name, i in zip(names, self.even, strict=True)},
        ]

    def _at_node(self, node: Coordinates, patterned: bool) -> Ledger[Polynomial]:
        """The formulas in the even dims at sizes of the uneven ones."""
        at = dict(zip(self.uneven, node, strict=True))
        if not self.even:
            found = concrete(self.probe(self._moved(self.base, at)))
            entries = {key: Polynomial.of(value) for key, value in found.entries.items()}
            live = {name: (Polynomial.of(max(values)),) for name, values in found.live.items()}
            return grouped(Ledger(entries, live), patterned)
        for corner in self._corners(self._moved(self.base, at)):
            self.probe(corner)
        for i in self.even:  # the lines through every node
            for size in self.axes[i].sizes[:4]:
                self.probe(self._moved(self.base, {**at, i: size}))
        return grouped(self._lifted(at)[0].ledger(), patterned)

    def _node_indices(self, node: Coordinates) -> Coordinates:
        return tuple(self.lattices[i].index(size) for i, size in zip(self.uneven, node, strict=True))

    def _nodes(self) -> tuple[list[Coordinates], list[Coordinates]]:
        """Sizes of the uneven dims at which formulas are made, at the lower ends and at the upper ones."""
        low, high = [], []
        for i in self.uneven:
            line, axis = self.probe.line(self.base, i), self.axes[i]
            found = {size: grouped(concrete(line.at(size)), self.patterned) for size in axis.sizes}
            degree = degree_of(axis, found)
            if degree is None:
                raise FormulaError(f"sums over {axis.name} are no polynomial of a degree below {len(axis.sizes) - 1}")
            count = min(degree + 1, len(axis.range))
            low.append(tuple(axis.lattice.size(k) for k in range(count)))
            high.append(tuple(axis.lattice.size(len(axis.range) - 1 - k) for k in range(count)))
        return list(product(*low)), list(product(*high))

    @cached_property
    def patterned(self) -> bool:
        """True if the modules themselves depend on an uneven dim (depth): then their numbers stand as `*`."""
        if not self.uneven:
            return False
        modules = {frozenset(item.module for item in self.probe(point).items) for point in self._inside()}
        return len(modules) > 1

    # Back to sizes ----------------------------------------------------------------------------------------------

    def _in_sizes(self, ledger: Ledger[Polynomial]) -> Ledger[Polynomial]:
        """Polynomials in the dims themselves in place of those in steps from the lower end."""
        steps = {
            axis.name: (Polynomial.atom(axis.name) - lattice.first) * Fraction(1, lattice.step)
            for axis, lattice in zip(self.axes, self.lattices, strict=True)
            if not axis.range.is_fixed
        }
        known: dict[Polynomial, Polynomial] = {}

        def sized(polynomial: Polynomial) -> Polynomial:
            if polynomial not in known:
                known[polynomial] = polynomial.substituted(steps)
            return known[polynomial]

        entries = {key: sized(value) for key, value in ledger.entries.items()}
        return Ledger(entries, {name: tuple(map(sized, live)) for name, live in ledger.live.items()})


def _checked(
    ledger: Ledger[Polynomial], values: Mapping[str, int], observation: Observation, patterned: bool = False
) -> Ledger[int]:
    """The numbers of an analysis, seen to be what the formulas say, but for the peaks that the ledger lacks.

    Raises:
        FormulaError: a number is another.
    """
    found = concrete(observation)
    sums = grouped(found, patterned)
    known: dict[Polynomial, int] = {}
    for key in {**sums.entries, **ledger.entries}:
        polynomial = ledger.entries.get(key, ZERO)
        if polynomial not in known:
            known[polynomial] = whole(polynomial(values))
        if known[polynomial] != sums.entries.get(key, 0):
            told = f"{sums.entries.get(key, 0)}, not {known[polynomial]}"
            raise FormulaError(f"the {key.number} of {key.module or 'the model'} at {dict(values)} are {told}")
    for name, polynomials in ledger.live.items():
        if max(polynomial(values) for polynomial in polynomials) != max(found.live[name]):
            raise FormulaError(f"the peak of memory at {dict(values)} is {max(found.live[name])}")
    return found
