"""How a number grows with one dim: the exponent, and where the largest power overtakes the one below it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from ..errors import FormulaError
from .polynomial import ZERO, Polynomial

if TYPE_CHECKING:
    import sympy

    from .expressions import Expressions


@dataclass(frozen=True)
class Growth:
    """A number as a polynomial in one dim: `parts` maps each exponent to the polynomial that its power is times.

    Of a maximum (a peak) it is the polynomial that prevails where the dim is large.
    """

    dim: str
    number: str
    parts: Mapping[int, Polynomial]

    @property
    def exponent(self) -> int:
        """The largest power of the dim."""
        return max(self.parts, default=0)

    @property
    def overtakes(self) -> sympy.Expr | None:
        """The size from which on the part of the largest power is more than that of the next one; None if it is alone.

        For FLOPs of a transformer over the sequence: where attention's products overtake the linear layers.
        """
        import sympy

        from .as_sympy import expression

        powers = sorted((n for n in self.parts if n), reverse=True)
        if len(powers) < 2:
            return None
        top, below = powers[:2]
        ratio = sympy.cancel(expression([self.parts[below]]) / expression([self.parts[top]]))
        return ratio if top - below == 1 else sympy.root(ratio, top - below)

    def share(self, exponent: int, **sizes: int) -> float:
        """The share that a power has of the number at a point (0 to 1)."""
        values = {n: Fraction(part(sizes)) * Fraction(sizes[self.dim]) ** n for n, part in self.parts.items()}
        total = sum(values.values())
        return float(values.get(exponent, Fraction(0)) / total) if total else 0.0

    def __str__(self) -> str:
        text = f"{self.number} grows as {self.dim}^{self.exponent}" if self.exponent else ""
        text = text or f"{self.number} does not depend on {self.dim}"
        at = self.overtakes
        if at is not None:
            below = sorted(n for n in self.parts if n)[-2]
            text += f"; {self.dim}^{self.exponent} overtakes {self.dim}^{below} at {self.dim} = {at}"
        return text

    def __repr__(self) -> str:
        return f"<Growth: {self}>"


def growth(formula: Expressions, dim: str, number: str) -> Growth:
    """How a number grows with a dim; :meth:`fxcost.formula.formula.Formula.growth` says more."""
    if dim not in formula.names:
        raise FormulaError(f"there is no open dim {dim!r}; there are {', '.join(formula.names)}")
    smooth = [_smooth(polynomial) for polynomial in formula.polynomials(number)]
    high = {name: sizes.high for name, sizes in formula.domain.items()}
    largest = max(smooth, key=lambda p: (p.degree(dim), p(high)))
    return Growth(dim, number, {n: part for n, part in largest.coefficients(dim).items() if part.terms})


def _smooth(polynomial: Polynomial) -> Polynomial:
    """Floors replaced by what they round: the same for large sizes."""
    result = ZERO
    for monomial, coefficient in polynomial.terms.items():
        product = Polynomial.of(coefficient)
        for atom, exponent in monomial:
            factor = Polynomial.atom(atom)
            if not isinstance(atom, str) and atom.function == "floordiv":
                factor = atom.arguments[0].divided(atom.arguments[1]) or factor
            product = product * factor**exponent
        result = result + product
    return result
