"""Exact interpolation: what it finds goes through every point, and what has no formula has none."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fxcost.formula.interpolation import Interpolation
from fxcost.formula.polynomial import Polynomial

B, S, H = (Polynomial.atom(name) for name in "BSH")
POINTS = [
    (8, 128),
    (1, 128),
    (64, 128),
    (43, 128),
    (8, 8),
    (8, 4096),
    (8, 2565),
    (64, 4096),
    (1, 8),
    (64, 8),
    (1, 4096),
]


@given(st.integers(-9, 9), st.integers(-9, 9), st.integers(-9, 9), st.integers(-9, 9))
def test_a_multilinear_size_is_found(a: int, b: int, c: int, d: int) -> None:
    """a + b·B + c·S + d·B·S, from values at the points that a search looks at."""
    wanted = a + b * B + c * S + d * B * S
    fitted = Interpolation(("B", "S"), POINTS)
    values = tuple(wanted({"B": p, "S": q}) for p, q in POINTS)
    assert fitted(values) == wanted  # type: ignore[arg-type]


def test_what_is_no_polynomial_has_no_formula() -> None:
    """Half of a size, rounded down, is none, nor is a size that is cut off."""
    fitted = Interpolation(("B", "S"), POINTS)
    assert fitted(tuple(s // 2 for _, s in POINTS)) is None
    assert fitted(tuple(min(s, 512) for _, s in POINTS)) is None
    assert fitted(tuple(b * s for b, s in POINTS)) == B * S
    assert fitted(tuple(b * s + (b == s == 8) for b, s in POINTS)) is None  # one value is off by one


def test_squares_need_a_degree() -> None:
    """S² is found where degree 2 is allowed, and only there."""
    values = tuple(b * s * s for b, s in POINTS)
    assert Interpolation(("B", "S"), POINTS)(values) is None
    assert Interpolation(("B", "S"), POINTS, degree=2)(values) == B * S * S


def test_something_must_be_left_to_check() -> None:
    """Through two points there is a line, but nothing says that it is one."""
    assert Interpolation(("S",), [(1,), (2,)])((5, 9)) is None
    assert Interpolation(("S",), [(1,), (2,), (7,)])((5, 9, 29)) == 4 * S + 1
    assert Interpolation(("S",), [(1,), (2,)], spare=0)((5, 9)) == 4 * S + 1
