"""Rows on disk as they are done: a file of JSON lines that a later run goes on with.

Each row is one line, written at once. Where a run was interrupted in the middle of a line, that line is cut off.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

from ..errors import InputError

Record = TypeVar("Record")


@contextmanager
def appending(path: str | PathLike[str] | None) -> Iterator[Callable[[Any], None]]:
    """A function that adds a dataclass to the file as one line; without a path it does nothing.

    Raises:
        InputError: the file can't be written.
    """
    if path is None:
        yield lambda row: None
        return
    try:
        file = open(path, "ab")  # noqa: SIM115 - closed below
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
    with file:
        file.truncate(_whole_lines(Path(path).read_bytes()))

        def append(row: Any) -> None:
            file.write(json.dumps(dataclasses.asdict(row)).encode() + b"\n")
            file.flush()

        yield append


def read(path: str | PathLike[str] | None, make: Callable[..., Record]) -> list[Record]:
    """The rows that are in the file, in order; none if there is no file yet.

    Raises:
        InputError: a line is no row; the message says which.
    """
    if path is None or not Path(path).exists():
        return []
    text = Path(path).read_bytes()
    rows = []
    for number, line in enumerate(text[: _whole_lines(text)].splitlines(), 1):
        try:
            fields = {k: tuple(v) if isinstance(v, list) else v for k, v in json.loads(line).items()}
            rows.append(make(**fields))
        except (ValueError, TypeError, AttributeError) as error:
            raise InputError(f"line {number} of {path} is no row of a sweep; give another file") from error
    return rows


def _whole_lines(text: bytes) -> int:
    """Bytes up to the end of the last line that is complete."""
    return text.rfind(b"\n") + 1
