"""How an operation's numbers came about, for the page: its rule, and each number's formula with the sizes put in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...explain.derivation import Function, Term
from ...explain.explanation import HEADINGS, Operation
from ...text import units

EXPLAINED = ("macs", "other_flops", "transcendentals", "bytes_read", "bytes_written")
"""The numbers whose formulas the page shows."""


def explained(operation: Operation) -> list[Any]:
    """[rule, where it stands, what its author says, expression per element, [heading, number, lines, source] …]."""
    rule = operation.rule
    named = [rule.name, _place(rule), rule.summary] if rule is not None else ["", "", ""]
    terms = [_term(term) for term in operation.terms if term.name in EXPLAINED]
    return [*named, operation.expression, terms]


def _place(function: Function) -> str:
    return f"{function.file}:{function.line}" if function.file else ""


def _term(term: Term) -> list[Any]:
    source = term.function.source if term.function is not None else ""
    return [HEADINGS[term.name], units.exact(term.value), list(_lines(term)), source]


def _lines(term: Term) -> Iterator[str]:
    """The formula in names and in numbers, then what the names stand for, those that were computed below."""
    value = units.exact(term.value)
    yield from (f"= {text}" for text in (term.formula, term.numbers) if text not in ("", value))
    stack, seen = list(reversed(term.where)), set()
    sizes = []
    while stack:
        below = stack.pop()
        if (below.name, below.value) in seen:
            continue
        seen.add((below.name, below.value))
        if below.where:
            steps = [text for text in (below.formula, below.numbers) if text]
            yield " = ".join([f"{below.name}", *steps, units.exact(below.value)])
            stack.extend(reversed(below.where))
        elif below.formula not in ("", below.name):
            sizes.append(f"{below.name} = {below.formula}")
    if sizes:
        yield f"with {', '.join(sizes)}"
