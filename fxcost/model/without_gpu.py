"""Code that calls `torch.cuda` on a machine without a GPU: what it calls does nothing there, as on meta nothing waits.

PyTorch's functions for this know no tensors and so can't be asked to stand aside; they are replaced in `torch.cuda`,
for the thread that analyses alone, and only to run a model again that has failed for want of a GPU.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch

_lock = threading.RLock()
_TENSORS = {
    "FloatTensor": torch.float32,
    "DoubleTensor": torch.float64,
    "HalfTensor": torch.float16,
    "BFloat16Tensor": torch.bfloat16,
    "LongTensor": torch.int64,
    "IntTensor": torch.int32,
    "ShortTensor": torch.int16,
    "ByteTensor": torch.uint8,
    "CharTensor": torch.int8,
    "BoolTensor": torch.bool,
}


_SAID = ("NVIDIA driver", "CUDA enabled", "No CUDA GPUs", "torch.cuda", "CUDA is not available", "Torch not compiled")


class _Quiet:
    """A stream or an event: whatever is asked of it is done already."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *_, **__: 0.0 if name == "elapsed_time" else None


def _nothing(*_: Any, **__: Any) -> None:
    pass


def _made(dtype: torch.dtype) -> Callable[..., torch.Tensor]:
    def tensor(*given: Any) -> torch.Tensor:
        if given and not all(isinstance(n, int) for n in given):
            return torch.tensor(given[0], dtype=dtype)
        return torch.empty(given, dtype=dtype)

    return tensor


_STAND_INS: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(("synchronize", "set_device", "init", "_lazy_init", "set_stream"), _nothing),
    "current_device": lambda: 0,
    **dict.fromkeys(("Event", "Stream", "current_stream", "default_stream"), _Quiet),
    **dict.fromkeys(("stream", "device"), lambda *_, **__: nullcontext()),
    **{name: _made(dtype) for name, dtype in _TENSORS.items()},
}


def misses_a_gpu(error: BaseException | None) -> bool:
    """True if an error says that there is no GPU, where there is none."""
    text = str(error)
    return not torch.cuda.is_available() and any(part in text for part in _SAID)


@contextmanager
def without_gpu() -> Iterator[None]:
    """While active, `torch.cuda`'s functions do nothing on this thread; on others they are as they were."""
    me = threading.get_ident()
    before = {name: getattr(torch.cuda, name) for name in _STAND_INS if hasattr(torch.cuda, name)}

    def standing_in(name: str) -> Callable[..., Any]:
        return lambda *a, **k: (_STAND_INS[name] if threading.get_ident() == me else before[name])(*a, **k)

    with _lock:
        try:
            for name in before:
                setattr(torch.cuda, name, standing_in(name))
            yield
        finally:
            for name, function in before.items():
                setattr(torch.cuda, name, function)
