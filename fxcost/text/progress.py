"""A line on a terminal that shows how far something is, drawn by rich."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn

HOUR_S = 3600.0
"""The remaining time is reckoned from what was done within an hour."""


def progress(stream: TextIO, *columns: ProgressColumn | str, transient: bool = False) -> Progress:
    """A line of these columns on a stream that is a terminal; erased at the end if it is `transient`.

    The cursor is not hidden, since nobody would show it again where the process is killed. The standard streams stay
    what they are: rich's would be put in their place amid what the code of a model does to them.
    """
    from rich.console import Console
    from rich.progress import Progress

    class Screen(Console):
        def show_cursor(self, show: bool = True) -> bool:
            return False

    return Progress(
        *columns,
        console=Screen(file=stream),
        transient=transient,
        redirect_stdout=False,
        redirect_stderr=False,
        speed_estimate_period=HOUR_S,
    )
