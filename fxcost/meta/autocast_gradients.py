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
_COMPOSITE = frozenset({torch.ops.aten.linear.default, torch.ops.aten.matmul.default})
"""On the lists too, though a dispatch mode sees only what they are made of: here the weight is still itself."""
_lock = threading.Lock()
_users = 0
_libraries: list[torch.library.Library] = []


class _Cache(threading.local):
    """What the calling thread's regions have cast: by the identity of a weight, it and its copy."""

    def __init__(self) -> None:
        self.casts: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}


_cache = _Cache()


class AutocastRegionError(BaseException):
    """A step that did not expect one met an autocast region; raised past the model's own handlers."""


def _casting(op: torch._ops.OpOverload) -> Callable[..., Any]:
    key = torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, _KEY))

    def kernel(*args: Any, **kwargs: Any) -> Any:
        region = region_dtype()
        wanted = region if op in _COMPOSITE else cast_to(op, region) if region is not None else None
        with torch._C._ExcludeDispatchKeyGuard(key):
            if wanted is not None:
                # from the last to the first, as PyTorch's compiled code evaluates them: gradients come in that order
                args = tuple([_cast(a, wanted, cached=wanted is region) for a in args[::-1]][::-1])
            return op(*args, **kwargs)

    return kernel


def _cast(value: Any, dtype: torch.dtype, cached: bool) -> Any:
    """Arguments in `dtype`, weights from the cache. Condition: `cached_cast` in ATen/autocast_mode.cpp."""
    if isinstance(value, (tuple, list)):
        return type(value)(_cast(v, dtype, cached) for v in value)
    is_weight = isinstance(value, torch.Tensor) and value.requires_grad and value.is_leaf and not value._is_view()
    if not (cached and is_weight and value.dtype is torch.float32 and torch.is_autocast_cache_enabled()):
        return cast(value, dtype)
    if id(value) not in _cache.casts:
        _cache.casts[id(value)] = value, cast(value, dtype)
    return _cache.casts[id(value)][1]


_stock_clear = torch.clear_autocast_cache


def _clear() -> None:
    """Called when the calling thread's outermost region ends."""
    _cache.casts.clear()
    _stock_clear()


def _register() -> None:
    torch.clear_autocast_cache = _clear
    fallback = torch.library.Library("_", "IMPL")
    fallback.fallback(torch.library.fallthrough_kernel, _KEY)
    _libraries.append(fallback)
    by_namespace: dict[str, torch.library.Library] = {}
    for op in LOWER_PRECISION | FLOAT32 | _COMPOSITE:
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
        _cache.casts.clear()
        with _lock:
            _users -= 1
            if not _users:
                torch.clear_autocast_cache = _stock_clear
                while _libraries:
                    _libraries.pop()._destroy()
