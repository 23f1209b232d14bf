"""Other tools' numbers for the page, each with the terms that lead to it from ours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...conventions import CONVENTIONS
from ...conventions.convention import Convention, ours
from ...errors import ConventionError

if TYPE_CHECKING:
    from ...conventions.reconcile import Reconciliation
    from ...report import Report

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


def tool_numbers(report: Report) -> list[ToolNumber]:
    """Every convention's number, in the order in which conventions are listed."""
    return [_number(report, convention) for name, convention in CONVENTIONS.items() if name not in OWN]


def _number(report: Report, convention: Convention) -> ToolNumber:
    name, summary, unit = convention.name, convention.summary, convention.unit
    try:
        if ours(unit) is None:
            return ToolNumber(name, summary, unit, report.count(convention))
        path = report.reconcile(convention)[0]
    except ConventionError as refusal:
        return ToolNumber(name, summary, unit, refusal=str(refusal))
    return ToolNumber(name, summary, unit, path.theirs, path)
