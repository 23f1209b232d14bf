"""The report in a notebook: totals, and the module tree that folds, without a script.

Colours are the notebook's own: text inherits them, lines and bars are half transparent, so that light and dark themes
both read well, and styles stand on the elements, because notebooks on the web strip style sheets. Every text is
escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape

from ..memory.analysis import Analysis
from ..records.cost import Cost
from ..text import units
from ..text.words import printable, shortened
from ..totals.module_tree import ModuleCost
from ..totals.parameters import ParameterTotals
from .page.cards import cards
from .rows import own_label, run_label, runs_of
from .summary import caveats, header

MOST_MODULES = 300
"""Rows of the module tree; a report has more to offer than a notebook's output should hold."""
MOST_GROUPS = 15
_LINE = "1px solid rgba(128,128,128,.35)"
_BOX = "font:13px/1.45 system-ui,sans-serif;max-width:60em;color:inherit;background:none"
_CARD = f"border:{_LINE};border-radius:6px;padding:3px 10px;min-width:6.5em"
_FAINT = "opacity:.7;font-size:11px"
_COLUMNS = "grid-template-columns:minmax(7em,1fr) repeat(4,minmax(4.3em,6em));column-gap:.7em"
_ROW = f"display:inline-grid;{_COLUMNS};align-items:baseline;width:calc(100% - 20px)"
_LEAF = "padding-left:14px;margin-right:-14px"
"""A row that does not fold stands where it would beside a triangle, which is 14 pixels wide, and ends there too."""
_NUMBER = "text-align:right;font-variant-numeric:tabular-nums"
_NAME = "overflow:hidden;text-overflow:ellipsis;white-space:nowrap"
_INDENT = "margin-left:.55em;padding-left:.75em;border-left:" + _LINE


def to_notebook(report: Analysis) -> str:
    """The report as a fragment of HTML."""
    parts = [
        f'<div style="{_BOX}">',
        f'<div style="font-weight:600">{_text(header(report))}</div>',
        f'<div style="display:flex;flex-wrap:wrap;gap:6px;margin:6px 0">{"".join(_cards(report))}</div>',
        *_caveats(report),
        _headings("module"),
        *_tree(report),
        _folded("Operators", _headings("operator"), _groups(report)),
        "</div>",
    ]
    return "".join(parts)


def _text(text: str, width: int = 200) -> str:
    return escape(shortened(printable(text), width))


def _cards(report: Analysis) -> Iterator[str]:
    for card in cards(report):
        title = escape(f"{card.exact} · {' · '.join(card.notes)}".strip(" ·"))
        value = f'<b style="font-size:15px">{escape(card.value)}</b> {escape(card.unit)}'
        yield f'<div style="{_CARD}" title="{title}"><div style="{_FAINT}">{escape(card.label)}</div>{value}</div>'


def _caveats(report: Analysis) -> Iterator[str]:
    for name, text in caveats(report):
        yield f'<div style="{_FAINT}"><b>{escape(name)}</b>: {_text(text, 400)}</div>'


def _headings(first: str) -> str:
    names = "".join(f'<span style="{_NUMBER};{_FAINT}">{name}</span>' for name in ("params", "MACs", "FLOPs", "share"))
    return f'<div style="{_LEAF}"><span style="{_ROW}"><span style="{_FAINT}">{first}</span>{names}</span></div>'


def _line(report: Analysis, label: str, params: int | None, cost: Cost) -> str:
    """One row: its name, three numbers, and the share of the FLOPs as a bar."""
    counts = (units.NOTHING if n is None else units.count(n) for n in (params, cost.macs, cost.flops))
    cells = "".join(f'<span style="{_NUMBER}">{number}</span>' for number in counts)
    percent = 100 * cost.flops // report.flops if report.flops else 0
    bar = f"background:linear-gradient(90deg,rgba(66,146,198,.4) {percent}%,transparent {percent}%)"
    share = f'<span style="{_NUMBER};{bar}">{escape(units.percent(cost.flops, report.flops))}</span>'
    return f'<span style="{_ROW}"><span style="{_NAME}">{_text(label, 80)}</span>{cells}{share}</span>'


def _tree(report: Analysis) -> Iterator[str]:
    """The modules, each with its children and its own work folded inside: they add up to it.

    Neighbours that are alike stand in one row with their sum, and so do the modules inside them.
    """
    shown = 0
    stack: list[tuple[tuple[ModuleCost, ...], int] | str] = [((report.modules[""],), 1)]
    while stack:
        entry = stack.pop()
        if isinstance(entry, str):
            yield entry
            continue
        (module, *_), times = entry
        shown += 1
        if shown > MOST_MODULES:
            continue
        label = run_label(entry[0]) if module.name else report.model_type
        line = _line(report, label, module.parameters.params * times, module.cost * times)
        runs = runs_of([report.modules[child] for child in module.children], fold=True)
        if not runs:
            yield _leaf(line)
            continue
        yield f"<details{'' if module.name else ' open'}><summary>{line}</summary><div style='{_INDENT}'>"
        stack.append("</div></details>")
        if module.own != Cost() or module.own_parameters != ParameterTotals():
            stack.append(
                _leaf(_line(report, own_label(module), module.own_parameters.params * times, module.own * times))
            )
        stack.extend((run, times * len(run)) for run in reversed(runs))
    if shown > MOST_MODULES:
        more = f"{shown - MOST_MODULES} more modules: report.table(depth=…), report.to_html(path)"
        yield f'<div style="{_FAINT}">{more}</div>'


def _leaf(line: str) -> str:
    return f'<div style="{_LEAF}">{line}</div>'


def _groups(report: Analysis) -> Iterator[str]:
    """Operators by their FLOPs, the largest first."""
    ordered = sorted(report.operators, key=lambda entry: (-entry.cost.flops, -entry.cost.bytes_moved))
    for entry in ordered[:MOST_GROUPS]:
        yield _leaf(_line(report, f"{entry.name} ×{entry.count}", None, entry.cost))
    if len(ordered) > MOST_GROUPS:
        yield f'<div style="{_FAINT}">{len(ordered) - MOST_GROUPS} more: report.table(by="operator")</div>'


def _folded(title: str, head: str, lines: Iterable[str]) -> str:
    return f'<details style="margin-top:4px"><summary>{title}</summary>{head}{"".join(lines)}</details>'
