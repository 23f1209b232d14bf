"""What every command shares on its way out: exit codes, and text on the two streams or in a file."""

from __future__ import annotations

import codecs
import os
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TextIO

import click

from ..text import files
from ..text.paper import NARROWEST, paper, reflowed
from ..text.tables import FOR_PEOPLE
from ..text.units import byte_size
from ..text.words import one_line
from .colour import painted, wanted

GOOD, FAILED, BAD_USAGE, INTERRUPTED = 0, 1, 2, 130
QUIET = "fxcost.quiet"
"""Where a command's context says that `--quiet` was given."""
LONGEST = 2000
"""Characters of an error's line."""

PLAIN = {
    **dict.fromkeys("─━═", "-"), **dict.fromkeys("│┃║", "|"), **dict.fromkeys("╭╮╰╯├┤┬┴┼└┌┐┘", "+"),
    **dict.fromkeys("▁▂▃", "."), **dict.fromkeys("▄▅", "o"), **dict.fromkeys("▆▇█", "#"),
    "–": "-", "−": "-", "×": "x", "·": "*", "…": "~", "→": ">", "≤": "<", "≥": ">",
}  # fmt: skip
"""What stands for our signs where the encoding of a stream doesn't have them; one for one, so that tables fit."""


def _plainly(error: UnicodeError) -> tuple[str, int]:
    """A codec's handler of errors: such a sign, or a question mark."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(PLAIN.get(sign, "?") for sign in error.object[error.start : error.end]), error.end


codecs.register_error("fxcost", _plainly)


def prepare_streams() -> None:
    """Make the standard streams fit to be used.

    One that was closed (`>&-`) becomes the null device, so that its number is given to no file and nobody writes to
    None. On the others, what their encoding doesn't have is replaced.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - as long as the process
        elif mode == "w" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="fxcost")


def present(make: Callable[[], str], *, markup: str | None = None, plain: bool = False, changes: bool = False) -> None:
    """Put what `make` returns on the standard output, as :func:`emit`; on a terminal as wide as that is.

    A table in a `markup` that is copied to elsewhere, as Markdown is, stays as wide as it is.
    """
    width = terminal_width(sys.stdout) if markup is None or markup in FOR_PEOPLE else None
    with paper(width):
        text = make()
    emit(text if width is None else reflowed(text, max(width, NARROWEST)), plain=plain, changes=changes)


def terminal_width(stream: TextIO) -> int | None:
    """How many columns the terminal has to which a stream goes; None if it goes to a file, a pipe or a dumb terminal.

    `COLUMNS` goes first, as it does for other programs.
    """
    if not stream.isatty():
        return None
    columns = shutil.get_terminal_size((80, 24)).columns
    return columns if columns > 0 else None


def emit(text: str | bytes, *, plain: bool = False, changes: bool = False) -> None:
    """Put text on the standard output, coloured on a terminal unless it is for a program (`plain`).

    What is for a program is UTF-8 whatever the stream's encoding is: the same bytes as in a file. `changes` says that
    it is a diff. A reader that has gone (`fxcost … | head -3`) is no error.

    Raises:
        UsageError: it can't be written: the disk is full.
    """
    stream = sys.stdout
    if isinstance(text, str):
        text = text if text.endswith("\n") else f"{text}\n"
        text = painted(text, changes=changes) if wanted(stream) and not plain else text
    try:
        _put(stream, text, plain)
    except BrokenPipeError:
        silence(stream)
    except OSError as error:
        silence(stream)
        raise click.UsageError(f"cannot write to the standard output: {error.strerror or error}") from error


def _put(stream: TextIO, text: str | bytes, plain: bool) -> None:
    if isinstance(text, str) and not (plain and hasattr(stream, "buffer")):
        stream.write(text)
    else:
        stream.flush()
        stream.buffer.write(text if isinstance(text, bytes) else text.encode("utf-8", "backslashreplace"))
    stream.flush()


def silence(stream: TextIO) -> None:
    """Let what is still to be written, as Python does at its end, go nowhere."""
    with suppress(OSError):  # it may be no stream of the system's
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def write(path: str, text: str) -> str:
    """Write a view to a file, or to the standard output if the path is `-`; returns the path."""
    if path == "-":
        emit(text, plain=True)
    else:
        write_file(path, lambda path: files.write(path, text))
        wrote(path)
    return path


def write_view(path: str, view: Callable[..., str | bytes], **options: Any) -> None:
    """Have a view write itself to a path, or put what it returns on the standard output if the path is `-`."""
    if path == "-":
        emit(view(**options), plain=True)
    else:
        write_file(path, view, **options)
        wrote(path)


def write_file(path: str, write: Callable[..., Any], **options: Any) -> None:
    """Call a function that writes to a path.

    Raises:
        UsageError: the path can't be written.
    """
    try:
        write(path, **options)
    except OSError as error:
        raise unwritable(path, error) from error


def check_writable(path: str | None) -> None:
    """Complain about a path that can't be written before the work is done that is to go there."""
    if path is None or path == "-":
        return
    try:
        files.check_writable(path)
    except OSError as error:
        raise unwritable(path, error) from error


class Unwritable(click.FileError):
    """A path that can't be written."""

    def format_message(self) -> str:
        """One line."""
        return f"cannot write {self.ui_filename}: {self.message}"


def unwritable(path: str, error: OSError) -> click.FileError:
    """The complaint about a path that can't be written."""
    return Unwritable(path, error.strerror or str(error))


def wrote(*paths: str) -> None:
    """Say on the error stream what was written, if that takes it; not with `--quiet`."""
    context = click.get_current_context(silent=True)
    if context is not None and context.meta.get(QUIET):
        return
    for path in paths:
        with suppress(OSError):
            size = f" ({byte_size(os.path.getsize(path))})" if os.path.isfile(path) else ""
            sys.stderr.write(f"wrote {one_line(path, LONGEST)}{size}\n")
            sys.stderr.flush()


def fail(message: str, code: int) -> int:
    """Put one line on the error stream, if that takes one, and return the exit code."""
    stream, label = sys.stderr, "fxcost: error:"
    label = click.style(label, fg="red", bold=True) if wanted(stream) else label
    try:
        text, width = f"fxcost: error: {one_line(message, LONGEST)}", terminal_width(stream)
        text = text if width is None else reflowed(text, max(width, NARROWEST))
        stream.write(f"{label}{text.removeprefix('fxcost: error:')}\n")
        stream.flush()
    except OSError:  # the exit code still says it
        silence(stream)
    return code
