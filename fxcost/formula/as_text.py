"""Formulas as text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from .expressions import Expressions
from .polynomial import Atom, Monomial, Polynomial

SHOWN = ("macs", "flops", "bytes", "params", "activations", "peak_bytes", "backward_macs", "saved_bytes")
SHOWN_OF_TRAINING = ("training_peak_bytes",)


def table(formula: Expressions, numbers: Sequence[str] | None = None) -> str:
    """Each number with its formula, then the domain."""
    wanted = numbers or [name for name in (*SHOWN, *SHOWN_OF_TRAINING) if name in formula.numbers]
    width = max(map(len, wanted))
    lines = [f"{name:<{width}} = {written(formula, name)}" for name in wanted]
    return "\n".join([f"{formula.model_type}, in {', '.join(formula.names)}", *lines, "", str(formula.domain)])


def written(formula: Expressions, number: str) -> str:
    """A number as people write it: `12·B·L·S·d² + 2·B·L·S²·d`."""
    texts = [pretty(polynomial) for polynomial in formula.polynomials(number)]
    return texts[0] if len(texts) == 1 else f"max({', '.join(texts)})"


def pretty(polynomial: Polynomial) -> str:
    """A polynomial with dots, raised numbers and floors."""
    terms = sorted(polynomial.terms.items(), key=lambda term: _order(term[0]))
    parts: list[str] = []
    for monomial, coefficient in terms:
        number = abs(Fraction(coefficient))
        factors = [str(number)] if number != 1 or not monomial else []
        factors.extend(_atom(atom) + (str(n).translate(_RAISED) if n > 1 else "") for atom, n in monomial)
        sign = "-" if coefficient < 0 else "+"
        parts.append(f" {sign} {'·'.join(factors)}" if parts else f"{'-' if sign == '-' else ''}{'·'.join(factors)}")
    return "".join(parts) or "0"


_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def _order(monomial: Monomial) -> tuple[int, str]:
    return -sum(n for _, n in monomial), str(monomial)


def _atom(atom: Atom) -> str:
    if isinstance(atom, str):
        return atom
    arguments = [pretty(argument) for argument in atom.arguments]
    if atom.function == "floordiv":
        held = [f"({text})" if " " in text else text for text in arguments]
        return f"⌊{held[0]}/{held[1]}⌋"
    if atom.function == "power":
        return f"({arguments[0]})^({arguments[1]})"
    return f"{atom.function}({', '.join(arguments)})"
