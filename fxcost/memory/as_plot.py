"""Live bytes over a pass or a training step, drawn with matplotlib (the extra `plot`)."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import Any

from ..errors import MissingLibraryError
from ..text import files, units
from ..text.choice import choose

MEBIBYTE = 1 << 20
AREA, LINE = "#4c78a8", "#1f3a5f"


def plot_memory(levels: Sequence[int], where: str, resident: int, path: str | PathLike[str], title: str = "") -> None:
    """Activations at each node of the forward pass (`where`: of the peak), on top of parameters, buffers and inputs.

    Raises:
        MissingLibraryError, UnknownNameError, OSError: as :func:`figure_and_axes` and :func:`save`.
    """
    _draw(levels, resident, "parameters, buffers, inputs", "node", where, None, path, title)


def plot_training(
    levels: Sequence[int], backward: int, resident: int, path: str | PathLike[str], title: str = ""
) -> None:
    """Activations and gradients at each operator of the step, on top of what is there all the time.

    `backward` is the number of operators before its backward pass.

    Raises:
        MissingLibraryError, UnknownNameError, OSError: as :func:`figure_and_axes` and :func:`save`.
    """
    _draw(levels, resident, "parameters, buffers, inputs, optimizer state", "operator", "", backward, path, title)


def _draw(
    levels: Sequence[int],
    resident: int,
    under: str,
    unit: str,
    where: str,
    backward: int | None,
    path: str | PathLike[str],
    title: str,
) -> None:
    figure, axes = figure_and_axes()
    steps = range(len(levels))
    at = max(steps, key=levels.__getitem__)
    floor, top = resident / MEBIBYTE, [(resident + level) / MEBIBYTE for level in levels]
    axes.fill_between(steps, 0, floor, step="mid", color="#c9c9c9", label=f"{under}: {units.byte_size(resident)}")
    label = f"activations{' and gradients' if backward is not None else ''}: {units.byte_size(levels[at])} at most"
    axes.fill_between(steps, floor, top, step="mid", color=AREA, label=label)
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
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False, ncols=1, title=title or None)
    save(figure, path)


def figure_and_axes() -> tuple[Any, Any]:
    """A figure of matplotlib with one set of axes.

    Raises:
        MissingLibraryError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure  # no pyplot: nothing global is touched
    except ImportError as error:
        raise MissingLibraryError("drawing needs matplotlib: pip install matplotlib") from error
    figure = Figure(figsize=(9, 4.5))
    return figure, figure.subplots()


def save(figure: Any, path: str | PathLike[str]) -> None:
    """Draw a figure into a file; the ending of its name says the format.

    Raises:
        UnknownNameError: the ending is no format that matplotlib draws; the message lists them.
        OSError: the file can't be written.
    """
    kind = choose(
        "picture format", Path(path).suffix.removeprefix(".").lower(), sorted(figure.canvas.get_supported_filetypes())
    )
    picture = BytesIO()
    figure.savefig(picture, format=kind, dpi=150, bbox_inches="tight")
    files.write(path, picture.getvalue())
