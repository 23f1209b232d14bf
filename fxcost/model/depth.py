"""Room on Python's stack for what an analysis puts between a module and the modules in it.

A model of 240 modules in one another runs within Python's usual limit of 1,000 calls. Each is watched while it runs,
which takes calls too, so the limit is raised for that long, by as much as is ours. It is the process's; other threads
may meanwhile go deeper, and nothing else changes for them.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import nn

from ..records.tree import named_modules

_CALLS = 5
"""How many calls of ours stand between a module and one in it, at most."""
_lock = threading.Lock()
_raised: list[int] = []
"""By how much those that run now have raised the limit."""
_before = 0


def depth(root: nn.Module) -> int:
    """How many modules stand in one another."""
    return max(name.count(".") + 2 if name else 1 for name, _ in named_modules(root))


@contextmanager
def room_for(root: nn.Module) -> Iterator[None]:
    """While active, a deep model may be watched as deep as it could run alone."""
    needed = _CALLS * depth(root)
    if needed < 100:
        yield
        return
    _change(needed, _raised.append)
    try:
        yield
    finally:
        _change(needed, _raised.remove)


def _change(needed: int, how: Callable[[int], None]) -> None:
    global _before
    with _lock:
        if not _raised:
            _before = sys.getrecursionlimit()
        mine = _before + sum(_raised)
        if sys.getrecursionlimit() != mine:  # somebody else has set it meanwhile
            _before = sys.getrecursionlimit() - sum(_raised)
        how(needed)
        sys.setrecursionlimit(_before + sum(_raised))
