"""Which polynomials are never negative on a domain, and which of many can be the largest: proofs by coefficients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from math import comb

from .polynomial import Monomial, Number, Polynomial, multiplied


def never_negative(polynomial: Polynomial, low: Mapping[str, int]) -> bool:
    """True if it is proven that the polynomial is ≥ 0 wherever each dim is at least its `low`.

    Written in what the dims exceed their lower ends by, it has no negative coefficient. Calls are known to be ≥ 0 only
    where they stand for sizes: those of a dim or a size divided by a number.
    """
    if all(c > 0 for c in polynomial.terms.values()):
        return True
    atoms = polynomial.atoms()
    if not all(isinstance(atom, str) for atom in atoms):
        return False
    shifted: dict[Monomial, Number] = {}
    for monomial, coefficient in polynomial.terms.items():
        for power, factor in _expanded(monomial, tuple(low[atom] for atom, _ in monomial)):  # type: ignore[index]
            shifted[power] = shifted.get(power, 0) + coefficient * factor
    return all(c >= 0 for c in shifted.values())


@lru_cache(maxsize=1 << 14)
def _expanded(monomial: Monomial, lows: tuple[int, ...]) -> tuple[tuple[Monomial, int], ...]:
    """Π (low + t)ⁿ as a sum of monomials in t."""
    terms: dict[Monomial, int] = {(): 1}
    for (atom, exponent), low in zip(monomial, lows, strict=True):
        powers = [(((atom, k),) if k else (), comb(exponent, k) * low ** (exponent - k)) for k in range(exponent + 1)]
        grown: dict[Monomial, int] = {}
        for left, a in terms.items():
            for right, b in powers:
                key = multiplied(left, right)
                grown[key] = grown.get(key, 0) + a * b
        terms = grown
    return tuple(terms.items())


def undominated(polynomials: Iterable[Polynomial], low: Mapping[str, int]) -> tuple[Polynomial, ...]:
    """Those among polynomials that can be the largest somewhere on the domain: their maximum is that of all."""
    kept: list[Polynomial] = []
    for candidate in dict.fromkeys(polynomials):
        if any(never_negative(other - candidate, low) for other in kept):
            continue
        kept = [other for other in kept if not never_negative(candidate - other, low)]
        kept.append(candidate)
    return tuple(kept)
