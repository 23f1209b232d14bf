"""The rows of a sweep as a table and as CSV."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Callable, Iterable, Sequence
from io import StringIO
from typing import Any

from ..text import units
from ..text.choice import choose
from ..text.tables import HTML, tabulated
from ..text.words import printable, shortened
from .rows import Row

NAME_WIDTH, ERROR_WIDTH = 60, 60


def _seconds(value: float) -> str:
    return f"{value:.2f}"


def _words(value: Sequence[str]) -> str:
    return " ".join(value)


COLUMNS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "name": ("name", lambda name: shortened(name, NAME_WIDTH)),
    "model": ("model", str),
    "inputs": ("inputs", str),
    "capture": ("capture", str),
    "nodes": ("nodes", units.exact),
    "params": ("params", units.count),
    "macs": ("MACs", units.count),
    "flops": ("FLOPs", units.count),
    "transcendentals": ("transc.", units.count),
    "bytes": ("bytes", units.byte_size),
    "bytes_read": ("read", units.byte_size),
    "bytes_written": ("written", units.byte_size),
    "activations": ("activations", units.count),
    "peak_bytes": ("peak", units.byte_size),
    "training_flops": ("training FLOPs", units.count),
    "training_peak_bytes": ("training peak", units.byte_size),
    "build_s": ("build s", _seconds),
    "analysis_s": ("analysis s", _seconds),
    "seconds": ("seconds", _seconds),
    "uncosted": ("uncosted", _words),
    "assumptions": ("assumptions", _words),
    "error": ("error", lambda error: shortened(error, ERROR_WIDTH)),
}
"""Every column that a table can show: its heading, and how a value is written."""

DEFAULT = ("name", "capture", "nodes", "params", "macs", "flops", "bytes", "peak_bytes", "seconds")
LEAVING = (
    "seconds", "capture", "nodes", "bytes", "training_peak_bytes", "training_flops", "assumptions", "peak_bytes",
    "uncosted", "flops", "params", "macs",
)  # fmt: skip
"""In the order in which they leave a narrow table that nobody chose the columns of."""
SENTENCES = frozenset(("uncosted", "assumptions", "error"))
TEXT = frozenset(("name", "model", "inputs", "capture", "uncosted", "assumptions", "error"))


def table(
    rows: Sequence[Row],
    *,
    columns: Sequence[str] | None = None,
    sort: str | None = None,
    top: int | None = None,
    format: str = "rounded_outline",  # noqa: A002
) -> str:
    """A sweep as text; :meth:`fxcost.sweeps.Sweep.table` explains the arguments.

    Raises:
        UnknownNameError: a column or the format is not known.
    """
    as_text = format not in (*HTML, "tsv") and not format.startswith("latex")
    chosen = [choose("column", name, tuple(COLUMNS)) for name in columns or _said(rows, as_text)]
    shown = rows if sort is None else _sorted(rows, choose("column to sort by", sort, tuple(COLUMNS)))
    shown = shown if top is None else shown[:top]
    cells = [[_cell(row, name) for name in chosen] for row in shown]
    align = "".join("w" if name in SENTENCES else "l" if name in TEXT else "r" for name in chosen)
    drop = None if columns else [COLUMNS[name][0] for name in LEAVING]
    body = tabulated(cells, [COLUMNS[name][0] for name in chosen], align, format, drop=drop)
    failed = [f"{row.name}: {printable(row.error)}" for row in rows if row.error]
    if columns is not None or not failed or not as_text:
        return body
    return "\n".join([body, f"{len(failed)} of {units.plural(len(rows), 'item')} failed:", *failed])


def _said(rows: Sequence[Row], as_text: bool) -> list[str]:
    """The usual columns, and those that have something to say this time; errors have lines of their own in text."""
    more = ("training_flops", "training_peak_bytes", "uncosted", *(() if as_text else ("error",)))
    return [*DEFAULT, *(name for name in more if any(getattr(row, name) for row in rows))]


def _sorted(rows: Iterable[Row], column: str) -> list[Row]:
    """Largest first, text in alphabetical order; what failed comes last."""
    if column in TEXT:
        return sorted(rows, key=lambda row: str(getattr(row, column)))
    return sorted(rows, key=lambda row: -1 if getattr(row, column) is None else getattr(row, column), reverse=True)


def _cell(row: Row, name: str) -> str:
    value = getattr(row, name)
    return "" if value is None else printable(COLUMNS[name][1](value))


def to_csv(rows: Iterable[Any], row_type: type[Any]) -> str:
    """Dataclasses as CSV, their fields' names first; what has several parts is separated by " | "."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [field.name for field in dataclasses.fields(row_type) if field.name != "origin"]  # for a later run alone
    writer.writerow(names)
    for row in rows:
        values = (getattr(row, name) for name in names)
        writer.writerow([" | ".join(v) if isinstance(v, (tuple, list, dict)) else v for v in values])
    return text.getvalue()
