"""How wide the paper is that a text is written on: a terminal's columns, or no limit for files and pipes.

Whoever writes to a terminal says how wide it is around the call that makes the text; tables and charts fit themselves
to it then. Nobody else need know: text that goes to a file or a pipe has its full width.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from textwrap import wrap
from unicodedata import combining, east_asian_width

from .words import shortened

NARROWEST = 60
"""Columns for which texts are made to fit; on narrower terminals they are as for this one."""
NAME_FLOOR, TEXT_FLOOR, PROSE_FLOOR = 20, 12, 18
"""Columns down to which the first column, other names, and sentences are made narrower before a column goes."""

_WIDTH: ContextVar[int | None] = ContextVar("fxcost.paper", default=None)
_LABEL = re.compile(r"(?: *(?:[\w,/%:.-]+ )*[\w,/%:.-]+ {2,}| *[-•] | *(?:= )?)(?=\S)")


@contextmanager
def paper(width: int | None) -> Iterator[None]:
    """Within, texts are for paper of so many columns; None stands for any number."""
    token = _WIDTH.set(None if width is None else max(width, NARROWEST))
    try:
        yield
    finally:
        _WIDTH.reset(token)


def paper_width() -> int | None:
    """Columns of the paper; None if there is no limit."""
    return _WIDTH.get()


def at_most(width: int) -> int:
    """`width`, or the paper's if that is less."""
    limit = _WIDTH.get()
    return width if limit is None else min(width, limit)


def cells_of(text: str) -> int:
    """How many columns of a terminal a text takes.

    >>> cells_of("abc"), cells_of("模型")
    (3, 4)
    """
    if text.isascii():
        return len(text)
    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def reflowed(text: str, width: int) -> str:
    """Text of which no line is wider; lines that are go on below their own text, after the label.

    >>> print(reflowed("MACs    one two three four five", 20))
    MACs    one two
            three four
            five
    """
    return "\n".join(line for whole in text.split("\n") for line in _reflowed(whole, width))


def _reflowed(line: str, width: int) -> list[str]:
    if cells_of(line) <= width:
        return [line]
    found = _LABEL.match(line)
    label = found[0] if found is not None and len(found[0]) <= width // 2 else ""
    together = re.sub(r"(?<=\d) (?=\S)", "\N{NO-BREAK SPACE}", line[len(label) :])  # a number with its unit
    room = width if cells_of(line) == len(line) else width // 2  # each sign may take two columns
    lines = wrap(
        together, room, initial_indent=label, subsequent_indent=" " * (len(label) or 2), break_on_hyphens=False
    )
    return [part.replace("\N{NO-BREAK SPACE}", " ") for part in lines] or [line[:width]]


class Squeezed:
    """Rows of a table that is to become narrower: names are shortened, sentences wrapped, at last columns left out.

    `align` has a letter for each column: "l" for names, which may be shortened, "w" for sentences, which may be
    wrapped, "s" for texts and "r" for numbers that stay whole. `drop` has the positions of columns that may go, the
    first first.
    """

    def __init__(self, rows: Sequence[Sequence[str]], headings: Sequence[str], align: str, drop: Sequence[int]) -> None:
        self.rows, self.headings, self.align, self.drop = rows, headings, align, list(drop)
        self.kept = list(range(len(headings)))
        self.widths = [max([cells_of(h), *(cells_of(row[i]) for row in rows)]) for i, h in enumerate(headings)]

    @property
    def left_out(self) -> list[str]:
        """Headings of the columns that went."""
        return [heading for i, heading in enumerate(self.headings) if i not in self.kept]

    def narrower(self, excess: int) -> bool:
        """Make it narrower by `excess` columns, or by one column of the table; False if nothing more can be done."""
        floors = {i: self._floor(i) for i in self.kept if self.align[i] in "lw"}
        slack = sum(self.widths[i] - floor for i, floor in floors.items())
        droppable = [i for i in self.drop if i in self.kept and len(self.kept) > 2]
        if slack < excess and droppable:
            self.kept.remove(droppable[0])
            return True
        self._squeeze(floors, min(excess, slack))
        return slack > 0

    def _floor(self, i: int) -> int:
        first = self.kept[0] == i
        floor = NAME_FLOOR if first else PROSE_FLOOR if self.align[i] == "w" else TEXT_FLOOR
        return min(self.widths[i], max(floor, cells_of(self.headings[i]) + 2))

    def _squeeze(self, floors: dict[int, int], excess: int) -> None:
        """Take `excess` away, always from the widest."""
        for _ in range(excess):
            self.widths[max(floors, key=lambda i: (self.widths[i] > floors[i], self.widths[i]))] -= 1

    def cells(self) -> list[list[str]]:
        """The rows as they are now."""
        return [[self._cell(row[i], i) for i in self.kept] for row in self.rows]

    def _cell(self, text: str, i: int) -> str:
        width = self.widths[i]
        if self.align[i] not in "lw" or cells_of(text) <= width:
            return text
        if self.align[i] == "w":
            return "\n".join(wrap(text, width))
        return shortened(text, width - (cells_of(text) - len(text)))


def among(headings: Sequence[str], drop: Collection[str] | None) -> list[int]:
    """Positions of the columns that may be left out: those named, in that order; by default the last first."""
    if drop is None:
        return list(range(len(headings) - 1, 0, -1))
    return [i for name in drop for i, heading in enumerate(headings) if i and heading == name]
