"""What every command shares on its way out: exit codes, and text on the two streams or in a file."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TextIO

import click

from ..text import files
from ..text.words import one_line
from .colour import painted, wanted

GOOD, FAILED, BAD_USAGE, INTERRUPTED = 0, 1, 2, 130
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
    return path


def write_view(path: str, view: Callable[..., str | bytes], **options: Any) -> None:
    """Have a view write itself to a path, or put what it returns on the standard output if the path is `-`."""
    if path == "-":
        emit(view(**options), plain=True)
    else:
        write_file(path, view, **options)


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


def unwritable(path: str, error: OSError) -> click.UsageError:
    """The complaint about a path that can't be written."""
    return click.UsageError(f"cannot write {path}: {error.strerror or error}")


def fail(message: str, code: int) -> int:
    """Put one line on the error stream, if that takes one, and return the exit code."""
    stream, label = sys.stderr, "fxcost: error:"
    label = click.style(label, fg="red", bold=True) if wanted(stream) else label
    try:
        stream.write(f"{label} {one_line(message, LONGEST)}\n")
        stream.flush()
    except OSError:  # the exit code still says it
        silence(stream)
    return code
