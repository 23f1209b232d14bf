"""A sign of life on the error stream while something takes long: only on a terminal, and not with `--quiet`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from time import monotonic
from typing import Any, TextIO, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])

PATIENCE_S = 1.0
"""What is done by then needs no sign of life."""
FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
PLAIN_FRAMES = "|/-\\"
QUIET = "fxcost.quiet"


def quiet_option(function: Function) -> Function:
    """The option `--quiet`; commands that use :func:`working` have it."""

    def note(context: click.Context, parameter: click.Parameter, value: bool) -> None:
        context.meta[QUIET] = value

    text = "Show no progress on the error stream (there is none unless it is a terminal)."
    return click.option("-q", "--quiet", is_flag=True, expose_value=False, callback=note, help=text)(function)


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show that `what` is being done, and for how long, if it takes longer than a moment; erase it at the end."""
    stream, context = sys.stderr, click.get_current_context(silent=True)
    if not stream.isatty() or (context is not None and context.meta.get(QUIET)):
        yield
        return
    done = Event()
    thread = Thread(target=_spin, args=(stream, what, done), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _spin(stream: TextIO, what: str, done: Event) -> None:
    """Draw one line over and over until it is done."""
    start, turn = monotonic(), 0
    if done.wait(PATIENCE_S):
        return
    frames = FRAMES if "utf" in (stream.encoding or "").lower() else PLAIN_FRAMES
    while True:
        stream.write(f"\r\x1b[K{frames[turn % len(frames)]} {what} … {monotonic() - start:.0f} s")
        stream.flush()
        turn += 1
        if done.wait(0.1):
            break
    stream.write("\r\x1b[K")
    stream.flush()
