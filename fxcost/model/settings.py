"""PyTorch's settings, which a model's code may change while it runs: put back as they were.

A run that ends early, because the code meets something that it can't do on meta tensors, would leave the process with
whatever the code had set until then. Some settings are the whole process's: what another thread sets while the code
runs can't be told from what the code sets, and is put back with it. Settings that this PyTorch lacks are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch.overrides import _pop_mode

_DEVICES = ("cpu", "cuda")
_NOT_THERE = (AttributeError, RuntimeError)


def _settings() -> Iterator[tuple[Callable[[], Any], Callable[[Any], Any]]]:
    """What asks for a setting, and what sets it."""
    yield torch.get_default_dtype, torch.set_default_dtype
    yield torch.is_grad_enabled, torch._C._set_grad_enabled
    for device in _DEVICES:
        yield partial(torch.is_autocast_enabled, device), partial(torch.set_autocast_enabled, device)
        yield partial(torch.get_autocast_dtype, device), partial(torch.set_autocast_dtype, device)
    yield torch.is_autocast_cache_enabled, torch.set_autocast_cache_enabled
    yield torch.get_num_threads, torch.set_num_threads
    yield torch.get_float32_matmul_precision, torch.set_float32_matmul_precision
    yield torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode
    yield torch.is_anomaly_enabled, torch.set_anomaly_enabled
    yield torch.is_warn_always_enabled, torch.set_warn_always
    for name in ("enabled", "benchmark", "deterministic"):  # as attributes they may have been closed to changes
        if hasattr(torch._C, f"_set_cudnn_{name}"):
            yield getattr(torch._C, f"_get_cudnn_{name}"), getattr(torch._C, f"_set_cudnn_{name}")
    for name in ("flash", "mem_efficient", "math", "cudnn"):
        asks = getattr(torch.backends.cuda, f"{name}_sdp_enabled", None)
        if asks is not None:
            yield asks, getattr(torch.backends.cuda, f"enable_{name}_sdp")


_SETTINGS = tuple(_settings())


def settings() -> list[Callable[[], None]]:
    """What puts each setting back that is not then what it is now; the modes that were entered meanwhile too."""
    undo: list[Callable[[], None]] = [_modes(torch._C._len_torch_function_stack()), _default_device()]
    for asks, sets in _SETTINGS:
        try:
            undo.append(_one(asks, sets, asks()))
        except _NOT_THERE:  # settings of two kinds that contradict each other: nobody can ask
            continue
    return undo


def _one(asks: Callable[[], Any], sets: Callable[[Any], Any], before: Any) -> Callable[[], None]:
    def undo() -> None:
        if asks() != before:
            sets(before)

    return undo


def _default_device() -> Callable[[], None]:
    """The default device is a mode of functions, which is entered anew wherever it is set."""
    asks = partial(getattr, torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)
    before = asks()

    def undo() -> None:
        if asks() is not before:
            torch.set_default_device(None if before is None else before.device)

    return undo


def _modes(before: int) -> Callable[[], None]:
    def undo() -> None:
        while torch._C._len_torch_function_stack() > before:
            _pop_mode()

    return undo
