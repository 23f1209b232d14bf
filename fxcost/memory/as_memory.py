"""Memory as text: the totals, what is alive at the peak, and live bytes over the pass as a chart of blocks.

Sizes have binary units; columns say of each tensor where it was made.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from ..text import units
from ..text.choice import choose

if TYPE_CHECKING:
    from .lifetimes import LiveTensor
    from .memory import Memory

BLOCKS = " ▁▂▃▄▅▆▇█"
"""Eighths of a character's height."""

COLUMNS = ("node", "module", "operator", "tensor", "bytes", "share")


def memory_table(memory: Memory, top: int, format: str) -> str:  # noqa: A002
    """Totals of a forward pass, then the largest tensors at its peak.

    Raises:
        UnknownNameError: the format is not known.
    """
    heading = f"Alive at the peak of {units.byte_size(memory.peak_activation_bytes)} of activations"
    return "\n".join(
        [
            aligned(memory_facts(memory)),
            heading,
            tensor_table(memory.at_peak, memory.peak_activation_bytes, top, format),
        ]
    )


def memory_facts(memory: Memory) -> list[tuple[str, int | None]]:
    """Names and bytes of the totals."""
    return [
        ("Parameters", memory.parameter_bytes),
        ("Buffers", memory.buffer_bytes),
        ("Inputs", memory.input_bytes),
        ("Peak of activations", memory.peak_activation_bytes),
        ("Peak, graph order", memory.peak_bytes),
        ("Peak, eager Python", memory.peak_eager_bytes),
    ]


def aligned(entries: Iterable[tuple[str, int | None]]) -> str:
    """One line for each name and number of bytes; None stands for a number that is not known."""
    lines = [(name, units.NOTHING if n is None else units.byte_size(n)) for name, n in entries]
    width, right = max(len(name) for name, _ in lines), max(len(text) for _, text in lines)
    return "\n".join(f"{name:{width}}  {text:>{right}}" for name, text in lines)


def tensor_table(tensors: Sequence[LiveTensor], whole: int, top: int, format: str) -> str:  # noqa: A002
    """Tensors as a table, the rest of them as one row; shares are of `whole` bytes.

    Raises:
        UnknownNameError: the format is not known.
    """
    from tabulate import tabulate, tabulate_formats

    choose("table format", format, tabulate_formats)
    rows = [
        [t.node, t.module, t.operator, str(t.spec), units.byte_size(t.nbytes), units.percent(t.nbytes, whole)]
        for t in tensors[:top]
    ]
    if len(tensors) > top:
        rest = sum(t.nbytes for t in tensors[top:])
        rows.append(
            [
                "",
                "",
                "",
                units.plural(len(tensors) - top, "more tensor"),
                units.byte_size(rest),
                units.percent(rest, whole),
            ]
        )
    aligned_right = ("left", "left", "left", "left", "right", "right")
    return str(tabulate(rows, COLUMNS, format, colalign=aligned_right if rows else None, disable_numparse=True))


def chart(memory: Memory, width: int, height: int) -> str:
    """Activations over the nodes that run operators, `width` columns wide and `height` lines high.

    A column shows the most of its nodes; the top line is the peak.
    """
    levels = [moment.peak_bytes for moment in memory.timeline]
    return draw(levels, width, height, f"{units.plural(len(levels), 'node')} in order")


def draw(levels: Sequence[int], width: int, height: int, caption: str) -> str:
    """Numbers of bytes as columns of blocks, under a line that names the largest."""
    columns = _grouped(levels, max(width, 1))
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
