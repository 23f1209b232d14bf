"""What every command shares on its way out: exit codes, and text on the two streams or in a file."""

from __future__ import annotations

import os
import sys

import click

GOOD, FAILED, BAD_USAGE, INTERRUPTED = 0, 1, 2, 130


def emit(text: str) -> None:
    """Put text on the standard output; a reader that has gone (`fxcost … | head -3`) is no error."""
    try:
        click.echo(text, nl=not text.endswith("\n"))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python flushes at its end


def write(path: str, text: str) -> str:
    """Write a view to a file, or to the standard output if the path is `-`; returns the path."""
    if path == "-":
        emit(text)
        return path
    try:
        with open(path, "w", encoding="utf-8", newline="") as file:
            file.write(text)
    except OSError as error:
        raise click.UsageError(f"cannot write {path}: {error.strerror or error}") from error
    return path


def fail(message: str, code: int) -> int:
    """Put one line on the error stream, and return the exit code."""
    click.echo(f"fxcost: error: {' '.join(message.split())}", err=True)
    return code
