"""Ints that stand for polynomials, so that the ordinary rules compute formulas without knowing it.

A :class:`Symbolic` is an int, its value at one point of the domain (the *witness*), and carries the polynomial that it
is everywhere. Rules add, multiply and divide it as they do any size. Where they compare sizes (`max(n - 1, 0)`), the
answer is that at the witness, and the :class:`Space` keeps what was assumed: it holds everywhere, or no formula does.

What a rule computes by other means (`math.gcd`, a float) is a plain number, which is that of the witness alone. So
whoever prices symbolic records compares the result with prices on plain ints at other points (`lift.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .bounds import never_negative
from .polynomial import Polynomial, call, floor_divided, whole


class Space:
    """The dims: a point at which comparisons are answered, the lower ends, and what the answers assume."""

    def __init__(self, witness: Mapping[str, int], low: Mapping[str, int]) -> None:
        self.witness, self.low = witness, low
        self.assumed: dict[Polynomial, None] = {}
        """Polynomials that were taken to be ≥ 0, and could not be proven so."""

    def number(self, polynomial: Polynomial) -> int:
        """A polynomial as an int: a plain one if it is constant."""
        constant = polynomial.constant
        return whole(constant) if constant is not None else Symbolic(polynomial, self)

    def at_least_zero(self, difference: Polynomial) -> bool:
        """Whether a difference is ≥ 0: as it is at the witness, which is noted unless it is proven for all points."""
        answer = difference(self.witness) >= 0
        held = difference if answer else -1 - difference
        if not never_negative(held, self.low):
            self.assumed[held] = None
        return answer


class Symbolic(int):
    """An int that stands for a polynomial in dims."""

    polynomial: Polynomial
    space: Space

    def __new__(cls, polynomial: Polynomial, space: Space) -> Symbolic:
        """The int is the polynomial's value at the witness."""
        self = super().__new__(cls, whole(polynomial(space.witness)))
        self.polynomial, self.space = polynomial, space
        return self

    def __reduce__(self) -> tuple[type[int], tuple[int]]:
        return int, (int(self),)

    def __eq__(self, other: object) -> bool:
        """Equal everywhere."""
        return isinstance(other, Symbolic) and self.polynomial == other.polynomial

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self.polynomial)

    def __bool__(self) -> bool:
        return not self.space.at_least_zero(-self.polynomial)

    def __neg__(self) -> int:
        return self.space.number(-self.polynomial)

    def __lt__(self, other: Any) -> bool:
        return not self >= other if isinstance(other, int) else NotImplemented

    def __gt__(self, other: Any) -> bool:
        return not self <= other if isinstance(other, int) else NotImplemented

    def __ge__(self, other: Any) -> bool:
        if not isinstance(other, int):
            return NotImplemented
        return self.space.at_least_zero(self.polynomial - polynomial_of(other))

    def __le__(self, other: Any) -> bool:
        if not isinstance(other, int):
            return NotImplemented
        return self.space.at_least_zero(polynomial_of(other) - self.polynomial)

    def bit_length(self) -> int:
        """As of any int."""
        return self.space.number(call("bit_length", self.polynomial))

    def kept(self, function: str, numbers: tuple[int, ...]) -> int:
        """A function that is no polynomial, kept as it is; `rules/formulas/whole.py` asks."""
        return self.space.number(call(function, *map(polynomial_of, numbers)))


def polynomial_of(number: int) -> Polynomial:
    """The polynomial that a number is: a constant for a plain int."""
    return number.polynomial if isinstance(number, Symbolic) else Polynomial.of(int(number))


def _remainder(left: Polynomial, right: Polynomial) -> Polynomial:
    return left - right * floor_divided(left, right)


def _power(left: Polynomial, right: Polynomial) -> Polynomial:
    exponent = right.constant
    return left ** whole(exponent) if exponent is not None else call("power", left, right)


def _operation(compute: Callable[[Polynomial, Polynomial], Polynomial], reflected: bool) -> Callable[..., Any]:
    def method(self: Symbolic, other: Any) -> Any:
        if not isinstance(other, int):
            return NotImplemented
        mine, theirs = self.polynomial, polynomial_of(other)
        return self.space.number(compute(theirs, mine) if reflected else compute(mine, theirs))

    return method


for _name, _compute in (
    ("add", Polynomial.__add__),
    ("sub", Polynomial.__sub__),
    ("mul", Polynomial.__mul__),
    ("floordiv", floor_divided),
    ("mod", _remainder),
    ("pow", _power),
):
    setattr(Symbolic, f"__{_name}__", _operation(_compute, False))
    setattr(Symbolic, f"__r{_name}__", _operation(_compute, True))
