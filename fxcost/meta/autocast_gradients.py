"""Autocast on meta tensors for training: casts above autograd, where PyTorch's own are.

autocast.py casts below autograd, which is enough for a forward pass. In a training step casts are differentiated, and
what a product saves for backward is its inputs' copies in the lower precision. So the same operators get kernels at an
autocast key that no backend of this machine uses, behind which autograd lies. It is registered while a step runs that
needs it, and taken out afterwards.

A whole analysis may run so too (:func:`autocast_region`): casts are then where CUDA's are, above what functions are
made of, which matters to a convolution with a bias, and to softmax and sums, which CUDA casts as they read.

Not here: casts that only promote to the widest input type; type promotion does that for most operators anyway.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import _get_current_dispatch_mode

from .autocast import FLOAT32, LOWER_PRECISION, above, cast, cast_to, region_dtype

aten = torch.ops.aten
_KEY = "AutocastPrivateUse1"
_COMPOSITE = frozenset(
    {
        aten.linear.default,
        aten.matmul.default,
        aten.prelu.default,
        *(getattr(aten, f"conv{n}d").default for n in (1, 2, 3)),
        *(getattr(aten, f"conv{n}d").padding for n in (1, 2, 3)),
        aten.conv_transpose1d.default,
        aten.conv_transpose2d.input,
        aten.conv_transpose3d.input,
    }
)
"""On the lists too, though a dispatch mode sees only what they are made of: here the weight is still itself."""
_SOFTMAX = {aten.softmax.int: aten._softmax.default, aten.log_softmax.int: aten._log_softmax.default}
"""CUDA's kernels read the lower precision and write float32, without a cast of their own."""
_lock = threading.Lock()
_users = 0
_libraries: list[torch.library.Library] = []


class _Cache(threading.local):
    """What the calling thread's regions have cast: by the identity of a weight, it and its copy."""

    def __init__(self) -> None:
        self.casts: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self.run: Any = None
        """The dispatch mode of the run that they were made in: each run of a model casts its weights anew."""


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
    run = _get_current_dispatch_mode()
    if run is not _cache.run:
        _cache.casts.clear()
        _cache.run = run
    if id(value) not in _cache.casts:
        _cache.casts[id(value)] = value, cast(value, dtype)
    return _cache.casts[id(value)][1]


def _softmax(op: torch._ops.OpOverload) -> Callable[..., Any]:
    """Softmax in a region: half in, float32 out, in one kernel, as on CUDA (ATen/native/SoftMax.cpp)."""
    key = torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, _KEY))

    def kernel(value: Any, dim: int, dtype: torch.dtype | None = None) -> Any:
        lower = dtype is None and region_dtype() is not None and value.dtype in (torch.float16, torch.bfloat16)
        with torch._C._ExcludeDispatchKeyGuard(key):
            if not lower or not above.active or value.dtype is not torch.float16:
                return op(value, dim, torch.float32 if lower else dtype)
            return _SOFTMAX[op](value, dim, True)

    return kernel


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
    for op in _SOFTMAX:
        by_namespace["aten"].impl(op, _softmax(op), _KEY)
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
        _cache.run = None
        with _lock:
            _users -= 1
            if not _users:
                torch.clear_autocast_cache = _stock_clear
                while _libraries:
                    _libraries.pop()._destroy()


@contextmanager
def autocast_region(dtype: torch.dtype | None) -> Iterator[None]:
    """While active, the calling thread runs as in `torch.autocast("cuda", dtype)`, with CUDA or without.

    None leaves it as it is. Regions of the model's own nest in it, and may switch it off.
    """
    if dtype is None:
        yield
        return
    before = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
    outer = above.active
    torch.autocast_increment_nesting()
    torch.set_autocast_enabled("cuda", True)
    torch.set_autocast_dtype("cuda", dtype)
    above.active = True
    try:
        with differentiable_casts():
            yield
    finally:
        above.active = outer
        torch.set_autocast_enabled("cuda", before[0])
        torch.set_autocast_dtype("cuda", before[1])
        torch.autocast_decrement_nesting()
