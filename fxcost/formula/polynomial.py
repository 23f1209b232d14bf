"""Polynomials with exact rational coefficients, in the dims of a model and in whole-number functions of them.

A monomial is a product of powers of *atoms*: names of dims, and :class:`Call` for what is no polynomial (a division
that leaves a remainder, the bit length of a size). Ours instead of sympy's because an analysis makes thousands of them:
sympy appears where a formula is shown (`as_sympy.py`).

Not here: floats.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import product
from math import gcd, lcm, prod
from typing import TypeAlias

from ..rules.formulas import distinct

Number: TypeAlias = "int | Fraction"
Atom: TypeAlias = "str | Call"
Monomial: TypeAlias = "tuple[tuple[Atom, int], ...]"

FUNCTIONS: Mapping[str, tuple[Callable[..., int], str]] = {
    "floordiv": (operator.floordiv, "({})//({})"),
    "bit_length": (int.bit_length, "({}).bit_length()"),
    "power": (pow, "({})**({})"),
    "gcd": (gcd, "gcd({}, {})"),
    "distinct": (distinct, "distinct({}, {})"),
}
"""Functions that a formula may keep: how each is computed on ints, and how it is written in Python."""


@dataclass(frozen=True, slots=True)
class Call:
    """A function of polynomials that is no polynomial itself: `function` is one of `FUNCTIONS`."""

    function: str
    arguments: tuple[Polynomial, ...]

    def __call__(self, values: Mapping[str, int]) -> int:
        """Its value."""
        compute, _ = FUNCTIONS[self.function]
        return compute(*(whole(argument(values)) for argument in self.arguments))

    def __str__(self) -> str:
        return self.source()

    def source(self) -> str:
        """The call in Python."""
        return FUNCTIONS[self.function][1].format(*(argument.source() for argument in self.arguments))


class Polynomial:
    """A sum of monomials: `terms` has the coefficient of each, none of them zero. Immutable, and equal by value."""

    __slots__ = ("_hash", "terms")

    def __init__(self, terms: Mapping[Monomial, Number]) -> None:
        self.terms = terms
        self._hash: int | None = None

    @staticmethod
    def of(value: Polynomial | Number) -> Polynomial:
        """A number as a polynomial; a polynomial as it is."""
        if isinstance(value, Polynomial):
            return value
        return Polynomial({(): _tidy(value)}) if value else ZERO

    @staticmethod
    def atom(atom: Atom) -> Polynomial:
        """A single atom."""
        return Polynomial({((atom, 1),): 1})

    @property
    def constant(self) -> Number | None:
        """The number that it is, None if it depends on anything."""
        if not self.terms:
            return 0
        return self.terms.get(()) if len(self.terms) == 1 else None

    def __add__(self, other: Polynomial | Number) -> Polynomial:
        return _summed(self.terms, Polynomial.of(other).terms, 1)

    __radd__ = __add__

    def __neg__(self) -> Polynomial:
        return Polynomial({m: -c for m, c in self.terms.items()})

    def __sub__(self, other: Polynomial | Number) -> Polynomial:
        return _summed(self.terms, Polynomial.of(other).terms, -1)

    def __rsub__(self, other: Polynomial | Number) -> Polynomial:
        return Polynomial.of(other) - self

    def __mul__(self, other: Polynomial | Number) -> Polynomial:
        if not isinstance(other, Polynomial):
            return Polynomial({m: _tidy(c * other) for m, c in self.terms.items()}) if other else ZERO
        terms: dict[Monomial, Number] = {}
        for left, a in self.terms.items():
            for right, b in other.terms.items():
                monomial = multiplied(left, right)
                terms[monomial] = terms.get(monomial, 0) + a * b
        return Polynomial({m: _tidy(c) for m, c in terms.items() if c})

    __rmul__ = __mul__

    def __pow__(self, exponent: int) -> Polynomial:
        result = ONE
        for _ in range(exponent):
            result = result * self
        return result

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Polynomial):
            return self.terms == other.terms
        return self.constant == other if isinstance(other, (int, Fraction)) else NotImplemented

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(frozenset(self.terms.items()))
        return self._hash

    def __call__(self, values: Mapping[str, int]) -> Number:
        """Its value: a whole number wherever the polynomial stands for a count."""
        total: Number = 0
        for monomial, coefficient in self.terms.items():
            for atom, exponent in monomial:
                coefficient *= (values[atom] if isinstance(atom, str) else atom(values)) ** exponent
            total += coefficient
        return total

    def divided(self, other: Polynomial) -> Polynomial | None:
        """The quotient if the division leaves nothing, else None."""
        if not other.terms:
            return None
        lead, quotient, rest = max(other.terms, key=_order), ZERO, self
        while rest.terms:
            first = max(rest.terms, key=_order)
            monomial = _quotient(first, lead)
            if monomial is None:
                return None
            step = Polynomial({monomial: _tidy(Fraction(rest.terms[first]) / other.terms[lead])})
            quotient, rest = quotient + step, rest - step * other
        return quotient

    # What it is made of -----------------------------------------------------------------------------------------

    def names(self) -> set[str]:
        """Names of the dims that it depends on."""
        found: set[str] = set()
        for atom in self.atoms():
            if isinstance(atom, str):
                found.add(atom)
            else:
                found.update(*(argument.names() for argument in atom.arguments))
        return found

    def atoms(self) -> set[Atom]:
        """Everything that stands in a monomial."""
        return {atom for monomial in self.terms for atom, _ in monomial}

    def degree(self, name: str) -> int:
        """The largest exponent of a dim; a division counts with the degree of what is divided."""

        def of(atom: Atom) -> int:
            if isinstance(atom, str):
                return int(atom == name)
            return atom.arguments[0].degree(name) if atom.function == "floordiv" else 0

        return max((sum(of(atom) * n for atom, n in monomial) for monomial in self.terms), default=0)

    def substituted(self, values: Mapping[str, Polynomial | Number]) -> Polynomial:
        """The polynomial with other polynomials or numbers in place of some dims."""
        result = ZERO
        for monomial, coefficient in self.terms.items():
            product = Polynomial.of(coefficient)
            for atom, exponent in monomial:
                product = product * _substituted(atom, values) ** exponent
            result = result + product
        return result

    def coefficients(self, name: str) -> dict[int, Polynomial]:
        """The polynomial as one in a single dim: exponent → what it is multiplied by."""
        parts: dict[int, dict[Monomial, Number]] = {}
        for monomial, coefficient in self.terms.items():
            exponent = next((n for atom, n in monomial if atom == name), 0)
            rest = tuple((atom, n) for atom, n in monomial if atom != name)
            parts.setdefault(exponent, {})[rest] = coefficient
        return {exponent: Polynomial(terms) for exponent, terms in sorted(parts.items())}

    def source(self) -> str:
        """The polynomial as an expression of Python in whole numbers."""
        if not self.terms:
            return "0"
        whole_by = lcm(*(Fraction(c).denominator for c in self.terms.values()))
        parts = []
        for monomial, coefficient in sorted(self.terms.items(), key=lambda term: _order(term[0]), reverse=True):
            number, sign = abs(int(coefficient * whole_by)), "-" if coefficient < 0 else ""
            factors = [str(number)] if monomial == () or number != 1 else []
            parts.append(sign + "*".join([*factors, *(_written(atom, n) for atom, n in monomial)]))
        text = " + ".join(parts).replace("+ -", "- ")
        return text if whole_by == 1 else f"({text})//{whole_by}"

    def __str__(self) -> str:
        return self.source()

    __repr__ = __str__


ZERO, ONE = Polynomial({}), Polynomial({(): 1})


def call(function: str, *arguments: Polynomial) -> Polynomial:
    """A function of polynomials; computed at once if all of them are numbers."""
    numbers = [argument.constant for argument in arguments]
    if all(number is not None for number in numbers):
        return Polynomial.of(FUNCTIONS[function][0](*(whole(number) for number in numbers if number is not None)))
    return Polynomial.atom(Call(function, arguments))


def floor_divided(numerator: Polynomial, denominator: Polynomial) -> Polynomial:
    """⌊numerator / denominator⌋: what divides without a rest is taken out, the remainder stays a call.

    The quotient of two counts is a count: where the division of polynomials leaves nothing, and the coefficients of
    the quotient are whole, no floor is needed.
    """
    exact = numerator.divided(denominator)
    if exact is not None and all(isinstance(c, int) for c in exact.terms.values()):
        return exact
    divisor = denominator.constant
    if isinstance(divisor, int) and divisor > 0:
        taken = {m: _tidy(Fraction(c) // divisor) for m, c in numerator.terms.items() if Fraction(c) % divisor == 0}
        rest = {m: c for m, c in numerator.terms.items() if m not in taken}
        if _divides(divisor, rest):
            return Polynomial({m: _tidy(Fraction(c) / divisor) for m, c in numerator.terms.items()})
        return Polynomial(taken) + _nested(Polynomial(rest), divisor)
    return call("floordiv", numerator, denominator)


MOST_RESIDUES = 1 << 10
"""How many residues are tried in a proof that a division leaves nothing."""


def _divides(divisor: int, terms: Mapping[Monomial, Number]) -> bool:
    """True if a number divides a polynomial of whole coefficients wherever its atoms are whole, as 2 does n² + n.

    What the polynomial leaves hangs on what its atoms leave: all of these are tried.
    """
    atoms = sorted({atom for monomial in terms for atom, _ in monomial}, key=str)
    if divisor ** len(atoms) > MOST_RESIDUES or not all(isinstance(c, int) for c in terms.values()):
        return False
    for values in product(range(divisor), repeat=len(atoms)):
        at = dict(zip(atoms, values, strict=True))
        if sum(c * prod(at[atom] ** n for atom, n in monomial) for monomial, c in terms.items()) % divisor:
            return False
    return True


def _nested(numerator: Polynomial, divisor: int) -> Polynomial:
    """⌊numerator / divisor⌋, where ⌊(⌊p / a⌋ + b) / c⌋ is ⌊(p + a·b) / (a·c)⌋."""
    inner = [(m, c) for m, c in numerator.terms.items() if m]
    if len(inner) == 1 and inner[0][1] == 1 and len(inner[0][0]) == 1:
        ((atom, exponent),) = inner[0][0]
        if exponent == 1 and isinstance(atom, Call) and atom.function == "floordiv":
            below = atom.arguments[1].constant
            if isinstance(below, int) and below > 0:
                shift = numerator.terms.get((), 0) * below
                return call("floordiv", atom.arguments[0] + shift, Polynomial.of(below * divisor))
    return call("floordiv", numerator, Polynomial.of(divisor))


def whole(value: Number) -> int:
    """A number that is known to be whole, as an int.

    Raises:
        ArithmeticError: it is none.
    """
    if isinstance(value, Fraction):
        if value.denominator != 1:
            raise ArithmeticError(f"{value} is no whole number")
        return value.numerator
    return value


def _tidy(value: Number) -> Number:
    return value.numerator if isinstance(value, Fraction) and value.denominator == 1 else value


def _summed(left: Mapping[Monomial, Number], right: Mapping[Monomial, Number], sign: int) -> Polynomial:
    terms = dict(left)
    for monomial, coefficient in right.items():
        total = terms.get(monomial, 0) + sign * coefficient
        if total:
            terms[monomial] = _tidy(total)
        else:
            terms.pop(monomial, None)
    return Polynomial(terms)


def _key(factor: tuple[Atom, int]) -> str:
    return str(factor[0])


@lru_cache(maxsize=1 << 16)
def multiplied(left: Monomial, right: Monomial) -> Monomial:
    """The product of two monomials."""
    if not left or not right:
        return left or right
    exponents = dict(left)
    for atom, exponent in right:
        exponents[atom] = exponents.get(atom, 0) + exponent
    return tuple(sorted(exponents.items(), key=_key))


def _quotient(top: Monomial, bottom: Monomial) -> Monomial | None:
    exponents = dict(top)
    for atom, exponent in bottom:
        exponents[atom] = exponents.get(atom, 0) - exponent
        if exponents[atom] < 0:
            return None
    return tuple((atom, n) for atom, n in exponents.items() if n)


def _order(monomial: Monomial) -> tuple[int, tuple[tuple[str, int], ...]]:
    """Graded, then by the exponents of the atoms: an order that multiplication respects."""
    return sum(n for _, n in monomial), _Reversed(tuple((str(atom), n) for atom, n in monomial))  # type: ignore[return-value]


@dataclass(frozen=True, slots=True)
class _Reversed:
    """Lexicographic order by exponents: the monomial with more of the first atom in which two differ is larger."""

    factors: tuple[tuple[str, int], ...]

    def __lt__(self, other: _Reversed) -> bool:
        mine, theirs = dict(self.factors), dict(other.factors)
        for atom in sorted({*mine, *theirs}):
            if mine.get(atom, 0) != theirs.get(atom, 0):
                return mine.get(atom, 0) < theirs.get(atom, 0)
        return False

    def __gt__(self, other: _Reversed) -> bool:
        return other < self


def _substituted(atom: Atom, values: Mapping[str, Polynomial | Number]) -> Polynomial:
    if isinstance(atom, str):
        return Polynomial.of(values[atom]) if atom in values else Polynomial.atom(atom)
    arguments = [argument.substituted(values) for argument in atom.arguments]
    if atom.function == "floordiv":
        return floor_divided(arguments[0], arguments[1])
    return call(atom.function, *arguments)


def _written(atom: Atom, exponent: int) -> str:
    base = atom if isinstance(atom, str) else f"({atom.source()})"
    return base if exponent == 1 else f"{base}**{exponent}"
