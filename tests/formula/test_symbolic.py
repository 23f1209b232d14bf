"""The ordinary rules on ints that stand for polynomials."""

from __future__ import annotations

from math import prod

from hypothesis import given
from hypothesis import strategies as st

from fxcost.formula.polynomial import Polynomial
from fxcost.formula.symbolic import Space, Symbolic, polynomial_of
from fxcost.rules import formulas

S, B = Polynomial.atom("S"), Polynomial.atom("B")


def space() -> Space:
    return Space({"S": 64, "B": 7}, {"S": 8, "B": 1})


def test_formulas_pass_them_through() -> None:
    """A formula of the rules, which knows nothing of this, gives the polynomial that is its own value everywhere."""
    room = space()
    n, rows = Symbolic(S, room), Symbolic(B * S, room)
    flops, exps = formulas.softmax(rows, n)
    for b, s in ((1, 8), (3, 9), (64, 4096)):
        assert (polynomial_of(flops)({"B": b, "S": s}), polynomial_of(exps)({"B": b, "S": s})) == formulas.softmax(
            b * s, s
        )
    assert not room.assumed  # max(n − 1, 0) is proven: n is 8 or more


def test_comparisons_that_are_not_proven_are_noted() -> None:
    """max(S, 100) is 100 at the witness, and everywhere if S ≤ 99: that is kept."""
    room = space()
    assert polynomial_of(max(Symbolic(S, room), 100)) == Polynomial.of(100)
    assert [str(p) for p in room.assumed] == ["-S + 99"]


def test_equal_means_equal_everywhere() -> None:
    """Two sizes that are equal at the witness by chance are not equal; a constant is a plain int."""
    room = Space({"S": 7, "B": 7}, {"S": 1, "B": 1})
    assert Symbolic(S, room) != Symbolic(B, room)
    assert Symbolic(S, room) != 7
    assert Symbolic(S, room) - Symbolic(S, room) == 0
    assert type(Symbolic(S, room) * 0) is int
    assert len({Symbolic(S, room), Symbolic(B, room), Symbolic(S, room)}) == 2


@given(st.integers(8, 500), st.integers(1, 60), st.integers(1, 9), st.integers(-5, 5))
def test_arithmetic_is_that_of_ints(s: int, b: int, n: int, c: int) -> None:
    """Products, quotients, remainders, powers and bit lengths, with ints on either side."""
    room = space()
    x, y = Symbolic(S, room), Symbolic(B, room)
    at = {"S": s, "B": b}
    cases = (
        (prod((x, y, n)), s * b * n),
        ((x * y + c) // n, (s * b + c) // n),
        (x % n, s % n),
        (c - x, c - s),
        (x**3, s**3),
        ((x * y) // y, s),
        (n * x - (-x), n * s + s),
        ((x - 1).bit_length(), (s - 1).bit_length()),
        (sum((x, y, c)), s + b + c),
        (2**x // 2, 2**s // 2),
    )
    for number, value in cases:
        assert polynomial_of(number)(at) == value
