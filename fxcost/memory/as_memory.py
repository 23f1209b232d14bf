"""Memory as text: the totals, what is alive at the peak, and live bytes over the pass as a chart of blocks.

Sizes have binary units; columns say of each tensor where it was made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from ..text import units
from ..text.paper import at_most
from ..text.tables import tabulated
from .lifetimes import LiveTensor

BLOCKS = " ▁▂▃▄▅▆▇█"
"""Eighths of a character's height."""

COLUMNS = ("node", "module", "operator", "tensor", "bytes", "share")
LEAVING = ("operator", "module", "share", "tensor")
"""In the order in which they leave a narrow table."""


def memory_table(
    totals: Mapping[str, int | None],
    at_peak: Sequence[LiveTensor],
    activations: int,
    top: int,
    format: str,  # noqa: A002
) -> str:
    """Totals of a forward pass, then the largest tensors at its peak of so many bytes of activations.

    Raises:
        UnknownNameError: the format is not known.
    """
    heading = f"Alive at the peak of {units.byte_size(activations)} of activations"
    return "\n".join([aligned(totals), heading, tensor_table(at_peak, activations, top, format)])


def aligned(entries: Mapping[str, int | None]) -> str:
    """One line for each name and number of bytes; None stands for a number that is not known."""
    lines = [(name, units.NOTHING if n is None else units.byte_size(n)) for name, n in entries.items()]
    width, right = max(len(name) for name, _ in lines), max(len(text) for _, text in lines)
    return "\n".join(f"{name:{width}}  {text:>{right}}" for name, text in lines)


def tensor_table(tensors: Sequence[LiveTensor], whole: int, top: int, format: str) -> str:  # noqa: A002
    """Tensors as a table, the rest of them as one row; shares are of `whole` bytes.

    Raises:
        UnknownNameError: the format is not known.
    """
    rows = [
        (t.node, t.module, t.operator, str(t.spec), units.byte_size(t.nbytes), units.percent(t.nbytes, whole))
        for t in tensors[:top]
    ]
    if len(tensors) > top:
        rest, more = sum(t.nbytes for t in tensors[top:]), units.plural(len(tensors) - top, "more tensor")
        rows.append(("", "", "", more, units.byte_size(rest), units.percent(rest, whole)))
    return tabulated(rows, COLUMNS, "lllsrr", format, drop=LEAVING)


MOST_CHARACTERS = 1000
"""Columns or lines of a chart at most, however many are asked for."""


def chart(levels: Sequence[int], width: int, height: int, caption: str) -> str:
    """Numbers of bytes as blocks, `width` columns wide and `height` lines high, under a line that names the largest.

    A column shows the most of its neighbours; the top line is the peak.
    """
    width, height = (min(max(size, 1), MOST_CHARACTERS) for size in (at_most(width), height))
    columns = _grouped(levels, width)
    peak = max(columns, default=0)
    lines = [f"{units.byte_size(peak)} at most"]
    for line in range(height, 0, -1):
        eighths = [8 * height * level // peak - 8 * (line - 1) if peak else 0 for level in columns]
        lines.append("".join(BLOCKS[min(max(n, 0), 8)] for n in eighths).rstrip())
    lines.append("─" * len(columns))
    return "\n".join([*lines, caption])


def _grouped(levels: Sequence[int], width: int) -> list[int]:
    """At most `width` numbers, each the maximum of neighbours."""
    if len(levels) <= width:
        return list(levels)
    edges = [i * len(levels) // width for i in range(width + 1)]
    return [max(levels[start:stop]) for start, stop in pairwise(edges)]
