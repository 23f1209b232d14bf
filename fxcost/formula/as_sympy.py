"""Polynomials as sympy expressions, for the face: dims become positive whole symbols."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import sympy

from .polynomial import FUNCTIONS, Atom, Polynomial


class gcd(sympy.Function):  # type: ignore[misc]  # noqa: N801  named as it prints
    """The greatest common divisor, computed where both are numbers: sympy's own takes symbols for polynomials."""

    @classmethod
    def eval(cls, a: Any, b: Any) -> Any:
        """The value, None where it is open."""
        return sympy.igcd(a, b) if a.is_Integer and b.is_Integer else None


class distinct(sympy.Function):  # type: ignore[misc]  # noqa: N801
    """How many experts tokens go to, expected and rounded."""

    @classmethod
    def eval(cls, groups: Any, rows: Any) -> Any:
        """The value, None where it is open."""
        known = groups.is_Integer and rows.is_Integer
        return sympy.Integer(FUNCTIONS["distinct"][0](int(groups), int(rows))) if known else None


def symbol(name: str) -> sympy.Symbol:
    """The symbol of a dim."""
    return sympy.Symbol(name, integer=True, positive=True)


def expression(polynomials: Iterable[Polynomial]) -> sympy.Expr:
    """The maximum of polynomials; one alone as it is."""
    expressions = [_sum(polynomial) for polynomial in polynomials]
    return expressions[0] if len(expressions) == 1 else sympy.Max(*expressions, evaluate=False)


def _sum(polynomial: Polynomial) -> sympy.Expr:
    return sympy.Add(*(_term(monomial, coefficient) for monomial, coefficient in polynomial.terms.items()))


def _term(monomial: Any, coefficient: Any) -> sympy.Expr:
    number = Fraction(coefficient)
    factors = (_atom(atom) ** exponent for atom, exponent in monomial)
    return sympy.Mul(sympy.Rational(number.numerator, number.denominator), *factors)


def _atom(atom: Atom) -> sympy.Expr:
    if isinstance(atom, str):
        return symbol(atom)
    arguments = [_sum(argument) for argument in atom.arguments]
    if atom.function == "floordiv":
        return sympy.floor(arguments[0] / arguments[1])
    if atom.function == "power":
        return sympy.Pow(*arguments)
    if atom.function in ("gcd", "distinct"):
        return {"gcd": gcd, "distinct": distinct}[atom.function](*arguments)
    return sympy.floor(sympy.log(arguments[0], 2)) + 1
