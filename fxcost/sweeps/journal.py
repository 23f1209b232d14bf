"""Rows on disk as they are done: a file of JSON lines that a later run goes on with.

Each row is one line, written at once. Where a run was interrupted in the middle of a line, that line is cut off.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from ..errors import InputError

Record = TypeVar("Record")


@contextmanager
def appending(path: str | PathLike[str] | None) -> Iterator[Callable[[Any], None]]:
    """A function that adds a dataclass to the file as one line; without a path it does nothing.

    Raises:
        InputError: the file can't be written, when it is opened or later.
    """
    if path is None:
        yield lambda row: None
        return
    _check_file(path)
    try:
        file = open(path, "ab")  # noqa: SIM115 - closed below
        file.truncate(_whole_lines(Path(path).read_bytes()))
    except OSError as error:
        raise _unwritable(path, error) from error

    def append(row: Any) -> None:
        try:
            file.write(json.dumps(dataclasses.asdict(row)).encode() + b"\n")
            file.flush()
        except OSError as error:
            raise _unwritable(path, error) from error

    try:
        yield append
    finally:
        with suppress(OSError):  # what could not be written is still in the buffer
            file.close()


def read(path: str | PathLike[str] | None, make: Callable[..., Record]) -> list[Record]:
    """The rows that are in the file, in order; none if there is no file yet.

    Args:
        path: the file.
        make: a dataclass, whose fields' types the values have.

    Raises:
        InputError: a line is no row; the message says which. Or the path is that of no file.
    """
    if path is None or not os.path.exists(path):
        return []
    _check_file(path)
    try:
        text = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    kinds = get_type_hints(make)
    rows = []
    for number, line in enumerate(text[: _whole_lines(text)].splitlines(), 1):
        try:
            fields = {k: tuple(v) if isinstance(v, list) else v for k, v in json.loads(line).items()}
            if not all(_fits(value, kinds[name]) for name, value in fields.items()):
                raise ValueError("a value of another type")
            rows.append(make(**fields))
        except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
            raise InputError(f"line {number} of {path} is no row of a sweep; give another file") from error
    return rows


def _check_file(path: str | PathLike[str]) -> None:
    """Rows are read again, so they go to a file: a device or a pipe never ends, or forgets."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise InputError(f"{path} is no file; rows are added to a file, from which a later run goes on")


def _unwritable(path: str | PathLike[str], error: OSError) -> InputError:
    return InputError(f"cannot write {path}: {error.strerror or error}")


def _fits(value: Any, kind: Any) -> bool:
    """True if a value is of the type with which a field is annotated; of containers, what they are is looked at."""
    if isinstance(kind, UnionType):
        return any(_fits(value, one) for one in get_args(kind))
    if kind is Any:
        return True
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    container, inner = get_origin(kind), get_args(kind)
    if container in (tuple, list):
        return isinstance(value, tuple) and all(_fits(item, inner[0]) for item in value)
    return isinstance(value, container or kind) and (kind is bool or not isinstance(value, bool))


def _whole_lines(text: bytes) -> int:
    """Bytes up to the end of the last line that is complete."""
    return text.rfind(b"\n") + 1
