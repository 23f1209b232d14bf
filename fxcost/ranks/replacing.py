"""Attributes of PyTorch's classes and modules replaced for a while, for one thread, once they are known to be there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack
from importlib import import_module
from typing import Any

import torch

from ..errors import ShardingError


def look_for(needed: Iterable[tuple[str, str]], of: str) -> None:
    """See that there are all these, of a module and an attribute's path in it.

    Raises:
        ShardingError: one is missing, and the message says which.
    """
    if missing := [f"{module}.{path}" for module, path in needed if not is_there(module, path)]:
        lacks(missing, of)


def is_there(module: str, path: str) -> bool:
    """True if a module has an attribute, or an attribute's attribute."""
    try:
        found: Any = import_module(module)
        for step in path.split("."):
            found = getattr(found, step)
    except (ImportError, AttributeError):
        return False
    return True


def lacks(missing: Iterable[str], of: str) -> None:
    """Say that this PyTorch lacks what is needed.

    Raises:
        ShardingError: always.
    """
    raise ShardingError(
        f"PyTorch {torch.__version__} has no {', '.join(missing)}, which fxcost needs to run one rank of {of}; it is "
        "tested with PyTorch 2.11 and 2.14"
    )


class Replacing:
    """Replaces attributes for the calling thread; `stack` puts them back."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._thread = threading.get_ident()

    def __call__(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        """Replace what an owner has under a name by what `make` makes of it."""
        before, own = getattr(owner, name), vars(owner).get(name)
        ours, thread = make(before), self._thread

        def here(*args: Any, **kwargs: Any) -> Any:
            return (ours if threading.get_ident() == thread else before)(*args, **kwargs)

        setattr(owner, name, here)
        if own is None:
            self._stack.callback(delattr, owner, name)
        else:  # as it stands there, perhaps a staticmethod
            self._stack.callback(setattr, owner, name, own)


def within(before: Any, context: Callable[[Any], AbstractContextManager[None]]) -> Any:
    """A method that runs within a context of its owner's."""

    def method(owner: Any, *args: Any, **kwargs: Any) -> Any:
        with context(owner):
            return before(owner, *args, **kwargs)

    return method
