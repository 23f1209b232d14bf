"""A diff as text, as Markdown for a pull request, and as plain data.

Text shows the modules in which something changed, as a tree. Neighbours that are numbered in sequence and changed in
the same way are one row with their sum.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from ..text import units
from ..text.choice import choose
from ..text.tables import safe, tabulated
from ..text.words import shortened
from ..views.rows import run_name, stem_and_number
from ..views.summary import header
from .comparison import Comparison, Figures, ModuleChange

SCHEMA = "fxcost.diff/1"
"""Name and version of the layout of :func:`to_dict`."""
MOST_ROWS = 60
"""Rows of modules that a text shows at most."""
LABEL_WIDTH = 48
KINDS = ("added", "removed", "renamed", "retyped", "changed")

Writer = Callable[[int], str]
MEASURES: dict[str, tuple[str, Writer]] = {
    "params": ("parameters", units.count),
    "macs": ("MACs", units.count),
    "flops": ("FLOPs", units.count),
    "bytes": ("bytes moved", units.byte_size),
    "peak_memory": ("peak memory", units.byte_size),
    "sent": ("sent bytes", units.byte_size),
}
"""Heading and way of writing of each number."""


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the table: neighbours that changed alike."""

    label: str
    what: str
    change: Figures


def to_dict(diff: Comparison) -> dict[str, Any]:
    """The diff as plain data.

    `modules` is a list, parents before children; each entry names its parent by its position (-1 for the root), has
    its FQN and class `before` and `after` (null where it is not there), and its numbers `[before, after]` with its
    children (`figures`) and without them (`own`). `lines` is how a reader sees what changed: positions in `modules`,
    each with the name of the run of modules that it stands for, and how many these are with the runs around them.
    """
    return {
        "schema": SCHEMA,
        "before": _side(diff, 0),
        "after": _side(diff, 1),
        "totals": [{**asdict(total), "change": total.change} for total in diff.totals],
        "modules": [_module(row) for row in diff.rows],
        "lines": _folded(diff),
        "uncosted": {"before": diff.before.uncosted, "after": diff.after.uncosted},
    }


def to_json(diff: Comparison) -> str:
    """:func:`to_dict` as JSON text, ending in a newline."""
    return json.dumps(to_dict(diff), indent=1, ensure_ascii=False) + "\n"


def _side(diff: Comparison, side: int) -> dict[str, Any]:
    report = (diff.before, diff.after)[side]
    return {
        "name": diff.names[side],
        "type": report.model_type,
        "capture": report.capture,
        "title": header(report),
    }


def _title(diff: Comparison, side: int) -> str:
    """A side as the user named it, and what was analysed."""
    name, title = diff.names[side], header((diff.before, diff.after)[side])
    return f"{name}: {title}" if name else title


def _folded(diff: Comparison) -> list[dict[str, Any]]:
    tree = _Tree(diff.rows)
    lines: list[dict[str, Any]] = []
    stack = [(run, 1) for run in reversed(tree.runs(0))]
    while stack:
        run, times = stack.pop()
        times *= len(run)
        lines.append({"module": run[0], "name": run_name([_local(diff.rows[i]) for i in run]), "times": times})
        stack.extend((below, times) for below in reversed(tree.runs(run[0])))
    return lines


def _module(row: ModuleChange) -> dict[str, Any]:
    return {
        "name": row.name,
        "before": row.before,
        "after": row.after,
        "type_before": row.type_before,
        "type_after": row.type_after,
        "kind": row.kind,
        "parent": row.parent,
        "depth": row.depth,
        "figures": _pairs(row.was, row.is_now),
        "own": _pairs(row.own_was, row.own_now),
    }


def _pairs(was: Figures, now: Figures) -> dict[str, list[int]]:
    return {f.name: [getattr(was, f.name), getattr(now, f.name)] for f in fields(was)}


def one_line(diff: Comparison) -> str:
    """The diff in one line: how many modules changed how, and the change of MACs and parameters."""
    if not diff:
        return "no difference"
    counted = Counter(row.kind for row in diff.rows)
    modules = [f"{counted[kind]:,} {kind}" for kind in KINDS if counted[kind]]
    totals = [f"{MEASURES[t.name][0]} {signed(t.change, MEASURES[t.name][1])}" for t in diff.totals[:2]]
    return "; ".join([", ".join(totals), *([f"modules: {', '.join(modules)}"] if modules else [])])


def signed(n: int, write: Writer) -> str:
    """A change with its sign; "–" for none.

    >>> signed(1500, units.count), signed(-2048, units.byte_size), signed(0, units.count)
    ('+1.50 K', '-2.00 KiB', '–')
    """
    return units.NOTHING if n == 0 else f"{'+' if n > 0 else ''}{write(n)}"


def percent_change(change: int, before: int) -> str:
    """A change in percent of what was: one decimal, or two digits where it is less than a percent.

    >>> percent_change(5, 100), percent_change(-1, 4000), percent_change(0, 4), percent_change(3, 0)
    ('+5.0%', '-0.025%', '–', 'new')
    """
    if not change or not before:
        return "new" if change else units.NOTHING
    percent = 100 * change / before
    return f"{percent:+.1f}%" if abs(percent) >= 1 else f"{percent:+.2g}%"


def text(diff: Comparison, format: str, *, depth: int | None) -> str:  # noqa: A002
    """What is compared, the totals, then the modules that changed.

    Raises:
        UnknownNameError: there is no such format.
    """
    from tabulate import tabulate_formats

    choose("diff format", format, [*tabulate_formats, "markdown"])
    lines = [f"from  {_title(diff, 0)}", f"to    {_title(diff, 1)}", _totals(diff, format)]
    if not diff:
        return "\n".join([*lines, "no difference"])
    shown, hidden = _lines(diff, depth)
    if shown:
        lines.append(_modules(shown, format))
    if hidden:
        lines.append(f"{units.plural(hidden, 'row')} more")
    return "\n".join([*lines, *_caveats(diff)])


def markdown(diff: Comparison, *, depth: int | None) -> str:
    """A heading, the totals, and the modules in a fold: what a comment on a pull request can hold."""
    lines = [f"### Model cost: {_safe(one_line(diff))}", ""]
    lines += [f"{_safe(_title(diff, 0))} → {_safe(_title(diff, 1))}", "", _totals(diff, "github"), ""]
    shown, hidden = _lines(diff, depth)
    if shown:
        more = f", {hidden:,} not shown" if hidden else ""
        title = f"<summary>Modules that changed ({units.plural(len(shown), 'row')}{more})</summary>"
        lines += ["<details>", title, "", _modules(shown, "github"), "", "</details>", ""]
    return "\n".join([*lines, *(f"- {_safe(line)}" for line in _caveats(diff))]).rstrip() + "\n"


def _safe(text: str) -> str:
    return safe(text, "github").replace("\N{NO-BREAK SPACE}", " ")


def _caveats(diff: Comparison) -> list[str]:
    """What a reader must know before trusting the numbers."""
    sides = (("before", diff.before), ("after", diff.after))
    return [f"not costed {when}: {op} ({runs}×)" for when, report in sides for op, runs in report.uncosted.items()]


def _totals(diff: Comparison, format: str) -> str:  # noqa: A002
    rows = []
    for total in diff.totals:
        heading, write = MEASURES[total.name]
        rows.append([heading, write(total.before), write(total.after), signed(total.change, write)])
        rows[-1].append(percent_change(total.change, total.before))
    return _table(rows, ["", "before", "after", "change", "%"], format, ["%"], texts=1)


def _modules(lines: Sequence[Line], format: str) -> str:  # noqa: A002
    names = [f.name for f in fields(lines[0].change)]
    rows = [
        [line.label, line.what, *(signed(getattr(line.change, n), MEASURES[n][1]) for n in names)] for line in lines
    ]
    headers = ["module", "what", *(MEASURES[n][0] for n in names)]
    return _table(rows, headers, format, ["bytes moved", "FLOPs", "parameters"], texts=2)


def _table(rows: list[list[str]], headers: list[str], format: str, drop: Sequence[str], *, texts: int) -> str:  # noqa: A002
    cells = [[*(safe(cell, format) for cell in row[:texts]), *row[texts:]] for row in rows]
    return tabulated(cells, headers, "l" * texts + "r" * (len(headers) - texts), format, indented=True, drop=drop)


def _lines(diff: Comparison, depth: int | None) -> tuple[list[Line], int]:
    """The rows to show, at most `MOST_ROWS`, and how many are left out; no depth means the deepest that fits."""
    tree = _Tree(diff.rows)
    if depth is not None:
        lines = tree.lines(depth)
        return lines[:MOST_ROWS], max(len(lines) - MOST_ROWS, 0)
    deepest = max((diff.rows[i].depth for i in tree.shown), default=0)
    lines = []
    for level in range(1, deepest + 1):
        deeper = tree.lines(level)
        if level > 1 and len(deeper) > MOST_ROWS:
            break
        lines = deeper
    return lines[:MOST_ROWS], max(len(lines) - MOST_ROWS, 0)


class _Tree:
    """Rows in which something changed, below the root, with what makes two of them alike."""

    def __init__(self, rows: Sequence[ModuleChange]) -> None:
        self.rows = rows
        self.children: dict[int, list[int]] = {}
        self.shown: set[int] = set()
        self.likeness: dict[int, int] = {}
        kinds: dict[object, int] = {}
        for i in range(len(rows) - 1, 0, -1):  # children before parents
            row, below = rows[i], tuple(reversed(self.children.get(i, ())))
            self.children[i] = list(below)
            if not row.kind and not below and row.was == row.is_now:
                continue
            self.shown.add(i)
            self.children.setdefault(row.parent, []).append(i)
            if row.kind in ("added", "removed") and all(rows[child].kind == row.kind for child in below):
                self.children[i] = []  # the row says it all
            alike = tuple((_local(rows[child]), self.likeness[child]) for child in below)
            kind = (row.kind, row.type_before, row.type_after, row.was, row.is_now, alike)
            self.likeness[i] = kinds.setdefault(kind, len(kinds))
        self.children[0] = list(reversed(self.children.get(0, ())))

    def lines(self, depth: int) -> list[Line]:
        """The table down to `depth`."""
        lines: list[Line] = []
        stack = [(run, "", 1) for run in reversed(self.runs(0))]
        while stack:
            run, indent, times = stack.pop()
            times *= len(run)
            row = self.rows[run[0]]
            lines.append(Line(indent + self.label(run, LABEL_WIDTH - len(indent)), _what(row), _times(row, times)))
            if row.depth < depth:
                stack.extend((below, indent + "  ", times) for below in reversed(self.runs(run[0])))
        return lines

    def runs(self, parent: int) -> list[list[int]]:
        """Children that are shown; neighbours that are numbered in sequence and changed alike together."""
        runs: list[list[int]] = []
        for i in self.children.get(parent, ()):
            if runs and self.likeness[runs[-1][-1]] == self.likeness[i] and self.follows(runs[-1][-1], i):
                runs[-1].append(i)
            else:
                runs.append([i])
        return runs

    def follows(self, before: int, i: int) -> bool:
        """True for rows such as those of "block_2" and "block_3"."""
        stem, number = stem_and_number(_local(self.rows[before]))
        return number is not None and stem_and_number(_local(self.rows[i])) == (stem, number + 1)

    def label(self, run: Sequence[int], width: int) -> str:
        """Name and class, and how many rows are meant."""
        row = self.rows[run[0]]
        name = run_name([_local(self.rows[i]) for i in run])
        kind = f" ({row.type_after or row.type_before})" if row.type_after or row.type_before else ""
        return shortened(f"{name}{kind}{f' ×{len(run)}' if len(run) > 1 else ''}", width)


def _local(row: ModuleChange) -> str:
    return row.name.rpartition(".")[2]


def _what(row: ModuleChange) -> str:
    """What happened to a module itself, in words."""
    if row.kind == "renamed":
        return f"was {row.before}"
    if row.kind == "retyped":
        named = f"{row.before} " if row.moved else ""
        return f"was {named}{row.type_before}"
    return row.kind


def _times(row: ModuleChange, times: int) -> Figures:
    change = row.change
    return type(change)(**{f.name: getattr(change, f.name) * times for f in fields(change)})
