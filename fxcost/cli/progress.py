"""A sign of life on the error stream while something takes long, by rich: only on a terminal, not with `--quiet`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Timer
from typing import Any, TypeVar

import click

from ..text.progress import progress
from ..text.words import printable
from .output import QUIET

Function = TypeVar("Function", bound=Callable[..., Any])

PATIENCE_S = 1.0
"""What is done by then needs no sign of life."""


def quiet_option(function: Function) -> Function:
    """The option `--quiet`; commands that use :func:`working` have it."""

    def note(context: click.Context, parameter: click.Parameter, value: bool) -> None:
        context.meta[QUIET] = value

    text = "Say nothing on the error stream: no progress (shown on terminals), not what was written."
    return click.option("-q", "--quiet", is_flag=True, expose_value=False, callback=note, help=text)(function)


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show that `what` is being done, and for how long, if it takes longer than a moment; erase it at the end."""
    stream, context = sys.stderr, click.get_current_context(silent=True)
    if not stream.isatty() or (context is not None and context.meta.get(QUIET)):
        yield
        return
    from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

    spinner = SpinnerColumn("dots" if "utf" in stream.encoding.lower() else "line")
    said = TextColumn("{task.description} …", markup=False)
    shown = progress(stream, spinner, said, TimeElapsedColumn(), transient=True)
    shown.add_task(printable(what))
    patience = Timer(PATIENCE_S, shown.start)
    patience.daemon = True
    patience.start()
    try:
        yield
    finally:
        patience.cancel()
        patience.join()
        shown.stop()
