"""Which line of the user's code parts two analyses: for the reason why a formula ends there.

The model is run at a size at which all is well and at the one at which it is not, and Python says which lines run and
what shapes their variables have. Where the lines part, it was the last common one that decided (a branch); where shapes
no longer grow as they did, the one before (a crop). PyTorch's own lines and ours are not looked at.
"""

from __future__ import annotations

import gc
import linecache
import sys
from collections.abc import Callable
from functools import lru_cache
from sysconfig import get_path
from types import FrameType
from typing import Any

from torch import Tensor, nn

from ..errors import FxcostError
from ..meta.user_code import is_users, shown_path

Shapes = tuple[tuple[str, tuple[int, ...]], ...]
Moment = tuple[str, int, Shapes]
"""A line that is about to run: its file and number, and the shapes of the function's variables then."""
MOST_MOMENTS = 200_000
_PYTHON = f"{get_path('stdlib')}/"


def parting_line(analyse: Callable[[int], object], good: tuple[int, ...], bad: int) -> str:
    """`file:line (code)` of the line at which the analysis of a size parts from those of two sizes that go together.

    Args:
        analyse: runs an analysis at a size.
        good: sizes that have a formula together; with two of them shapes can be foretold.
        bad: a size at which the formula does not hold.

    Returns:
        "" where no line of the user's parts them, or another tool traces Python already.
    """
    if sys.gettrace() is not None or not good:
        return ""
    traces = [_traced(analyse, size) for size in (*good[:2], bad)]
    at = _parting(traces, (*good[:2], bad))
    if at is None:
        return ""
    file, number, _ = traces[-1][at]
    return f"{shown_path(file)}:{number} ({linecache.getline(file, number).strip()})"


def _parting(traces: list[list[Moment]], sizes: tuple[int, ...]) -> int | None:
    """The place, in each trace, of the line that decided."""
    for i, moments in enumerate(zip(*traces, strict=False)):
        if len({moment[:2] for moment in moments}) > 1:
            return max(i - 1, 0)
        if len(traces) == 3 and not _foretold([moment[2] for moment in moments], sizes):
            return _before(traces[-1], i)
    shortest = min(map(len, traces))
    return shortest - 1 if shortest and len(set(map(len, traces))) > 1 else None


def _before(trace: list[Moment], i: int) -> int:
    """The last line of the same file before a moment: what it did is seen when the next one is about to run."""
    return next((k for k in range(i - 1, -1, -1) if trace[k][0] == trace[i][0]), i)


def _foretold(shapes: list[Shapes], sizes: tuple[int, ...]) -> bool:
    """True if the third shapes are on the line through the first two."""
    for (name, first), (second_name, second), (third_name, third) in zip(*shapes, strict=False):
        if not (name == second_name == third_name and len(first) == len(second) == len(third)):
            return False
        for a, b, c in zip(first, second, third, strict=True):
            if (c - a) * (sizes[1] - sizes[0]) != (b - a) * (sizes[2] - sizes[0]):
                return False
    return len({len(found) for found in shapes}) == 1


def _traced(analyse: Callable[[int], object], size: int) -> list[Moment]:
    """The lines of the user's code that an analysis runs, as far as it comes."""
    moments: list[Moment] = []
    collecting = {getattr(callback, "__code__", None) for callback in gc.callbacks}  # runs whenever Python likes

    def local(frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line" and len(moments) < MOST_MOMENTS:
            moments.append((frame.f_code.co_filename, frame.f_lineno, _shapes(frame)))
        return local

    def entered(frame: FrameType, event: str, argument: Any) -> Any:
        return local if _is_models(frame.f_code.co_filename) and frame.f_code not in collecting else None

    sys.settrace(entered)
    try:
        analyse(size)
    except FxcostError:
        pass
    finally:
        sys.settrace(None)
    return moments


def _shapes(frame: FrameType) -> Shapes:
    return tuple((name, tuple(value.shape)) for name, value in frame.f_locals.items() if type(value) is Tensor)


@lru_cache(maxsize=4096)
def _is_models(filename: str) -> bool:
    """True for a file of a model: neither PyTorch's, nor ours, nor Python's own."""
    return is_users(filename) and (not filename.startswith(_PYTHON) or "site-packages" in filename)


def forward_of(root: nn.Module, module: str) -> str:
    """`file:line (forward of a class)` of the innermost module around `module` that the user wrote."""
    while True:
        try:
            found: nn.Module | None = root.get_submodule(module)
        except AttributeError:
            found = None
        code = getattr(getattr(type(found), "forward", None), "__code__", None)
        if code is not None and _is_models(code.co_filename):
            return f"{shown_path(code.co_filename)}:{code.co_firstlineno} (forward of {type(found).__name__})"
        if not module:
            return ""
        module = module.rpartition(".")[0]
