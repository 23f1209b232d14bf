"""Live bytes over a pass or a training step, drawn with matplotlib (an extra: `pip install 'fxcost[plot]'`)."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

from ..errors import MissingLibraryError
from ..text import units

if TYPE_CHECKING:
    from .memory import Memory
    from .training import Training

MEBIBYTE = 1 << 20
AREA, LINE = "#4c78a8", "#1f3a5f"


def plot_memory(memory: Memory, path: str | PathLike[str]) -> None:
    """Activations at each node of the forward pass, on top of parameters, buffers and inputs.

    Raises:
        MissingLibraryError: matplotlib is not installed.
    """
    levels = [moment.peak_bytes for moment in memory.timeline]
    peak = max(range(len(levels)), key=levels.__getitem__)
    where = memory.timeline[peak].module or memory.timeline[peak].node
    _draw(levels, memory.resident_bytes, "parameters, buffers, inputs", "node", (peak, where), None, path)


def plot_training(training: Training, path: str | PathLike[str]) -> None:
    """Activations and gradients at each operator of the step, on top of what is there all the time.

    Raises:
        MissingLibraryError: matplotlib is not installed.
    """
    peak = max(range(len(training.live)), key=training.live.__getitem__)
    resident = training.peak_bytes - training.live[peak]
    under = "parameters, buffers, inputs, optimizer state"
    _draw(training.live, resident, under, "operator", (peak, ""), training.forward_operators, path)


def _draw(
    levels: Sequence[int],
    resident: int,
    under: str,
    unit: str,
    peak: tuple[int, str],
    backward: int | None,
    path: str | PathLike[str],
) -> None:
    figure, axes = figure_and_axes()
    steps = range(len(levels))
    floor, top = resident / MEBIBYTE, [(resident + level) / MEBIBYTE for level in levels]
    axes.fill_between(steps, 0, floor, step="mid", color="#c9c9c9", label=f"{under}: {units.byte_size(resident)}")
    label = f"activations{' and gradients' if backward is not None else ''}: {units.byte_size(levels[peak[0]])} at most"
    axes.fill_between(steps, floor, top, step="mid", color=AREA, label=label)
    at, where = peak
    axes.plot(at, top[at], "o", color=LINE)
    text = f"{units.byte_size(resident + levels[at])}{f' at {where}' if where else ''}"
    right = at > len(levels) / 2
    axes.annotate(
        text, (at, top[at]), (-8 if right else 8, 6), textcoords="offset points", ha="right" if right else "left"
    )
    if backward is not None:
        axes.axvline(backward, color=LINE, linestyle=":", label="backward begins")
    axes.set(
        xlabel=f"{unit}, in order", ylabel="MiB alive", ylim=(0, 1.12 * max(top)), xlim=(0, max(len(levels) - 1, 1))
    )
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False, ncols=1)
    figure.savefig(path, dpi=150, bbox_inches="tight")


def figure_and_axes() -> tuple[Any, Any]:
    """A figure of matplotlib with one set of axes.

    Raises:
        MissingLibraryError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure  # no pyplot: nothing global is touched
    except ImportError as error:
        raise MissingLibraryError("drawing needs matplotlib: pip install 'fxcost[plot]'") from error
    figure = Figure(figsize=(9, 4.5))
    return figure, figure.subplots()
