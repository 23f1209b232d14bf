"""Throughput against latency, drawn with matplotlib (an extra: `pip install 'fxcost[plot]'`)."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike

from ..memory.as_plot import figure_and_axes, save
from .rows import Row


def plot_rows(rows_of_all: Sequence[Row], of: str, path: str | PathLike[str]) -> None:
    """Tokens a second of one request and of all together, a line for each context; what does not fit is hollow.

    Raises:
        MissingLibraryError, UnknownNameError, OSError: as of every picture.
    """
    figure, axes = figure_and_axes()
    for context in dict.fromkeys(row.context for row in rows_of_all):
        rows = sorted((row for row in rows_of_all if row.context == context), key=lambda row: row.batch)
        across = [row.tokens_per_s_per_user for row in rows]
        up = [row.tokens_per_s for row in rows]
        (line,) = axes.plot(across, up, "-", label=f"{context:,} tokens")
        for row in rows:
            face = line.get_color() if row.fits else "white"
            axes.plot(row.tokens_per_s_per_user, row.tokens_per_s, "o", color=line.get_color(), markerfacecolor=face)
            axes.annotate(f"{row.batch:,}", (row.tokens_per_s_per_user, row.tokens_per_s), (4, 4),
                          textcoords="offset points", fontsize=7)  # fmt: skip
    axes.set_xlabel("tokens a second for each request, at most")
    axes.set_ylabel("tokens a second together, at most")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_title(f"{of}; numbers are batches", fontsize=9)
    axes.legend(title="context", fontsize=8)
    save(figure, path)
