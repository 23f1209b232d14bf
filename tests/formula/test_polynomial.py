"""Polynomials agree with plain arithmetic on ints, in what they compute, compile to and prove."""

from __future__ import annotations

from fractions import Fraction

import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st

from fxcost.formula.as_sympy import expression
from fxcost.formula.bounds import never_negative, undominated
from fxcost.formula.code import compiled, source_of
from fxcost.formula.polynomial import Polynomial, call, floor_divided, whole

B, S = Polynomial.atom("B"), Polynomial.atom("S")
SIZES = st.integers(1, 60)
COEFFICIENTS = st.integers(-9, 9)


@st.composite
def polynomials(draw: st.DrawFn) -> Polynomial:
    """A small polynomial in B and S."""
    result = Polynomial.of(draw(COEFFICIENTS))
    for _ in range(draw(st.integers(0, 4))):
        result = result + draw(COEFFICIENTS) * B ** draw(st.integers(0, 2)) * S ** draw(st.integers(0, 2))
    return result


@given(polynomials(), polynomials(), SIZES, SIZES)
def test_arithmetic_is_that_of_ints(p: Polynomial, q: Polynomial, b: int, s: int) -> None:
    """Sums, differences and products of polynomials have the values of sums, differences and products."""
    at = {"B": b, "S": s}
    assert (p + q)(at) == p(at) + q(at)
    assert (p - q)(at) == p(at) - q(at)
    assert (p * q)(at) == p(at) * q(at)
    assert (p + q) - q == p


@given(polynomials(), polynomials())
def test_a_product_divides_by_its_factors(p: Polynomial, q: Polynomial) -> None:
    """(p · q) / q is p, whatever the factors."""
    if q.terms:
        assert (p * q).divided(q) == p


@given(polynomials(), st.integers(1, 12), SIZES, SIZES)
def test_floors_are_those_of_ints(p: Polynomial, n: int, b: int, s: int) -> None:
    """⌊p / n⌋ has the value of the division of ints, and so has its source, and a floor of a floor."""
    at = {"B": b, "S": s}
    once = floor_divided(p, Polynomial.of(n))
    twice = floor_divided(once + 1, Polynomial.of(3))
    assert once(at) == p(at) // n
    assert twice(at) == (p(at) // n + 1) // 3
    assert eval(twice.source(), dict(at)) == (p(at) // n + 1) // 3


def test_floors_of_floors_are_one() -> None:
    """Strides one after the other: ⌊(⌊(S + 1) / 2⌋ + 1) / 2⌋ = ⌊(S + 3) / 4⌋."""
    halved = floor_divided(S + 1, Polynomial.of(2))
    assert floor_divided(halved + 1, Polynomial.of(2)) == floor_divided(S + 3, Polynomial.of(4))


def test_what_always_divides_needs_no_floor() -> None:
    """Places that a causal mask leaves, ⌊(S² + S) / 2⌋, are a polynomial; ⌊S² / 2⌋ is none."""
    half = Fraction(1, 2)
    assert floor_divided(S * S + S + 4 * B, Polynomial.of(2)) == half * S * S + half * S + 2 * B
    assert floor_divided(S**3 - S, Polynomial.of(6)) == Fraction(1, 6) * (S**3 - S)
    assert len(floor_divided(S * S, Polynomial.of(2)).terms) == 1


def test_a_division_by_what_no_size_divides_stays() -> None:
    """A quotient that is no polynomial is kept as a division of polynomials."""
    quotient = floor_divided(S * S, S + 1)
    assert [quotient({"S": s}) for s in range(1, 9)] == [s * s // (s + 1) for s in range(1, 9)]


@given(polynomials(), SIZES, SIZES)
def test_compiled_and_sympy_agree(p: Polynomial, b: int, s: int) -> None:
    """The compiled function, its source and the sympy expression have one value."""
    at = {"B": b, "S": s}
    assert compiled({"n": [p, p + 1]}, ["B", "S"])(b, s) == (p(at) + 1,)
    assert expression([p]).subs({sympy.Symbol(n, integer=True, positive=True): v for n, v in at.items()}) == p(at)


def test_fractions_stay_exact() -> None:
    """A coefficient of 1/3 gives whole numbers where it should, and says so where it does not."""
    third = (S - 2) * Fraction(1, 3)
    assert third({"S": 11}) == 3
    assert compiled({"n": [third]}, ["S"])(11) == (3,)
    with pytest.raises(ArithmeticError, match="no whole number"):
        whole(third({"S": 12}))


def test_the_source_computes_a_call_once() -> None:
    """What stands in many formulas has a line of its own."""
    bits = call("bit_length", S - 1)
    source = source_of({"a": [bits * S], "b": [bits + bits * B]}, ["B", "S"])
    assert source.count("bit_length") == 1
    assert compiled({"a": [bits * S], "b": [bits + bits * B]}, ["B", "S"])(3, 9) == (4 * 9, 4 + 4 * 3)


@given(polynomials(), SIZES, SIZES, SIZES, SIZES)
def test_what_is_proven_holds(p: Polynomial, low_b: int, low_s: int, more_b: int, more_s: int) -> None:
    """A polynomial that is proven to be never negative is not, wherever one looks."""
    if never_negative(p, {"B": low_b, "S": low_s}):
        assert p({"B": low_b + more_b - 1, "S": low_s + more_s - 1}) >= 0


@given(st.lists(polynomials(), min_size=1, max_size=6), SIZES, SIZES)
def test_dominated_ones_do_not_matter(ps: list[Polynomial], b: int, s: int) -> None:
    """The maximum of what is left is that of all, everywhere above the lower ends."""
    at = {"B": b, "S": s}
    assert max(p(at) for p in undominated(ps, {"B": 1, "S": 1})) == max(p(at) for p in ps)


@given(polynomials(), polynomials(), SIZES, SIZES)
def test_substitution_is_composition(p: Polynomial, q: Polynomial, b: int, s: int) -> None:
    """p with q in place of B, at a point, is p at the value of q there."""
    at = {"B": b, "S": s}
    assert p.substituted({"B": q})(at) == p({"B": whole(q(at)), "S": s})
