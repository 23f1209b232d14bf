"""Python's garbage collector while the command line analyses a rank: it goes through young objects alone.

A pass over all objects takes as long as a layer or ten, as there are those of PyTorch and of what the process has
imported besides, and it finds nothing: what a rank's analysis makes lives until its report is there. A command's
process is its own; in a user's, fxcost leaves the collector alone.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_SELDOM = 1 << 30
_lock = threading.Lock()
_before: list[tuple[int, int, int]] = []
"""Thresholds as each of those that wait found them."""


@contextmanager
def full_passes_wait() -> Iterator[None]:
    """While active, full passes of the garbage collector wait. It is the process's: the last to leave sets it back."""
    with _lock:
        _before.append(gc.get_threshold())
        gc.set_threshold(*_before[0][:2], _SELDOM)
    try:
        yield
    finally:
        with _lock:
            found = _before.pop()
            if not _before:
                gc.set_threshold(*found)
