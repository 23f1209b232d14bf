"""Functions that `torch.fx.wrap` marks: while a model is traced, calls of them become nodes.

They are found by name in the module that marked them, so there the name must stand for something else meanwhile. That
is the one thing that tracing changes in the process; without a proxy among its arguments the stand-in calls the
function.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.fx import _symbolic_trace as fx_tracing

_lock = threading.RLock()  # two threads that replace a function and put it back would leave the other's
_replaced: list[tuple[dict[str, Any], str, Any]] = []


def _put_back() -> None:
    while _replaced:
        names, name, function = _replaced.pop()
        names[name] = function


def _after_fork() -> None:
    """A child starts without what another thread of its parent was tracing."""
    global _lock
    _lock = threading.RLock()
    _put_back()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@contextmanager
def wrapped_functions(
    root: nn.Module, model: Any, stand_in: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> Iterator[None]:
    """Meanwhile the functions that `torch.fx.wrap` marks, in the modules of the model's code, have stand-ins."""
    code = {type(m).__module__ for m in root.modules()} | {getattr(model, "__module__", None)}
    marked = [
        (names, name)
        for (_, name), names in fx_tracing._wrapped_fns_to_patch.items()
        if names.get("__name__") in code and callable(names.get(name))
    ]
    if not marked:
        yield
        return
    with _lock:
        try:
            for names, name in marked:
                _replaced.append((names, name, names[name]))
                names[name] = stand_in(names[name])
            yield
        finally:
            _put_back()
