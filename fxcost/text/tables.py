"""Tables, laid out by the tabulate library, and lines of facts around them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from .choice import choose
from .words import printable

HTML = ("html", "unsafehtml")
MARKDOWN = ("github", "pipe")
MARKDOWN_SIGNS = re.compile(r"[\\`*|<\[\]]|(?<!\w)_|_(?!\w)")
ALIGNED = {"l": "left", "r": "right"}


def tabulated(
    rows: Iterable[Sequence[str]],
    columns: Sequence[str],
    align: str,
    format: str,  # noqa: A002  tabulate's users know it by this name
    *,
    indented: bool = False,
) -> str:
    """A table in a format of tabulate; `align` has a letter for each column, "l" for left and "r" for right.

    With `indented`, spaces at the start of a cell stay.

    Raises:
        UnknownNameError: the format is not known.
    """
    from tabulate import tabulate, tabulate_formats

    choose("table format", format, tabulate_formats)
    cells = list(rows)
    colalign = [ALIGNED[letter] for letter in align] if cells else None
    return str(tabulate(cells, columns, format, colalign=colalign, disable_numparse=True, preserve_whitespace=indented))


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
