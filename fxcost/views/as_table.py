"""Tables for terminals, notebooks and documents: rows from :mod:`.rows`, layout by the tabulate library."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from ..communication.communication import Communication
from ..memory.analysis import Analysis
from ..records.recording import TensorSpec
from ..text import units
from ..text.choice import choose
from ..text.tables import HTML, MARKDOWN, safe, tabulated
from ..text.words import printable, shortened
from ..totals.sums import Sums
from .rows import Row, module_rows, rows_of
from .summary import facts, header

Number = int | float | None
MOST_ROWS = 60
"""Rows that a printed report has at most, if fewer levels of modules make it so short."""
NAME_WIDTH, OPERATION_WIDTH = 44, 28


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its heading, the number that it sorts by, and how it is written (by default that number)."""

    heading: str
    value: Callable[[Row], Number | str]
    text: Callable[[int], str] = units.count


def _specs(specs: Sequence[TensorSpec], key: Callable[[TensorSpec], str]) -> str:
    """The first tensor, and how many follow it."""
    return key(specs[0]) + (f" +{len(specs) - 1}" if len(specs) > 1 else "") if specs else ""


def _shape(spec: TensorSpec) -> str:
    return units.shape(spec.shape)


def _elements(name: str) -> Callable[[Row], Number]:
    """A number of the row's parameters; None where it has none to speak of."""
    return lambda row: None if row.parameters is None else int(getattr(row.parameters, name))


COLUMNS: dict[str, Column] = {
    "name": Column("", lambda row: row.name),
    "type": Column("type", lambda row: row.type_name),
    "kind": Column("kind", lambda row: row.kind),
    "operation": Column("operation", lambda row: row.operation),
    "family": Column("family", lambda row: row.family),
    "module": Column("module", lambda row: row.module),
    "input": Column("input", lambda row: _specs(row.inputs, _shape)),
    "output": Column("output", lambda row: _specs(row.outputs, _shape)),
    "dtype": Column("dtype", lambda row: _specs(row.outputs[:1], lambda spec: spec.dtype_name)),
    "calls": Column("calls", lambda row: row.calls, units.exact),
    "params": Column("params", _elements("params")),
    "trainable_params": Column("trainable", _elements("trainable_params")),
    "buffers": Column("buffers", _elements("buffers")),
    "param_bytes": Column("param bytes", _elements("param_bytes"), units.byte_size),
    "macs": Column("MACs", lambda row: row.cost.macs),
    "flops": Column("FLOPs", lambda row: row.cost.flops),
    "share": Column("% FLOPs", lambda row: row.cost.flops),
    "other_flops": Column("other FLOPs", lambda row: row.cost.other_flops),
    "transcendentals": Column("transc.", lambda row: row.cost.transcendentals),
    "zero_accumulators": Column("zero acc.", lambda row: row.cost.zero_accumulators),
    "bytes": Column("bytes", lambda row: row.cost.bytes_moved, units.byte_size),
    "bytes_read": Column("read", lambda row: row.cost.bytes_read, units.byte_size),
    "bytes_written": Column("written", lambda row: row.cost.bytes_written, units.byte_size),
    "activations": Column("activations", lambda row: row.cost.activations),
    "intensity": Column("FLOPs/byte", lambda row: row.cost.arithmetic_intensity),
}
"""Every column that a table can show. Which of them say something depends on what the rows are."""

DEFAULT_COLUMNS = {
    "module": ("name", "output", "params", "macs", "flops", "share", "bytes"),
    "node": ("name", "operation", "output", "macs", "flops", "share", "bytes"),
    "operator": ("name", "calls", "macs", "flops", "transcendentals", "share", "bytes"),
    "family": ("name", "calls", "macs", "flops", "transcendentals", "share", "bytes"),
}
LEAVING = (
    "bytes_written", "bytes_read", "zero_accumulators", "dtype", "kind", "buffers", "activations", "intensity",
    "transcendentals", "other_flops", "bytes", "output", "input", "module", "family", "share", "operation", "type",
    "param_bytes", "trainable_params", "calls", "flops", "params", "macs",
)  # fmt: skip
"""The usual columns in the order in which they leave a table that must become narrower; the first goes first."""
WHOLE = frozenset(("input", "output", "dtype", "kind"))
"""Texts that say nothing if their middle is left out."""
TEXT_COLUMNS = frozenset(("name", "type", "kind", "operation", "family", "module", "input", "output", "dtype"))


def table(
    report: Analysis,
    *,
    by: str = "module",
    depth: int = 3,
    top: int | None = None,
    sort: str | None = None,
    columns: Sequence[str] | None = None,
    format: str = "rounded_outline",  # noqa: A002
    fold: bool = True,
    summary: bool = True,
) -> str:
    """A report as text; :meth:`fxcost.report.Report.table` explains the arguments.

    Raises:
        UnknownNameError: `by`, `sort`, `format` or a column is not known.
    """
    choose("table by", by, (*DEFAULT_COLUMNS, "collective"))
    if by == "collective":
        return _communication(report).table(20 if top is None else top, format)
    if sort is None and (top is not None or by in ("operator", "family")):
        sort = "flops"
    rows = rows_of(report, by, depth=depth, fold=fold and sort is None, tree=sort is None)
    if sort is not None:
        rows = _sorted(rows, choose("column to sort by", sort, tuple(COLUMNS)))
    shown = rows if top is None else rows[: max(top, 0)]
    body = laid_out(report, shown, by, columns, format)
    return _with_summary(report, body, format, len(shown), len(rows)) if summary else body


def printed(report: Sums, format: str = "rounded_outline") -> str:  # noqa: A002
    """The module table as deep, down to 3, as it stays short: what `print(report)` shows."""
    for depth in (3, 2, 1):
        rows = module_rows(report, depth=depth, fold=True)
        if len(rows) <= MOST_ROWS:
            break
    body = laid_out(report, rows[:MOST_ROWS], "module", None, format)
    return _with_summary(report, body, format, min(len(rows), MOST_ROWS), len(rows))


def laid_out(report: Sums, rows: Sequence[Row], by: str, columns: Sequence[str] | None, format: str) -> str:  # noqa: A002
    """Rows as a table alone. Columns that were asked for leave a narrow table last to first.

    Raises:
        UnknownNameError: the format or a column is not known.
    """
    chosen = [choose("column", name, tuple(COLUMNS)) for name in columns or DEFAULT_COLUMNS[by]]
    cells = [[_cell(report, row, name, format) for name in chosen] for row in rows]
    headings = [by if name == "name" else COLUMNS[name].heading for name in chosen]
    align = "".join(("s" if name in WHOLE else "l") if name in TEXT_COLUMNS else "r" for name in chosen)
    drop = None if columns else [COLUMNS[name].heading for name in LEAVING]
    return tabulated(cells, headings, align, format, indented=True, drop=drop)


def _sorted(rows: list[Row], column: str) -> list[Row]:
    """Largest first; text in alphabetical order."""
    value = COLUMNS[column].value
    if column in TEXT_COLUMNS:
        return sorted(rows, key=lambda row: str(value(row)))
    return sorted(rows, key=lambda row: value(row) or 0, reverse=True)


def _cell(report: Sums, row: Row, name: str, format: str) -> str:  # noqa: A002
    """One cell as text, safe in the table's format."""
    value = COLUMNS[name].value(row)
    if name == "name":
        return safe(row.indent + shortened(row.label, NAME_WIDTH - len(row.indent)), format)
    if name == "share":
        return units.percent(row.cost.flops, report.flops)
    if value is None:
        return ""
    if isinstance(value, str):
        return safe(shortened(value, OPERATION_WIDTH) if name == "operation" else value, format)
    return units.ratio(value) if isinstance(value, float) else COLUMNS[name].text(value)


def _communication(report: Analysis) -> Communication:
    return report.communication if report.training is None else report.training.communication


def _with_summary(report: Sums, body: str, format: str, shown: int, rows: int) -> str:  # noqa: A002
    """Put what was analysed above the table and the totals below it, in the table's own kind of markup."""
    entries = list(facts(report))
    if shown < rows:
        entries.insert(0, ("Rows", f"{shown:,} of {rows:,} shown"))
    if format in HTML:
        items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(printable(text))}</dd>" for name, text in entries)
        return f"<p>{escape(printable(header(report)))}</p>\n{body}\n<dl>{items}</dl>"
    if format in MARKDOWN:
        lines = [f"- {name + ': ' if name else ''}{safe(text, format)}" for name, text in entries]
        return "\n".join([safe(header(report), format), "", body, "", *lines])
    mark = {"tsv": "# "}.get(format, "% " if format.startswith("latex") else "")
    width = max(len(name) for name, _ in entries)
    lines = [f"{mark}{name:{width}}  {printable(text)}" for name, text in entries]
    return "\n".join([mark + printable(header(report)), body, *lines])
