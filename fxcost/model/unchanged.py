"""What an analysis leaves in the process as it was: the random generators that the model's own code draws from.

On meta tensors nothing is drawn from PyTorch's generators, and a real run draws from one of its own (recorder.py). What
is left is code of the model's that asks Python or NumPy for a number, or sets a seed.
"""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def unchanged_state() -> Iterator[None]:
    """Random generators are afterwards as before: PyTorch's, Python's, NumPy's if it is loaded.

    A generator that nobody drew from is not touched, and none is set back where another thread runs, which may have
    drawn from it too: to it its numbers would come again.
    """
    alone, before = _others_wait(), _states()
    try:
        yield
    finally:
        after = _states()
        for name, state in before.items():
            if not _same(after[name], state) and alone and _others_wait():
                _SET[name](state)


def _states() -> dict[str, Any]:
    numpy = sys.modules.get("numpy")
    found = {"torch": torch.get_rng_state(), "python": random.getstate()}
    return {**found, "numpy": numpy.random.get_state(legacy=True)} if numpy else found


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, tuple):
        return all(map(_same, a, b))
    return bool((a == b).all()) if hasattr(a, "all") else bool(a == b)


_SET: dict[str, Any] = {
    "torch": torch.set_rng_state,
    "python": random.setstate,
    "numpy": lambda state: sys.modules["numpy"].random.set_state(state),
}


_WAITING = (
    "threading",
    "selectors",
    "queue",
    "concurrent.futures.thread",
    "socket",
    "execnet.gateway_base",
    "tqdm._monitor",
)
"""Modules in whose code a thread stands that waits for work."""


def _others_wait() -> bool:
    """True if every other thread of Python's waits for something."""
    me = threading.get_ident()
    others = [frame for thread, frame in sys._current_frames().items() if thread != me]
    return all(frame.f_globals.get("__name__") in _WAITING for frame in others)
