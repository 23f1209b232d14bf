"""Autocast on meta tensors for training: casts above autograd, where PyTorch's own are.

autocast.py casts below autograd, which is enough for a forward pass. In a training step casts are differentiated, and
what a product saves for backward is its inputs' copies in the lower precision. So the same operators get kernels at an
autocast key that no backend of this machine uses, behind which autograd lies. It is registered while a step runs that
needs it, and taken out afterwards.

Not here: autocast's cache, by which a weight that is used twice in a region is cast once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from .autocast import FLOAT32, LOWER_PRECISION, cast, cast_to, region_dtype

_KEY = "AutocastPrivateUse1"
_lock = threading.Lock()
_users = 0
_libraries: list[torch.library.Library] = []


class AutocastRegionError(BaseException):
    """A step that did not expect one met an autocast region; raised past the model's own handlers."""


def _casting(op: torch._ops.OpOverload) -> Callable[..., Any]:
    key = torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, _KEY))

    def kernel(*args: Any, **kwargs: Any) -> Any:
        region = region_dtype()
        wanted = cast_to(op, region) if region is not None else None
        with torch._C._ExcludeDispatchKeyGuard(key):
            if wanted is not None:
                args = tuple([cast(a, wanted) for a in args])
            return op(*args, **kwargs)

    return kernel


def _register() -> None:
    fallback = torch.library.Library("_", "IMPL")
    fallback.fallback(torch.library.fallthrough_kernel, _KEY)
    _libraries.append(fallback)
    by_namespace: dict[str, torch.library.Library] = {}
    for op in LOWER_PRECISION | FLOAT32:
        if op.namespace not in by_namespace:
            by_namespace[op.namespace] = torch.library.Library(op.namespace, "IMPL")
        by_namespace[op.namespace].impl(op, _casting(op), _KEY)
    _libraries.extend(by_namespace.values())


@contextmanager
def differentiable_casts() -> Iterator[None]:
    """While active, autocast regions cast on meta tensors too, and autograd knows. Only for the calling thread."""
    global _users
    with _lock:
        _users += 1
        if not _libraries:
            _register()
    key = getattr(torch._C.DispatchKey, _KEY)
    torch._C._dispatch_tls_set_dispatch_key_excluded(key, False)
    try:
        with torch._C._IncludeDispatchKeyGuard(key):
            yield
    finally:
        torch._C._dispatch_tls_set_dispatch_key_excluded(key, True)
        with _lock:
            _users -= 1
            if not _users:
                while _libraries:
                    _libraries.pop()._destroy()
