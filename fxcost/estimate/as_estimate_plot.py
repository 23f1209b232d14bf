"""An estimate as a picture: a bar for each kind of kernel, by what bounds it (an extra: `fxcost[plot]`)."""

from __future__ import annotations

from os import PathLike
from typing import Any

from ..memory.as_plot import figure_and_axes, save
from ..text import units

COLOURS = {"compute": "#4c78a8", "memory": "#f58518", "launch": "#bab0ac", "": "#bab0ac"}


def plot_estimate(estimate: Any, path: str | PathLike[str]) -> None:
    """Draw an estimate into a file; the ending of its name says the format.

    Raises:
        MissingLibraryError, UnknownNameError, OSError: as for :func:`fxcost.memory.as_plot.save`.
    """
    figure, axes = figure_and_axes()
    kinds = list(estimate.by_kind())[::-1]
    start = dict.fromkeys(kinds, 0.0)
    for bound, colour in COLOURS.items():
        times = dict.fromkeys(kinds, 0.0)
        for node in estimate.nodes:
            if node.seconds and node.bound == bound:
                times[node.kind] += node.seconds
        if any(times.values()):
            values = [1e3 * times[kind] for kind in kinds]
            left = [1e3 * start[kind] for kind in kinds]
            axes.barh([kind or "host" for kind in kinds], values, left=left, color=colour, label=bound or "launch")
            start = {kind: start[kind] + times[kind] for kind in kinds}
    low, high = units.seconds(estimate.low), units.seconds(estimate.high)
    title = f"{estimate.model_type} on {estimate.device.name}, {estimate.mode}: {units.seconds(estimate.seconds)}"
    axes.set_title(f"{title} ({low} to {high})", fontsize=10)
    axes.set(xlabel="milliseconds")
    axes.grid(axis="x", color="#e6e6e6", linewidth=0.5)
    axes.set_axisbelow(True)
    axes.legend(title="bound by", frameon=False)
    save(figure, path)
