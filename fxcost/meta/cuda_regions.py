"""`torch.autocast("cuda")` in a model's code, on a machine without CUDA: the region is one there too.

PyTorch switches such a region off where it finds no CUDA, when the context is made, with a warning; the dtypes are then
not those that the model has where it is meant to run. While a model is analysed, the thread that does so is told that
there is CUDA to cast for.

Not here: contexts that were made before (a decorator, an attribute): nothing tells them from those made with
`enabled=False`; a region around the analysis, for which `analyze(…, autocast=…)` is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.cuda.amp.common as common

from .autocast import above

_lock = threading.Lock()
_users = 0
_before: tuple[Callable[[], bool], Callable[..., bool]]
ASSUMED = "torch.autocast('cuda') casts as on CUDA; here, where there is none, PyTorch switches it off"


class _Asked(threading.local):
    """Of the calling thread: whether it analyses, and whether a region of CUDA was made meanwhile."""

    depth = 0
    asked = False


_asked = _Asked()


def _not_available() -> bool:
    if not _asked.depth:
        return _before[0]()
    _asked.asked = True
    return False


def _bfloat16(*args: Any, **kwargs: Any) -> bool:
    return True if _asked.depth else _before[1](*args, **kwargs)


@contextmanager
def cuda_regions() -> Iterator[Callable[[], tuple[str, ...]]]:
    """While active, the calling thread's regions for CUDA are such; what is given says what was assumed so far."""
    global _users, _before
    with _lock:
        if not _users:
            _before = common.amp_definitely_not_available, torch.cuda.is_bf16_supported
        if not _before[0]():  # there is CUDA
            missing = False
        else:
            missing = True
            _users += 1
            common.amp_definitely_not_available = _not_available
            torch.cuda.is_bf16_supported = _bfloat16
    outer, _asked.asked = _asked.asked, False
    _asked.depth += missing
    try:
        yield lambda: (ASSUMED,) if _asked.asked and not above.active else ()
    finally:
        _asked.depth -= missing
        _asked.asked = outer
        if missing:
            with _lock:
                _users -= 1
                if not _users:
                    common.amp_definitely_not_available, torch.cuda.is_bf16_supported = _before
