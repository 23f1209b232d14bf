"""Tables, laid out by the tabulate library, and lines of facts around them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from .choice import choose
from .paper import Squeezed, among, cells_of, paper_width
from .words import printable

HTML = ("html", "unsafehtml")
MARKDOWN = ("github", "pipe")
FOR_PEOPLE = frozenset((
    "plain", "simple", "grid", "simple_grid", "rounded_grid", "heavy_grid", "mixed_grid", "double_grid", "fancy_grid",
    "colon_grid", "outline", "simple_outline", "rounded_outline", "heavy_outline", "mixed_outline", "double_outline",
    "fancy_outline", "presto", "pretty", "psql",
))  # fmt: skip
"""Formats that are for reading at a terminal. The others are markup, which is copied from there."""
MARKDOWN_SIGNS = re.compile(r"[\\`*|<\[\]]|(?<!\w)_|_(?!\w)")
ALIGNED = {"l": "left", "s": "left", "w": "left", "r": "right"}


def tabulated(
    rows: Iterable[Sequence[str]],
    columns: Sequence[str],
    align: str,
    format: str,  # noqa: A002  tabulate's users know it by this name
    *,
    indented: bool = False,
    drop: Sequence[str] | None = None,
) -> str:
    """A table in a format of tabulate, which fits the paper (:func:`fxcost.text.paper.paper`).

    Args:
        rows: the cells.
        columns: the headings.
        align: a letter for each column: "r" for right; on the left stand "l" names, which are shortened in the middle
            where the paper is narrow, "w" sentences, which are wrapped there, and "s" what stays as it is.
        format: one of tabulate's. Those that programs read are never made narrower.
        indented: spaces at the start of a cell stay.
        drop: headings of columns that may be left out where the paper is narrow, the first first; by default all but
            the first column, the last first. What was left out is said below the table.

    Raises:
        UnknownNameError: the format is not known.
    """
    from tabulate import tabulate, tabulate_formats

    choose("table format", format, tabulate_formats)
    cells: list[Sequence[str]] = list(rows)
    headings, letters = list(columns), align

    def written() -> str:
        colalign = [ALIGNED[letter] for letter in letters] if cells else None
        return str(
            tabulate(cells, headings, format, colalign=colalign, disable_numparse=True, preserve_whitespace=indented)
        )

    text, width = written(), paper_width()
    if width is None or format not in FOR_PEOPLE or _widest(text) <= width:
        return text
    squeezed = Squeezed(cells, headings, align, among(columns, drop))
    while (excess := _widest(text) - width) > 0 and squeezed.narrower(excess):
        cells = [*squeezed.cells()]
        headings = [columns[i] for i in squeezed.kept]
        letters = "".join(align[i] for i in squeezed.kept)
        text = written()
    said = ", ".join(squeezed.left_out)
    return f"{text}\n({said} not shown: {width} columns)" if said else text


def _widest(text: str) -> int:
    return max(map(cells_of, text.splitlines()), default=0)


def labelled(facts: Iterable[tuple[str, str]]) -> str:
    """One line for each fact, texts below each other."""
    lines = list(facts)
    width = max(len(name) for name, _ in lines)
    return "\n".join(f"{name:{width}}  {text}" for name, text in lines)


def safe(text: str, format: str) -> str:  # noqa: A002
    """`text` on one line, with what the format would take for markup escaped."""
    text = printable(text)
    if format in MARKDOWN:
        text = MARKDOWN_SIGNS.sub(r"\\\g<0>", text)
    return text.replace(" ", "\N{NO-BREAK SPACE}") if format in (*MARKDOWN, *HTML) else text
