"""Files, written whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from os import PathLike
from pathlib import Path

_IN_PLACE = frozenset((errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY, errno.EXDEV))
"""What the system says where a file may be written, and not replaced: its folder is closed, or it is mounted itself."""


def write(path: str | PathLike[str], content: str | bytes) -> None:
    """Put `content` into a file, which then holds all of it, or, if that fails, what it held before.

    It is written to a file beside it, which takes its place when it is whole. Text is UTF-8, with its line ends as they
    are. Links are followed, and a file keeps its permissions. What is no file (a pipe, a device) and a file that can't
    be replaced are written in place.

    Raises:
        OSError: it can't be written.
    """
    data = content if isinstance(content, bytes) else content.encode("utf-8", "backslashreplace")
    try:
        if not _is_regular(path):
            Path(path).write_bytes(data)
            return
        target = Path(os.path.realpath(path))
        try:
            _replace(target, data)
        except OSError as error:
            if error.errno not in _IN_PLACE or not target.exists():
                raise
            target.write_bytes(data)
    except OSError as error:  # it need not know of the file beside
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


def check_writable(path: str | PathLike[str]) -> None:
    """See that :func:`write` could write there, before the work is done that is to go there. Nothing is changed.

    Raises:
        OSError: it could not.
    """
    if os.path.isdir(path):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not _is_regular(path):
        return  # to open a pipe would be to wait for its reader
    if os.path.exists(path):
        with open(path, "ab"):
            return
    beside = _beside(Path(os.path.realpath(path)))
    try:
        beside.touch(exist_ok=False)
    except OSError as error:
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error
    beside.unlink()


def _is_regular(path: str | PathLike[str]) -> bool:
    """True for a file, and for what is not there yet."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except FileNotFoundError:
        return True
    except ValueError as error:  # a NUL in the name
        raise OSError(errno.EINVAL, str(error), os.fspath(path)) from error


def _beside(target: Path) -> Path:
    return target.with_name(f".{os.urandom(8).hex()}.fxcost")


def _replace(target: Path, data: bytes) -> None:
    beside = _beside(target)
    try:
        with open(beside, "xb") as file:
            file.write(data)
        if target.exists():
            shutil.copymode(target, beside)
        os.replace(beside, target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
