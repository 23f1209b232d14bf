"""What options say, looked at before the analysis: a mistyped column must not cost minutes of work first.

Names that are lists of ours are read from our own source files (complete.py), so that nothing is imported for them.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from ..text.choice import choose
from .complete import formats, values_of
from .output import check_writable

PICTURES = ("eps", "jpeg", "jpg", "pdf", "pgf", "png", "ps", "raw", "rgba", "svg", "svgz", "tif", "tiff", "webp")
"""Endings that matplotlib draws without further libraries' help; a test compares."""


def check_table(*, by: str | None, sort: str | None, columns: Sequence[str] | None, format: str | None) -> None:  # noqa: A002
    """Columns and the format of a table.

    Raises:
        UnknownNameError: one is not known.
    """
    known = values_of("--columns")
    for name in columns or ():
        choose("column", name, known)
    if sort is not None:
        choose("column to sort by", sort, known)
    check_format(format)


def check_format(format: str | None) -> None:  # noqa: A002
    """The format of a table.

    Raises:
        UnknownNameError: it is not known.
    """
    if format is not None:
        choose("table format", format, [name for name in formats() if name != "markdown"])


def check_tools(names: Sequence[str] | None) -> None:
    """Names of conventions.

    Raises:
        UnknownNameError: one is not known.
    """
    for name in names or ():
        choose("convention", name, values_of("--as"))


def check_device(name: str | None, peak: str | None) -> None:
    """A device, and the dtype at whose peak it is reckoned.

    Raises:
        DeviceError: there is no such device, or it has no such peak.
        UsageError: a peak is given and no device.
    """
    if name is None:
        if peak is not None:
            raise click.UsageError("--peak is for --device: name the device whose peak is meant")
        return
    from .devices import HERE, find_device

    if name != HERE:
        device = find_device(name)
        if peak is not None:
            device.peak(peak)


def check_plot(path: str | None) -> None:
    """The path of a picture that matplotlib draws.

    Raises:
        UnknownNameError: its ending is no format.
        MissingLibraryError: matplotlib is not installed.
        FileError: it can't be written.
    """
    if path is None:
        return
    if path == "-":
        raise click.UsageError("--plot writes to a file: --plot memory.png")
    choose("picture format", Path(path).suffix.removeprefix(".").lower(), PICTURES)
    if find_spec("matplotlib") is None:
        from ..memory.as_plot import figure_and_axes

        figure_and_axes()
    check_writable(path)


def check_drawing(path: str | None) -> None:
    """The path of a picture that Graphviz draws.

    Raises:
        UsageError: Graphviz is not installed.
        FileError: it can't be written.
    """
    if path is not None and shutil.which("dot") is None:
        raise click.UsageError(
            "drawing needs Graphviz's program dot: apt-get install graphviz, brew install graphviz, or "
            "https://graphviz.org/download; --dot writes the text without it"
        )
    check_writable(path)


def check_numbers(*, dtype: str | None, training: bool, optimizer: str | float | None) -> None:
    """The dtype that a model is costed in, and the optimizer.

    Raises:
        InputError: there is no such dtype of weights.
        TrainingError: there is no such optimizer.
        UsageError: an optimizer is given and no training.
    """
    if optimizer is not None and not training:
        raise click.UsageError("--optimizer is for --training: add --training")
    if dtype is not None:
        from ..model.inputs import as_float_dtype

        as_float_dtype(dtype)
    if optimizer is not None:
        from ..memory.optimizers import check_optimizer

        check_optimizer(optimizer)


def check_limits(limits: dict[str, Any], *, update: bool) -> None:
    """The limits of a budget.

    Raises:
        InputError: one can't be read.
        UsageError: a tolerance without a baseline.
    """
    from ..compare.limits import LIMITS
    from ..text.amounts import parse_share

    if update and limits.get("baseline") is None:
        raise click.UsageError("--update writes a baseline: give --baseline PATH")
    for name, limit in LIMITS.items():
        if f"max_{name}" in limits:
            limit.parse(limits[f"max_{name}"])
    if limits.get("tolerance") is not None:
        if limits.get("baseline") is None:
            raise click.UsageError("--tolerance is for a baseline: give --baseline PATH")
        parse_share(limits["tolerance"])
    if not update and limits.get("baseline") is not None and not Path(limits["baseline"]).exists():
        raise click.UsageError(f"no such file: {limits['baseline']}; write it with --update")
