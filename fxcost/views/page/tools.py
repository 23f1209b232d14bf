"""Other tools' numbers for the page, each with the terms that lead to it from ours."""

from __future__ import annotations

from dataclasses import dataclass

from ...conventions import CONVENTIONS
from ...conventions.convention import Convention, ours
from ...conventions.reconcile import Reconciliation, reconcile
from ...conventions.seen import Seen
from ...errors import ConventionError
from ...totals.sums import Sums

OWN = ("macs", "flops")
"""Conventions that are our own totals."""


@dataclass(frozen=True, slots=True)
class ToolNumber:
    """What a tool prints for the model: its headline, its share of ours, and why; or its words of refusal."""

    name: str
    summary: str
    unit: str
    number: int = 0
    path: Reconciliation | None = None
    refusal: str = ""

    @property
    def share(self) -> float | None:
        """The tool's number as a share of ours; None where there is nothing to compare."""
        return self.number / self.path.ours if self.path is not None and self.path.ours else None


def tool_numbers(report: Sums) -> list[ToolNumber]:
    """Every convention's number, in the order in which conventions are listed."""
    seen = Seen(report)
    return [_number(seen, convention) for name, convention in CONVENTIONS.items() if name not in OWN]


def _number(seen: Seen, convention: Convention) -> ToolNumber:
    name, summary, unit = convention.name, convention.summary, convention.unit
    try:
        if ours(unit) is None:
            return ToolNumber(name, summary, unit, convention.count(seen))
        path = reconcile(seen, [convention])[0]
    except ConventionError as refusal:
        return ToolNumber(name, summary, unit, refusal=str(refusal))
    return ToolNumber(name, summary, unit, path.theirs, path)
