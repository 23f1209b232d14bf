"""The largest size of a dim with which numbers stay within limits: on the formulas, so no analysis runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import FormulaError, InputError
from ..text.amounts import parse_bytes
from ..text.units import named_amount
from .bounds import never_negative
from .domain import Range
from .polynomial import Polynomial, whole

if TYPE_CHECKING:
    from .expressions import Expressions

MOST_SIZES = 1_000_000
"""Of a number that falls and rises again, so many sizes are looked at, one by one."""


def solve(formula: Expressions, given: Mapping[str, Any]) -> int:
    """The largest size within limits; :meth:`fxcost.formula.formula.Formula.solve` says more."""
    sizes = {name: size for name, size in given.items() if name in formula.domain}
    limits = {name: _limit(name, value) for name, value in given.items() if name not in formula.domain}
    free = [name for name in formula.names if name not in sizes]
    if len(free) != 1:
        open_ = ", ".join(free) or "none"
        raise FormulaError(f"give sizes for all dims but one: open are {open_} of {', '.join(formula.names)}")
    if not limits:
        raise FormulaError("give a limit, such as peak_bytes='24GiB'")
    (dim,) = free
    range_ = formula.domain[dim]
    formula.at(**sizes, **{dim: range_.low})  # says so if a size is outside
    return min(_largest(formula, dim, range_, sizes, name, limit) for name, limit in limits.items())


def _limit(name: str, value: Any) -> int:
    if isinstance(value, str):
        return parse_bytes(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InputError(f"{name}={value!r} is no limit: give a number, or text such as '24GiB'")
    return int(value)


def _largest(formula: Expressions, dim: str, range_: Range, sizes: Mapping[str, int], number: str, limit: int) -> int:
    alone = [p.substituted(sizes) for p in formula.polynomials(number)]

    def fits(k: int) -> bool:
        return all(p({dim: range_.low + k * range_.step}) <= limit for p in alone)

    last = len(range_) - 1
    if all(_never_falls(p, dim, range_) for p in alone):
        if not fits(0):
            k = -1
        else:
            good, bad = 0, last + 1
            while bad - good > 1:
                half = (good + bad) // 2
                good, bad = (half, bad) if fits(half) else (good, half)
            k = good
    else:
        if last >= MOST_SIZES:
            raise FormulaError(f"{number} falls and rises over {dim}, which has {last + 1} sizes: too many to look at")
        k = next((k for k in range(last, -1, -1) if fits(k)), -1)
    if k < 0:
        least = max(p({dim: range_.low}) for p in alone)
        told = f"{number} is {named_amount(number, whole(least))} at {dim}={range_.low}"
        raise FormulaError(f"{told}, and the limit is {named_amount(number, limit)}: no size fits")
    return range_.low + k * range_.step


def _never_falls(polynomial: Polynomial, dim: str, range_: Range) -> bool:
    """True if it is proven that a polynomial in one dim does not fall from one size to the next."""
    later = polynomial.substituted({dim: Polynomial.atom(dim) + range_.step})
    return never_negative(later - polynomial, {dim: range_.low})
