"""What every command shares on its way out: exit codes, and text on the two streams or in a file."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import click

from .colour import painted, wanted

GOOD, FAILED, BAD_USAGE, INTERRUPTED = 0, 1, 2, 130


def emit(text: str | bytes, *, plain: bool = False, changes: bool = False) -> None:
    """Put text on the standard output, coloured on a terminal unless it is for a program (`plain`).

    `changes` says that it is a diff. A reader that has gone (`fxcost … | head -3`) is no error.
    """
    coloured = not plain and wanted(sys.stdout)
    if isinstance(text, str) and coloured:
        text = painted(text, changes=changes)
    try:
        click.echo(text, nl=isinstance(text, str) and not text.endswith("\n"), color=coloured or None)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python flushes at its end


def write(path: str, text: str) -> str:
    """Write a view to a file, or to the standard output if the path is `-`; returns the path."""
    if path == "-":
        emit(text, plain=True)
        return path
    try:
        with open(path, "w", encoding="utf-8", newline="") as file:
            file.write(text)
    except OSError as error:
        raise click.UsageError(f"cannot write {path}: {error.strerror or error}") from error
    return path


def write_view(path: str, view: Callable[..., str | bytes], **options: Any) -> None:
    """Have a view write itself to a path, or put what it returns on the standard output if the path is `-`."""
    if path == "-":
        emit(view(**options), plain=True)
        return
    try:
        view(path, **options)
    except OSError as error:
        raise click.UsageError(f"cannot write {path}: {error.strerror or error}") from error


def check_writable(path: str | None) -> None:
    """Complain about a path that can't be written before the work is done that is to go there."""
    if path is None or path == "-":
        return
    try:
        with open(path, "ab"):
            pass
    except OSError as error:
        raise click.UsageError(f"cannot write {path}: {error.strerror or error}") from error


def fail(message: str, code: int) -> int:
    """Put one line on the error stream, and return the exit code."""
    coloured = wanted(sys.stderr)
    label = click.style("fxcost: error:", fg="red", bold=True) if coloured else "fxcost: error:"
    click.echo(f"{label} {' '.join(message.split())}", err=True, color=coloured or None)
    return code
