"""Sums fitted along dims on which the number of operators hangs: depth, a loop over the sequence.

At a few sizes of such a dim everything else has formulas (`fitting.py`); here their coefficients are fitted in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from math import lcm

from ..errors import FormulaError
from .interpolation import Interpolation
from .ledger import Key, Ledger, Value
from .lift import Coordinates
from .polynomial import ZERO, Monomial, Polynomial, whole
from .search import Axis


def degree_of(axis: Axis, found: Mapping[int, Ledger[int]]) -> int | None:
    """The lowest degree of polynomials through the sums at the sizes of an uneven dim; at least one checks them."""
    keys = {key for ledger in found.values() for key in ledger.entries}
    rows = [tuple(ledger.entries.get(key, 0) for ledger in found.values()) for key in keys]
    points = [(axis.lattice.index(size),) for size in found]
    for degree in range(1, len(points) - 1):
        fitted = Interpolation((axis.name,), points, degree)
        if all(fitted(row) is not None for row in rows):
            return degree
    return None


def grouped(ledger: Ledger[Value], patterned: bool) -> Ledger[Value]:
    """Numbers of modules that are named alike but for their places in a list, under one name; others as they are."""
    if not patterned:
        return ledger
    entries: dict[Key, Value] = {}
    for key, value in ledger.entries.items():
        name = key._replace(module=pattern(key.module))
        entries[name] = entries[name] + value if name in entries else value  # type: ignore[operator]
    return Ledger(entries, ledger.live)


def pattern(module: str) -> str:
    """A module's name with `*` in place of numbers: "h.3.attn" is "h.*.attn"."""
    return re.sub(r"(?<![^.])\d+(?![^.])", "*", module)


def joined(names: tuple[str, ...], ledgers: Mapping[Coordinates, Ledger[Polynomial]]) -> Ledger[Polynomial]:
    """One ledger from those at sizes of the uneven dims: each coefficient is fitted in these. Without peaks.

    Raises:
        FormulaError: a sum has no formula.
    """
    fitted = _along(names, ledgers)
    keys = dict.fromkeys(key for ledger in ledgers.values() for key in ledger.entries)
    entries = {
        key: _coefficients(fitted, [ledger.entries.get(key, ZERO) for ledger in ledgers.values()], str(key))
        for key in keys
    }
    return Ledger({key: value for key, value in entries.items() if value.terms}, {})


def _along(names: tuple[str, ...], points: Iterable[Coordinates]) -> Interpolation:
    """Polynomials in uneven dims, of the degree that their sizes can tell; nothing is left to check them with."""
    points = list(points)
    degree = min(len({p[i] for p in points}) for i in range(len(names))) - 1
    return Interpolation(names, points, max(degree, 1), spare=0)


def peaks(
    names: tuple[str, ...], ledgers: Mapping[Coordinates, Ledger[Polynomial]], ends: Iterable[Mapping[str, int]]
) -> dict[str, dict[Polynomial, None]]:
    """For each pass formulas that may be its peak: those that prevail at a corner of the even dims, and in order."""
    found: dict[str, dict[Polynomial, None]] = {}
    fitted = _along(names, ledgers)
    for name in next(iter(ledgers.values())).live:
        rows = [ledger.live[name] for ledger in ledgers.values()]
        columns = [tuple(max(row, key=lambda p: p(end)) for row in rows) for end in ends]
        if len({len(row) for row in rows}) == 1:
            columns.extend(zip(*rows, strict=True))
        found[name] = {}
        for column in columns:
            try:
                found[name][_coefficients(fitted, column, name)] = None
            except FormulaError:
                continue
    return found


def _coefficients(fitted: Interpolation, polynomials: Sequence[Polynomial], what: str) -> Polynomial:
    monomials: dict[Monomial, None] = dict.fromkeys(m for p in polynomials for m in p.terms)
    result = ZERO
    for monomial in monomials:
        column = [Fraction(p.terms.get(monomial, 0)) for p in polynomials]
        scale = lcm(*(value.denominator for value in column))
        found = fitted(tuple(whole(value * scale) for value in column))
        if found is None:
            raise FormulaError(f"{what} has no formula in {', '.join(fitted.names)}")
        result = result + found * Polynomial({monomial: Fraction(1, scale) if scale > 1 else 1})
    return result
