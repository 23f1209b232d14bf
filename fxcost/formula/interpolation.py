"""Exact interpolation: the simplest polynomial that has given whole-number values at given points.

Simplest means: of the fewest variables and the lowest degree. A size with a formula that more points than unknowns
agree on is taken to have it; what other points say is seen by whoever asks (`search.py`), and they join the points.

Not here: rounding, least squares. A formula fits every point exactly, or is none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import combinations, product

from .polynomial import Monomial, Polynomial

Column = tuple[int, ...]
"""The values of one size, point by point."""


class Interpolation:
    """Points at which sizes are known, and the polynomials that go through their values.

    `degree` is the largest exponent of a single variable; `spare` how many points more than unknowns there must be.
    """

    def __init__(
        self, names: Sequence[str], points: Sequence[tuple[int, ...]], degree: int = 1, spare: int = 1
    ) -> None:
        self.names, self.points, self.degree, self.spare = tuple(names), list(points), degree, spare
        self._found: dict[Column, Polynomial | None] = {}
        self._solvers: dict[tuple[Monomial, ...], _Solver] = {}
        self._neighbours = [_neighbours(self.points, axis) for axis in range(len(self.names))]

    def __call__(self, values: Column) -> Polynomial | None:
        """The polynomial of a size; None if there is none."""
        if values not in self._found:
            self._found[values] = self._fitted(values)
        return self._found[values]

    def _fitted(self, values: Column) -> Polynomial | None:
        if values.count(values[0]) == len(values):
            return Polynomial.of(values[0])
        for monomials in self._candidates(values):
            solver = self._solvers.get(monomials)
            if solver is None:
                solver = self._solvers[monomials] = _Solver(self.names, self.points, monomials, self.spare)
            found = solver(values)
            if found is not None:
                return found
        return None

    def _candidates(self, values: Column) -> Iterator[tuple[Monomial, ...]]:
        """Sets of monomials to try, the smallest first; each is downward closed."""
        seen = self._dependence(values)
        every = tuple(n for i, n in enumerate(self.names) if len({p[i] for p in self.points}) > 1)
        for names in dict.fromkeys((seen, every)):
            for degree in range(1, self.degree + 1):
                for together in range(1, len(names) + 1):
                    yield _monomials(names, degree, together)

    def _dependence(self, values: Column) -> tuple[str, ...]:
        """Variables in which two points differ alone while the value changes."""
        return tuple(
            name
            for name, pairs in zip(self.names, self._neighbours, strict=True)
            if any(values[i] != values[j] for i, j in pairs)
        )


def _neighbours(points: Sequence[tuple[int, ...]], axis: int) -> list[tuple[int, int]]:
    """Pairs of points that differ in one axis only."""
    lines: dict[tuple[int, ...], list[int]] = {}
    for i, point in enumerate(points):
        lines.setdefault((*point[:axis], *point[axis + 1 :]), []).append(i)
    return [(line[0], i) for line in lines.values() for i in line[1:]]


def _monomials(names: tuple[str, ...], degree: int, together: int) -> tuple[Monomial, ...]:
    """All monomials of at most `together` of the variables, each to at most `degree`."""
    found: list[Monomial] = [()]
    for count in range(1, together + 1):
        for chosen in combinations(sorted(names), count):
            every = product(range(1, degree + 1), repeat=count)
            found.extend(tuple(zip(chosen, exponents, strict=True)) for exponents in every)
    return tuple(found)


class _Solver:
    """Coefficients of given monomials from values at given points, one elimination for all sizes.

    With fewer than `spare` points more than unknowns, so that there is nothing to check, it finds nothing.
    """

    def __init__(
        self, names: Sequence[str], points: Sequence[tuple[int, ...]], monomials: tuple[Monomial, ...], spare: int
    ) -> None:
        self.monomials = monomials
        index = {name: i for i, name in enumerate(names)}
        self.rows = [[_power(point, m, index) for m in monomials] for point in points]
        self.chosen, self.inverse = _eliminated(self.rows, len(monomials), len(points) >= len(monomials) + spare)

    def __call__(self, values: Column) -> Polynomial | None:
        if not self.chosen:
            return None
        known = [values[i] for i in self.chosen]
        coefficients = [sum(a * v for a, v in zip(row, known, strict=True) if a) for row in self.inverse]
        for row, value in zip(self.rows, values, strict=True):
            if sum(c * x for c, x in zip(coefficients, row, strict=True) if c) != value:
                return None
        terms = {
            m: c.numerator if isinstance(c, Fraction) and c.denominator == 1 else c
            for m, c in zip(self.monomials, coefficients, strict=True)
            if c
        }
        return Polynomial(terms)


def _power(point: tuple[int, ...], monomial: Monomial, index: dict[str, int]) -> int:
    value = 1
    for name, exponent in monomial:
        value *= point[index[name]] ** exponent  # type: ignore[index]
    return value


def _eliminated(rows: list[list[int]], size: int, enough: bool) -> tuple[list[int], list[list[Fraction]]]:
    """The first `size` independent rows, and the inverse of the matrix that they make; nothing if there are too few."""
    if not enough:
        return [], []
    chosen: list[int] = []
    reduced: list[tuple[int, list[Fraction]]] = []  # (pivot column, row divided by its pivot)
    for i, row in enumerate(rows):
        rest = [Fraction(x) for x in row]
        for pivot, other in reduced:
            if rest[pivot]:
                factor = rest[pivot]
                rest = [a - factor * b for a, b in zip(rest, other, strict=True)]
        pivot = next((k for k, x in enumerate(rest) if x), -1)
        if pivot >= 0:
            reduced.append((pivot, [x / rest[pivot] for x in rest]))
            chosen.append(i)
            if len(chosen) == size:
                return chosen, _inverted([rows[k] for k in chosen])
    return [], []


def _inverted(matrix: list[list[int]]) -> list[list[Fraction]]:
    """The inverse of a matrix that has one (Gauss and Jordan, on fractions)."""
    n = len(matrix)
    rows = [[*map(Fraction, row), *(Fraction(int(i == k)) for k in range(n))] for i, row in enumerate(matrix)]
    for column in range(n):
        pivot = next(i for i in range(column, n) if rows[i][column])
        rows[column], rows[pivot] = rows[pivot], rows[column]
        first = rows[column][column]
        rows[column] = [x / first for x in rows[column]]
        for i in range(n):
            if i != column and rows[i][column]:
                factor = rows[i][column]
                rows[i] = [a - factor * b for a, b in zip(rows[i], rows[column], strict=True)]
    return [row[n:] for row in rows]
