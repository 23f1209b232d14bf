"""Why a tool's number differs from ours: terms that lead from one to the other and add up exactly.

Each amount that a tool counts names the operations for which it stands. Such an operation belongs to the first amount
that names it; the difference between an amount and our count of its operations is a term, and so is what no amount
named. Nothing is left over, whatever the convention: the terms' sum is the tool's number minus ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import ConventionError
from ..errors.arguments import checked
from ..text.tables import tabulated
from .convention import Convention, ours
from .seen import Seen

if TYPE_CHECKING:
    pass

_FUSED = "PyTorch's fast path runs it as one operator, as nothing here asks for a gradient"
_SHOWN = 3
"""Patterns of modules that a printed term shows before it says how many modules more there are."""


@dataclass(frozen=True, slots=True)
class Term:
    """One reason for a difference. `family` is the kind of work, `modules` the FQNs concerned ("" is the root)."""

    family: str
    modules: tuple[str, ...]
    amount: int
    why: str

    @property
    def where(self) -> str:
        """The modules as patterns, numbers as `*`: "layer*.*.conv* (16)"."""
        return _named(self.modules)


@checked
@dataclass(frozen=True, slots=True)
class Reconciliation:
    """The way from our number to a tool's: `ours` + the terms' amounts = `theirs`. `unit` is "MACs" or "FLOPs"."""

    convention: str
    unit: str
    ours: int
    terms: tuple[Term, ...]
    theirs: int

    def table(self, format: str = "rounded_outline") -> str:  # noqa: A002  tabulate's users know it by this name
        """A table as text, in any format of tabulate."""
        lines = [(t.family, f"{t.amount:+,}", t.where, t.why) for t in self.terms]
        first = ("fxcost", f"{self.ours:,}", "", f"our {self.unit}")
        last = (self.convention, f"{self.theirs:,}", "", "the tool's number")
        headers = ("term", self.unit, "modules", "why")
        return tabulated([first, *lines, last], headers, "srlw", format, drop=("modules",))

    def __str__(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        terms = f"{len(self.terms)} term{'' if len(self.terms) == 1 else 's'}"
        return f"<Reconciliation: {self.convention} {self.theirs:,}, fxcost {self.ours:,} {self.unit}, {terms}>"

    def _repr_html_(self) -> str:
        from ..text.notebook import preformatted

        return preformatted(str(self))


@dataclass(frozen=True, slots=True)
class Reconciliations:
    """Several tools' ways, one after the other; prints as their tables."""

    tools: tuple[Reconciliation, ...]

    def __iter__(self) -> Iterator[Reconciliation]:
        return iter(self.tools)

    def __getitem__(self, position: int) -> Reconciliation:
        return self.tools[position]

    def __len__(self) -> int:
        return len(self.tools)

    def __str__(self) -> str:
        return "\n\n".join(map(str, self.tools))

    def __repr__(self) -> str:
        return f"<Reconciliations: {', '.join(tool.convention for tool in self.tools)}>"

    def _repr_html_(self) -> str:
        from ..text.notebook import preformatted

        return preformatted(str(self))


def reconcile(seen: Seen, conventions: Iterable[Convention]) -> Reconciliations:
    """The terms between a report's number and each convention's.

    Raises:
        ConventionError: a convention counts something that we have no counterpart of, or refuses the model.
    """
    return Reconciliations(tuple(_one(seen, convention) for convention in conventions))


def _one(seen: Seen, convention: Convention) -> Reconciliation:
    count = ours(convention.unit)
    if count is None:
        raise ConventionError(
            f"{convention.name!r} counts {convention.unit}, and only MACs and FLOPs can be reconciled; "
            "counts() has its figures"
        )
    seen = convention.sees(seen)
    base = [count(op) for _, op in seen.operations]
    left, theirs, terms = list(base), 0, _Terms()
    for counted in convention.counted(seen):
        start, stop = counted.span
        claimed = sum(left[start:stop])
        left[start:stop] = [0] * (stop - start)
        theirs += counted.amount
        terms.add(counted.family, counted.why, counted.module, counted.amount - claimed)
    for number, ((module, op), amount) in enumerate(zip(seen.operations, left, strict=True)):
        if amount and number in seen.hidden:
            terms.add(op.family or "uncosted", _FUSED, module, -amount)
        elif amount:
            kind = type(seen.modules[module]).__name__ if module in seen.modules else ""
            where = f" ({kind})" if kind and module else ""
            terms.add(op.family or "uncosted", convention.unseen + where, module, -amount)
    return Reconciliation(convention.name, convention.unit, sum(base), terms.finished(), theirs)


class _Terms:
    """Differences, added up by family and reason."""

    def __init__(self) -> None:
        self._amounts: dict[tuple[str, str], int] = {}
        self._modules: dict[tuple[str, str], dict[str, None]] = {}

    def add(self, family: str, why: str, module: str, amount: int) -> None:
        """A difference in one place."""
        if amount:
            self._amounts[family, why] = self._amounts.get((family, why), 0) + amount
            self._modules.setdefault((family, why), {})[module] = None

    def finished(self) -> tuple[Term, ...]:
        """Terms, the largest first."""
        made = [Term(f, tuple(self._modules[f, why]), a, why) for (f, why), a in self._amounts.items() if a]
        return tuple(sorted(made, key=lambda term: -abs(term.amount)))


def _named(modules: tuple[str, ...]) -> str:
    """Modules as patterns, numbers as `*`: "layer*.*.conv* (16)"."""
    patterns: dict[str, list[str]] = {}
    for name in modules:
        patterns.setdefault(re.sub(r"\d+", "*", name) or "the model", []).append(name)
    shown = [f"{p} ({len(names)})" if len(names) > 1 else names[0] or p for p, names in patterns.items()]
    rest = sum(len(names) for names in list(patterns.values())[_SHOWN:])
    return ", ".join(shown[:_SHOWN]) + (f", {rest} more" if rest else "")


def compared(seen: Seen, conventions: Iterable[Convention], format: str = "rounded_outline") -> str:  # noqa: A002
    """For each tool its figures and, where it counts MACs or FLOPs, the table that leads to its number, as text."""
    return "\n\n".join(_compared(seen, convention, format) for convention in conventions)


def _compared(seen: Seen, convention: Convention, format: str) -> str:  # noqa: A002
    try:
        figures = convention.counts(seen)
    except ConventionError as refusal:
        return f"{convention.name}: {refusal}"
    listed = ", ".join(
        f"{name} {value:,}" if isinstance(value, int) else f"{name} {value}" for name, value in figures.items()
    )
    first = f"{convention.name}: {listed}"
    return first if ours(convention.unit) is None else f"{first}\n{_one(seen, convention).table(format)}"
