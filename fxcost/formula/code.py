"""Polynomials as Python functions on plain ints, and their source."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from .polynomial import Call, Polynomial

_IMPORTS = {"gcd": "from math import gcd", "distinct": "from fxcost.rules.formulas import distinct"}
"""What the source of a function needs."""


def compiled(formulas: Mapping[str, Iterable[Polynomial]], names: Iterable[str]) -> Callable[..., Any]:
    """A Python function of dims, by position, that gives a tuple: for each formula the maximum of its polynomials."""
    return _executed(source_of(formulas, names))


def source_of(formulas: Mapping[str, Iterable[Polynomial]], names: Iterable[str]) -> str:
    """The source of :func:`compiled`; what stands in many formulas, a call, is computed once."""
    lists = {name: list(polynomials) for name, polynomials in formulas.items()}
    texts = {name: _maximum(polynomials) for name, polynomials in lists.items()}
    lines = [f"def costs({', '.join(names)}):"]
    calls = dict.fromkeys(atom.source() for ps in lists.values() for p in ps for atom in _calls(p))
    for i, text in enumerate(sorted(calls, key=len, reverse=True)):
        texts = {name: t.replace(f"({text})", f"_{i}") for name, t in texts.items()}
        lines.append(f"    _{i} = {text}")
    before = [text for name, text in _IMPORTS.items() if any(f"{name}(" in line for line in (*lines, *texts.values()))]
    return "\n".join([*before, *lines, "    return (", *(f"        {text}," for text in texts.values()), "    )\n"])


def _calls(polynomial: Polynomial) -> Iterator[Call]:
    return (atom for atom in polynomial.atoms() if isinstance(atom, Call))


def _maximum(polynomials: list[Polynomial]) -> str:
    texts = [p.source() for p in polynomials]
    return texts[0] if len(texts) == 1 else f"max({', '.join(texts)})"


def _executed(source: str) -> Callable[..., Any]:
    space: dict[str, Any] = {}
    exec(source, space)
    function: Callable[..., Any] = space["costs"]
    return function
