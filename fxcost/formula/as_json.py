"""Formulas as plain data, and back. Each polynomial is written once, and named by its place."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from ..errors import ReportFileError
from .as_text import written
from .domain import Domain
from .ledger import Key, Ledger
from .polynomial import FUNCTIONS, Atom, Call, Polynomial

if TYPE_CHECKING:
    from .expressions import Expressions


def packed(formula: Expressions) -> dict[str, Any]:
    """The domain, the numbers as text, and all that they are made of."""
    places: dict[Polynomial, int] = {}

    def place(polynomial: Polynomial) -> int:
        return places.setdefault(polynomial, len(places))

    entries = [[*key, place(polynomial)] for key, polynomial in formula.ledger.entries.items()]
    live = {name: [place(p) for p in polynomials] for name, polynomials in formula.ledger.live.items()}
    return {
        "dims": list(formula.names),
        "domain": formula.domain.to_dict(),
        "numbers": {name: written(formula, name) for name in formula.numbers},
        "model_type": formula.model_type,
        "parents": dict(formula.parents),
        "aliases": dict(formula.aliases),
        "missing": list(formula.missing),
        "entries": entries,
        "live": live,
        "polynomials": [_packed_terms(polynomial) for polynomial in places],
    }


def unpacked(data: Mapping[str, Any]) -> dict[str, Any]:
    """What formulas are made of, from what :func:`packed` gave.

    Raises:
        ReportFileError: it is broken.
    """
    try:
        polynomials = [_unpacked_terms(terms) for terms in data["polynomials"]]
        entries = {Key(*key): polynomials[place] for *key, place in data["entries"]}
        live = {name: tuple(polynomials[i] for i in places) for name, places in data["live"].items()}
        return {
            "domain": Domain.from_dict(data["domain"]),
            "ledger": Ledger(entries, live),
            "model_type": data["model_type"],
            "parents": data["parents"],
            "aliases": data["aliases"],
            "missing": tuple(data.get("missing", ())),
        }
    except (AttributeError, KeyError, IndexError, TypeError, ValueError, RecursionError) as error:
        raise ReportFileError(f"the formulas are broken ({type(error).__name__}: {error})") from error


def _packed_terms(polynomial: Polynomial) -> list[Any]:
    return [
        [c if isinstance(c, int) else str(c), *([_packed_atom(atom), n] for atom, n in monomial)]
        for monomial, c in polynomial.terms.items()
    ]


def _packed_atom(atom: Atom) -> Any:
    return atom if isinstance(atom, str) else [atom.function, *map(_packed_terms, atom.arguments)]


def _unpacked_terms(packed: list[Any]) -> Polynomial:
    terms = {}
    for coefficient, *monomial in packed:
        number = Fraction(coefficient)
        value = number.numerator if number.denominator == 1 else number
        terms[tuple((_unpacked_atom(atom), int(n)) for atom, n in monomial)] = value
    return Polynomial(terms)


def _unpacked_atom(packed: Any) -> Atom:
    if isinstance(packed, str):
        return packed
    function, *arguments = packed
    if function not in FUNCTIONS:
        raise ValueError(f"there is no function {function!r}")
    return Call(function, tuple(map(_unpacked_terms, arguments)))
