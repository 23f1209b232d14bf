"""A roofline as a picture: speed over arithmetic intensity, drawn with matplotlib (an extra: `fxcost[plot]`).

Both axes are logarithmic. A dot is a node, as large as its share of the time, coloured by its family. Without measured
times it stands at the speed that the roofline allows: on the slope memory is the limit, on the flat arithmetic; a node
of several operators stands below. With measured times it stands at the speed that was reached.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from os import PathLike
from typing import Any

from ..memory.as_plot import figure_and_axes, save
from ..text import units
from .as_roofline import unit_of
from .times import NodeTime, Times

COLOURS = (
    "#4c78a8", "#f58518", "#54a24b", "#e45756", "#72b7b2", "#b279a2", "#eeca3b", "#9d755d", "#ff9da6", "#bab0ac",
)  # fmt: skip
LARGEST = 400
"""Points² of the dot of a node that takes all the time."""


def plot_roofline(roofline: Times, path: str | PathLike[str], measured: Mapping[str, float] | None = None) -> None:
    """Draw a roofline into a file; the ending of its name says the format. `measured` has seconds by node.

    Raises:
        MissingLibraryError, UnknownNameError, OSError: as for :func:`fxcost.memory.as_plot.save`.
    """
    figure, axes = figure_and_axes()
    seconds = {node.name: node.time_s for node in roofline.nodes} if measured is None else measured
    timed = [node for node in roofline.nodes if seconds.get(node.name) and node.time_s]
    shown = [node for node in timed if node.flops and node.bytes_moved]
    intensities = [node.arithmetic_intensity for node in shown] or [1.0]
    _roofs(axes, roofline, {node.dtype for node in shown}, min(intensities) / 2, max(intensities) * 2)
    families: dict[str, list[NodeTime]] = {}
    for node in shown:
        families.setdefault(node.family, []).append(node)
    totals = {family: sum(seconds[node.name] for node in nodes) for family, nodes in families.items()}
    for colour, family in enumerate(sorted(families, key=lambda family: -totals[family])):
        _dots(axes, families[family], seconds, COLOURS[colour % len(COLOURS)])
    axes.set(xscale="log", yscale="log", xlabel="FLOPs per byte", ylabel="FLOPS")
    whole = sum(seconds[node.name] for node in timed)
    title = f"{roofline.model_type} on {roofline.device.name}: {units.seconds(whole)}"
    title += " measured" if measured is not None else " estimated" if roofline.device.efficiency else " at least"
    idle = len(timed) - len(shown)
    axes.set_title(title + (f" ({units.plural(idle, 'node')} without FLOPs not shown)" if idle else ""), fontsize=10)
    axes.grid(which="both", color="#e6e6e6", linewidth=0.5)
    axes.set_axisbelow(True)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8)
    save(figure, path)


def _roofs(axes: Any, roofline: Times, dtypes: set[str], low: float, high: float) -> None:
    """The slope of the bandwidth, up to the flat of each dtype's peak."""
    device = roofline.device
    shown = [dtype for dtype in device.flops_per_s if dtype in dtypes] or [*device.flops_per_s]
    peaks = {dtype: device.highest(dtype) for dtype in shown}
    top = max(peaks.values())
    ridge = top / device.bytes_per_s
    label = f"memory: {units.rate(device.bytes_per_s, 'B/s')}"
    axes.plot([min(low, ridge), ridge], [min(low, ridge) * device.bytes_per_s, top], color="#333333", label=label)
    for dtype, peak in peaks.items():
        label = f"{dtype}: {units.rate(peak, unit_of(dtype))}"
        flat = [peak / device.bytes_per_s, max(high, 2 * ridge)]
        axes.plot(flat, [peak, peak], color="#333333", linestyle="--", label=label)


def _dots(axes: Any, nodes: list[NodeTime], seconds: Mapping[str, float], colour: str) -> None:
    """The nodes of one family."""
    whole = sum(seconds.values())
    time = sum(seconds[node.name] for node in nodes)
    axes.scatter(
        [node.arithmetic_intensity for node in nodes],
        [node.flops / seconds[node.name] for node in nodes],
        s=[max(6.0, LARGEST * sqrt(seconds[node.name] / whole)) for node in nodes],
        color=colour,
        alpha=0.6,
        linewidths=0,
        label=f"{nodes[0].family}: {units.seconds(time)} ({units.share(time / whole)})",
    )
