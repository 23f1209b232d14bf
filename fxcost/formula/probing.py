"""Analyses at points, run once each, and what they say: an observation, or why there is none."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ..errors import FxcostError
from ..memory.analysis import Analysis
from ..records.recording import TrainingRecord
from ..rules.registry import Registry
from .dims import Point
from .domain import Reason
from .lift import Box, Coordinates, Lift, MisfitError
from .observation import Observation, observe

Ran = tuple[Analysis, TrainingRecord | None]
"""An analysis, and the record of its training step if there was one."""
Run = Callable[[Point], Ran]


@dataclass(frozen=True, slots=True)
class Lattice:
    """Sizes of one dim that may have a formula together: `first`, `first` + `step` … as far as `last`.

    Formulas are fitted in the number of steps, so that a size which is a multiple of 32 divides by 32 exactly.
    """

    first: int
    last: int
    step: int = 1

    def size(self, k: int) -> int:
        """The k-th size."""
        return self.first + k * self.step

    def index(self, size: int) -> int:
        """The number of a size."""
        return (size - self.first) // self.step

    @property
    def count(self) -> int:
        """How many sizes there are."""
        return (self.last - self.first) // self.step + 1


class Probe:
    """Runs analyses at points of the dims `names`."""

    def __init__(self, names: Iterable[str], run: Run, registry: Registry) -> None:
        self.names, self.registry, self._run = tuple(names), registry, run
        self.found: dict[Coordinates, Observation | FxcostError] = {}

    def __call__(self, point: Coordinates) -> Observation:
        """The observation at a point.

        Raises:
            FxcostError: the analysis failed there.
        """
        if point not in self.found:
            try:
                report, step = self._run(dict(zip(self.names, point, strict=True)))
                self.found[point] = observe(report, step, self.registry)
            except FxcostError as error:
                self.found[point] = error
        known = self.found[point]
        if isinstance(known, FxcostError):
            raise known
        return known

    def line(self, base: Coordinates, axis: int, ends: Sequence[int] = ()) -> Line:
        """The points that differ from `base` in one dim; others were found to end at `ends`."""
        return Line(self, base, axis, ends)


class Line:
    """Analyses along one dim, the others staying where they are."""

    def __init__(self, probe: Probe, base: Coordinates, axis: int, ends: Sequence[int] = ()) -> None:
        self.probe, self.base, self.axis, self.ends = probe, base, axis, ends
        self.name = probe.names[axis]
        self._lifts: dict[tuple[tuple[int, ...], Lattice], Lift | MisfitError | FxcostError] = {}

    def point(self, size: int) -> Coordinates:
        """The point at which the dim has a size."""
        return (*self.base[: self.axis], size, *self.base[self.axis + 1 :])

    def at(self, size: int) -> Observation:
        """The observation there.

        Raises:
            FxcostError: the analysis failed.
        """
        return self.probe(self.point(size))

    def seen(self, size: int) -> Observation | None:
        """The observation there, None if the analysis failed."""
        try:
            return self.at(size)
        except FxcostError:
            return None

    def sizes(self) -> list[int]:
        """Sizes that were analysed."""
        found = self.probe.found.items()
        return [p[self.axis] for p, seen in found if isinstance(seen, Observation) and p == self.point(p[self.axis])]

    def lift(self, sizes: Iterable[int], lattice: Lattice) -> Lift:
        """The sizes of a lattice as one with polynomials.

        Raises:
            MisfitError: they have no formula together.
            FxcostError: an analysis failed.
        """
        wanted = tuple(dict.fromkeys(sizes))
        key = wanted, lattice
        if key not in self._lifts:
            try:
                found: dict[Coordinates, Observation] = {(lattice.index(size),): self.at(size) for size in wanted}
                ends = [point[0] for point in found]
                box = Box((self.name,), (min(ends),), (max(ends),))
                degree = 2 if len(found) > 3 else 1
                self._lifts[key] = Lift(box, found, self.probe.registry, degree)
            except (MisfitError, FxcostError) as error:
                self._lifts[key] = error
        lift = self._lifts[key]
        if not isinstance(lift, Lift):
            raise lift
        return lift

    def why_not(self, sizes: Iterable[int], lattice: Lattice) -> MisfitError | FxcostError | None:
        """Why sizes have no formula together; None if they have one."""
        try:
            self.lift(sizes, lattice)
        except (MisfitError, FxcostError) as error:
            return error
        return None

    def parts_from(self, lift: Lift, size: int, lattice: Lattice) -> MisfitError | FxcostError | None:
        """Why a formula does not hold at a size; None if it does."""
        try:
            lift.check((lattice.index(size),), self.at(size))
        except (MisfitError, FxcostError) as error:
            return error
        return None


def reason(size: int, error: MisfitError | FxcostError) -> Reason:
    """Why a formula does not hold at a size, from what was raised there; an error of the model names its line."""
    if isinstance(error, MisfitError):
        return Reason(size, str(error), error.item.module)
    text = f"{type(error).__name__}: {error}"
    line = re.search(r" at (\S+:\d+ \(.*?\)): ", text)
    module = re.search(r"module '([^']*)' raised", text)
    return Reason(size, text, module[1] if module else "", line[1] if line else "")
