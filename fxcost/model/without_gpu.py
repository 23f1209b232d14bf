"""Code that calls `torch.cuda` on a machine without a GPU: what it calls does nothing there, as on meta nothing waits.

PyTorch's functions for this know no tensors and so can't be asked to stand aside; they are replaced in `torch.cuda`,
for the thread that analyses alone, and only to run a model again that has failed for want of a GPU. Code that asks
which GPU this is, is told of one, and the report says of which.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
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
_WHERE = str(Path(torch.cuda.__file__).parent)
_GPU = SimpleNamespace(
    name="NVIDIA H100 80GB HBM3", major=9, minor=0, total_memory=80 * 2**30, multi_processor_count=132, warp_size=32
)
"""What code is told that asks which GPU this is."""
TOLD = f"the code asks for a GPU's kind or memory; it was told of an idle {_GPU.name}, as there is none here"


class _Quiet(torch.Stream):
    """A stream or an event: whatever is asked of it is done already. Tensors take it for a stream of a GPU."""

    def __new__(cls, *_: Any, **__: Any) -> _Quiet:
        return super().__new__(cls, stream_id=0, device_index=0, device_type=1)

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("__"):
            return super().__getattribute__(name)
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
    **dict.fromkeys(("reset_peak_memory_stats", "reset_max_memory_allocated", "empty_cache", "ipc_collect"), _nothing),
    "is_current_stream_capturing": lambda: False,
    **dict.fromkeys(("Event", "Stream", "current_stream", "default_stream"), _Quiet),
    **dict.fromkeys(("stream", "device"), lambda *_, **__: nullcontext()),
    **{name: _made(dtype) for name, dtype in _TENSORS.items()},
}


_ANSWERS: dict[str, Any] = {
    "get_device_capability": (_GPU.major, _GPU.minor),
    "get_device_name": _GPU.name,
    "get_device_properties": _GPU,
    "mem_get_info": (_GPU.total_memory, _GPU.total_memory),
    "is_bf16_supported": True,
    **dict.fromkeys(("memory_allocated", "memory_reserved", "max_memory_allocated", "max_memory_reserved"), 0),
    "memory_stats": {},
}
"""What is answered to those who ask which GPU this is, and how much of it is in use."""


def misses_a_gpu(error: BaseException | None) -> bool:
    """True if an error says that there is no GPU, or was raised by `torch.cuda`'s own code, where there is none."""
    if torch.cuda.is_available() or error is None:
        return False
    last = traceback.extract_tb(error.__traceback__)[-1:]
    return any(part in str(error) for part in _SAID) or any(frame.filename.startswith(_WHERE) for frame in last)


@contextmanager
def without_gpu(assume: Callable[[str], object]) -> Iterator[None]:
    """While active, `torch.cuda`'s functions do nothing on this thread; on others they are as they were.

    `assume` is told where what the code does may hang on the GPU.
    """
    me = threading.get_ident()
    names = (*_STAND_INS, *_ANSWERS)
    before = {name: getattr(torch.cuda, name) for name in names if hasattr(torch.cuda, name)}

    def told(name: str) -> Any:
        assume(TOLD)
        return _ANSWERS[name]

    def standing_in(name: str) -> Callable[..., Any]:
        ours = _STAND_INS.get(name, lambda *_, **__: told(name))
        return lambda *a, **k: (ours if threading.get_ident() == me else before[name])(*a, **k)

    with _lock:
        try:
            for name in before:
                setattr(torch.cuda, name, standing_in(name))
            yield
        finally:
            for name, function in before.items():
                setattr(torch.cuda, name, function)
