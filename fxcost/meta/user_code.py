"""Which line of the user's code is running: for messages. What is not in PyTorch or fxcost is the user's."""

from __future__ import annotations

import sys
import traceback
from functools import lru_cache
from pathlib import Path

import torch

_PACKAGE = Path(__file__).parents[1]
_OURS = (f"{Path(torch.__file__).parent}/", f"{_PACKAGE}/")
_ENTRY = str(_PACKAGE / "capture" / "capture.py")


@lru_cache(maxsize=1024)
def is_users(filename: str) -> bool:
    """True for a file that is neither PyTorch's nor ours."""
    return not filename.startswith(("<", *_OURS))


def shown_path(filename: str) -> str:
    """A file's path; of an installed package's file the part that is the same on every machine."""
    return filename.rpartition("site-packages/")[2]


def asking_line(otherwise: str = "the model") -> str:
    """`file:line` of the innermost frame of the model's own code; `otherwise` if none of it is running."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename != _ENTRY:
        if is_users(frame.f_code.co_filename):
            return f"{shown_path(frame.f_code.co_filename)}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return otherwise


def raising_line(error: BaseException) -> str:
    """` at file:line (code)` of the innermost frame of the user's code that an error passed, "" if there is none."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if is_users(frame.filename):
            return f" at {shown_path(frame.filename)}:{frame.lineno} ({frame.line})"
    return ""
