"""`torch.autocast("cuda")` in a model's code, on a machine without CUDA: the region is one there too.

PyTorch switches such a region off where it finds no CUDA, when the context is made, with a warning; the dtypes are then
not those that the model has where it is meant to run. While a model is analysed whose code names autocast, the thread
that does so is told that there is CUDA to cast for; other threads, and a process forked meanwhile, are told what is so.

Not here: contexts that were made before (a decorator, an attribute): nothing tells them from those made with
`enabled=False`; a region around the analysis, for which `analyze(…, autocast=…)` is.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.cuda.amp.common as common

from .autocast import above

ASSUMED = "torch.autocast('cuda') casts as on CUDA; here, where there is none, PyTorch switches it off"
_lock = threading.Lock()
_users = 0
_missing: Callable[[], bool] = common.amp_definitely_not_available
_bfloat16: Callable[..., bool] = torch.cuda.is_bf16_supported
"""PyTorch's, or whose stood there when the first of those that analyse now began."""


class _Asked(threading.local):
    """Of the calling thread: whom to tell that a region of CUDA was made, the innermost analysis last."""

    def __init__(self) -> None:
        self.assume: list[Callable[[str], object]] = []


_asked = _Asked()


def _not_available() -> bool:
    if not _asked.assume:
        return _missing()
    if not above.active:
        _asked.assume[-1](ASSUMED)
    return False


def _supported(*args: Any, **kwargs: Any) -> bool:
    return bool(_asked.assume) or _bfloat16(*args, **kwargs)


def _stand_in(more: int) -> None:
    """One analysis more, or one less: the first replaces PyTorch's two functions, the last puts them back."""
    global _users, _missing, _bfloat16
    with _lock:
        if not _users:
            _missing, _bfloat16 = common.amp_definitely_not_available, torch.cuda.is_bf16_supported
            common.amp_definitely_not_available, torch.cuda.is_bf16_supported = _not_available, _supported
        _users += more
        if not _users:
            common.amp_definitely_not_available, torch.cuda.is_bf16_supported = _missing, _bfloat16


def _after_fork() -> None:
    """A child starts without what another thread of its parent was analysing."""
    global _lock, _users
    _lock = threading.Lock()
    if _users and not _asked.assume:
        _users = 0
        common.amp_definitely_not_available, torch.cuda.is_bf16_supported = _missing, _bfloat16


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@contextmanager
def cuda_regions(assume: Callable[[str], object]) -> Iterator[None]:
    """While active, the calling thread's regions for CUDA are such; `assume` is told where one is made."""
    if not _asked.assume and not common.amp_definitely_not_available():
        yield
        return
    _stand_in(1)
    _asked.assume.append(assume)
    try:
        yield
    finally:
        _asked.assume.pop()
        _stand_in(-1)
