"""Torch calls that leave the world of meta tensors, or name a device.

`x.tolist()`, `x.numpy()` and `f"{x}"` take values out; `torch.tensor([1, 2], device=…)` brings values in;
`x.cuda()` and `x.to("cuda:1")` ask for a device that this machine need not have, and on which nothing would change.
On meta tensors PyTorch refuses these or drops the values. :func:`translate` turns them into what works. Code that asks
a tensor for its device is told where the user's own tensors are, not that it runs on meta.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import lru_cache
from types import FrameType, MethodWrapperType
from typing import Any

import torch
from torch import Tensor
from torch.fx.node import _get_qualified_name
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import _disable_current_modes

from ..meta.autocast import region_to_cast
from ..meta.nested import is_jagged_on_meta, jagged_attention
from ..meta.segments import Segment
from ..meta.storages import META
from ..meta.user_code import asking_line
from ..meta.values import ValueRecorder
from .products import noting_products
from .spelling import operator_of

Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]

_TAKE_VALUES: dict[Any, Callable[..., Any]] = {
    Tensor.tolist: lambda real: real.tolist(),
    Tensor.numpy: lambda real, **_: real.numpy(),
    Tensor.__array__: lambda real, *a, **k: real.__array__(*a, **k),
    Tensor.__format__: lambda real, spec: format(real.item() if real.dim() == 0 else real, spec),
}
_LEAVING = frozenset({Tensor.numpy, Tensor.__array__, Tensor.__dlpack__})
"""Calls that hand a tensor to another library, whose work nobody counts."""
_BRING_VALUES = frozenset({torch.tensor, torch.as_tensor, torch.asarray, Tensor.new_tensor, torch.scalar_tensor})
_SPLITS = frozenset({torch.tensor_split, Tensor.tensor_split})
_MOVES = frozenset({Tensor.cpu, Tensor.cuda, Tensor.pin_memory})
_INDEXES = frozenset({Tensor.__getitem__, Tensor.__setitem__})
_SHAPE: Any = Tensor.shape
_DEVICE_QUESTIONS: dict[Any, Callable[[torch.device], Any]] = {
    getattr(Tensor, "device").__get__: lambda home: home,  # noqa: B009 - mypy knows no __get__ of it
    getattr(Tensor, "is_meta").__get__: lambda home: home.type == "meta",  # noqa: B009
    getattr(Tensor, "is_cpu").__get__: lambda home: home.type == "cpu",  # noqa: B009
    getattr(Tensor, "is_cuda").__get__: lambda home: home.type == "cuda",  # noqa: B009
    Tensor.get_device: lambda home: -1 if home.type == "cpu" else home.index or 0,
}
_ATTENTION = torch.nn.functional.scaled_dot_product_attention
ASKS_SIZE = frozenset({Tensor.size, _SHAPE.__get__, Tensor.numel, torch.numel})


class Taken(Exception):  # noqa: N818 - carries a result, not an error
    """The call was answered from known values; `result` is what it returns."""

    def __init__(self, result: Any) -> None:
        super().__init__()
        self.result = result


def translate(
    recorder: ValueRecorder, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], caller: FrameType
) -> Call:
    """The call to make instead of `func(*args, **kwargs)` in the code of `caller`; mostly the same.

    Raises:
        Taken: there is nothing to call; the exception carries the result.
        UnknownValueError: a value is asked for that is not known.
    """
    if func in _LEAVING and args[0].numel() > 1 and (args[0].is_floating_point() or args[0].is_complex()):
        where = asking_line(recorder.running)
        recorder.assume(f"{where} hands a tensor to NumPy or the like: what that computes is not counted")
    if recorder.real:
        if func in _TAKE_VALUES:
            recorder.asked()
        return func, args, kwargs
    args, kwargs = recorder.with_gradients(args, kwargs)
    special = _SPECIAL.get(func)
    recorder.region = region_to_cast()
    if special is not None:
        return special(recorder, func, args, kwargs, caller)
    if type(func) is MethodWrapperType and func.__name__ == "__set__":
        recorder.changes += 1
    return _nowhere(func, args, kwargs)


def _nowhere(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    """A call that may name a device."""
    if kwargs.get("device") is not None:
        kwargs = {**kwargs, "device": META}
        if kwargs.get("pin_memory"):
            kwargs["pin_memory"] = False
    return func, args, kwargs


def _device(recorder: ValueRecorder, func: Any, args: Any, kwargs: Any, caller: FrameType) -> Call:
    if (answer := device_answer(func, recorder.home, caller)) is not None:
        raise Taken(answer)
    return func, args, kwargs


def _address(recorder: ValueRecorder, func: Any, args: Any, kwargs: Any, caller: FrameType) -> Call:
    """Where in memory a tensor's first element is: each storage has a place of its own, though none is in memory."""
    tensor = args[0]
    if not tensor.is_meta or tensor.layout is not torch.strided or not tensor.numel():
        return func, args, kwargs
    start = recorder.storages.address(tensor.untyped_storage())
    raise Taken(start + tensor.storage_offset() * tensor.element_size())


def _storage(recorder: ValueRecorder, func: Any, args: Any, kwargs: Any, caller: FrameType) -> Call:
    """A storage, which says where it is when it is asked."""
    storage = func(*args, **kwargs)
    untyped = getattr(storage, "_untyped_storage", storage)
    if type(untyped) is torch.UntypedStorage and untyped.device.type == "meta":
        address = recorder.storages.address(untyped) if untyped.nbytes() else 0
        untyped.__class__ = _Storage
        untyped.__dict__.update(home=recorder.home, data_ptr=lambda: address)
    raise Taken(storage)


class _Storage(torch.UntypedStorage):
    """A storage on meta that says it is where the user's tensors are."""

    home: torch.device

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        """What code of the user's is told, through a storage of the old kind too; PyTorch's and ours knows meta."""
        caller = sys._getframe(1)
        if caller.f_code is _OLD_STORAGE and caller.f_back is not None:
            caller = caller.f_back
        return META if _is_torchs(caller) else self.home


_OLD_STORAGE = torch.TypedStorage.device.fget.__code__  # type: ignore[attr-defined]


def _type(recorder: ValueRecorder, func: Any, args: Any, kwargs: Any, caller: FrameType) -> Call:
    """The old name of a tensor's type, `torch.cuda.FloatTensor`, which says where it is; or a cast to one."""
    wanted = args[1] if len(args) > 1 else kwargs.get("dtype")
    if wanted is None:
        home = recorder.home.type
        raise Taken(func(*args, **kwargs).replace("torch.meta.", "torch." if home == "cpu" else f"torch.{home}."))
    if isinstance(wanted, str):
        wanted = getattr(torch, wanted.rpartition(".")[2], wanted)
    return Tensor.to, (args[0], getattr(wanted, "dtype", wanted)), {}


def _settled(recorder: ValueRecorder, func: Any, args: Any, kwargs: Any, caller: FrameType) -> Call:
    """What waits for a GPU: nothing does."""
    raise Taken(None)


def _is_set_to(recorder: ValueRecorder, func: Any, args: Any, kwargs: Any, caller: FrameType) -> Call:
    """Whether two tensors are the same window onto the same memory."""
    one, other = (
        (t.untyped_storage()._cdata, t.storage_offset(), t.shape, t.stride(), t.dtype)
        for t in (args[0], args[1] if len(args) > 1 else kwargs["tensor"])
    )
    raise Taken(one == other)


def _take(recorder: ValueRecorder, func: Any, args: Any, kwargs: Any, caller: FrameType) -> Call:
    """A value is taken out."""
    if not args[0].is_meta or (func is Tensor.__format__ and args[0].dim()):
        return func, args, kwargs
    real = recorder.host_value(args[0], f"Tensor.{func.__name__}")
    with _disable_current_modes():  # numpy() detaches first, which would bring the value back to meta
        raise Taken(_TAKE_VALUES[func](real, *args[1:], **kwargs))


def _attention(recorder: ValueRecorder, func: Any, args: Any, kwargs: Any, caller: FrameType) -> Call:
    return jagged_attention if args and is_jagged_on_meta(args[0]) else func, args, kwargs


def _split(recorder: ValueRecorder, func: Any, args: Any, kwargs: Any, caller: FrameType) -> Call:
    if len(args) > 1 and isinstance(args[1], Tensor):
        args = (args[0], recorder.host_value(args[1], "tensor_split").tolist(), *args[2:])
    return func, args, kwargs


def _bring(recorder: ValueRecorder, func: Any, args: Any, kwargs: Any, caller: FrameType) -> Call:
    """Values are brought in."""
    data = args[1] if func is Tensor.new_tensor else args[0] if args else None
    if isinstance(data, Tensor):
        return _nowhere(func, args, kwargs)
    if func is Tensor.new_tensor:
        kwargs = {"dtype": args[0].dtype if _all_floats(data) else None, **kwargs}
        func, args = torch.tensor, args[1:]
    args = (_numbers(recorder, args[0]), *args[1:]) if args else args
    return func, args, {k: v for k, v in kwargs.items() if k not in ("device", "pin_memory")}


def _move(recorder: ValueRecorder, func: Any, args: Any, kwargs: Any, caller: FrameType) -> Call:
    return (Tensor.to, (args[0], META), {}) if isinstance(args[0], Tensor) else _nowhere(func, args, kwargs)


def _to(recorder: ValueRecorder, func: Any, args: Any, kwargs: Any, caller: FrameType) -> Call:
    return func, (args[0], *map(_on_meta, args[1:])), {k: _on_meta(v) for k, v in kwargs.items()}


def _index(recorder: ValueRecorder, func: Any, args: Any, kwargs: Any, caller: FrameType) -> Call:
    return func, (args[0], _index_tensors(args[1]), *[_assigned(v, args[0]) for v in args[2:]]), kwargs


_SPECIAL: dict[Any, Callable[[ValueRecorder, Any, Any, Any, FrameType], Call]] = {
    **dict.fromkeys(_DEVICE_QUESTIONS, _device),
    **dict.fromkeys(_TAKE_VALUES, _take),
    Tensor.data_ptr: _address,
    Tensor.untyped_storage: _storage,
    Tensor.storage: _storage,
    Tensor.type: _type,
    Tensor.is_set_to: _is_set_to,
    Tensor.record_stream: _settled,
    _ATTENTION: _attention,
    **dict.fromkeys(_SPLITS, _split),
    **dict.fromkeys(_BRING_VALUES, _bring),
    **dict.fromkeys(_MOVES, _move),
    Tensor.to: _to,
    **dict.fromkeys(_INDEXES, _index),
}


def device_answer(func: Any, home: torch.device, caller: FrameType) -> Any:
    """What a question for a tensor's device is answered; None if `func` asks none, or may know that it is on meta."""
    return _DEVICE_QUESTIONS[func](home) if func in _DEVICE_QUESTIONS and not _is_torchs(caller) else None


def _is_torchs(caller: FrameType) -> bool:
    """True for code of PyTorch's or ours, which knows meta tensors; but `torch.autocast(x.device.type)` knows none."""
    library = caller.f_globals.get("__name__", "").partition(".")[0] in ("torch", "fxcost")
    return library and "autocast" not in caller.f_code.co_names


def _numbers(recorder: ValueRecorder, data: Any) -> Any:
    """Data with numbers in the place of the tensors without dimensions that stand in lists."""
    if isinstance(data, Tensor) and data.is_meta and data.dim() == 0:
        return recorder.host_value(data, "a tensor made from others").item()
    if type(data) is list or type(data) is tuple:
        return [_numbers(recorder, item) for item in data]
    return data


def _all_floats(data: Any) -> bool:
    return isinstance(data, float) or (isinstance(data, (list, tuple)) and bool(data) and all(map(_all_floats, data)))


def _on_meta(value: Any) -> Any:
    if isinstance(value, torch.device) or type(value) is int:  # `x.to(y.get_device())`
        return META
    if isinstance(value, str):
        return META if value.split(":")[0] in ("cpu", "cuda", "mps", "xpu", "meta", "npu", "hpu") else value
    return value


def _index_tensors(index: Any) -> Any:
    """Lists of ints in an index become tensors: on meta they would lose their values."""
    if isinstance(index, tuple):
        return tuple(map(_index_tensors, index))
    if isinstance(index, list) and index and all(type(i) in (int, bool) for i in index):
        with _disable_current_modes():  # a constant of the call's: making it is no work of the model
            return torch.tensor(index)
    return index


def _assigned(value: Any, to: Tensor) -> Any:
    """A number that is written into a part of a tensor, as a constant on the CPU: PyTorch fills that part with it.

    On meta the number would become a tensor by an operator of its own, which is then expanded and copied.
    """
    if type(value) not in (int, float, bool, complex) or not to.is_meta:
        return value
    with _disable_current_modes():
        return torch.tensor(value, dtype=to.dtype)


class HostCalls(TorchFunctionMode):
    """Translates every torch call while active; for graphs, whose nodes call torch functions directly."""

    def __init__(self, recorder: ValueRecorder) -> None:
        super().__init__()
        self._recorder = recorder

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        try:
            func, args, kwargs = translate(self._recorder, func, args, kwargs or {}, sys._getframe(1))
        except Taken as taken:
            return taken.result
        segment = self._recorder.segment
        if segment is None or not segment.whole:
            return func(*args, **kwargs)
        start = len(segment.operations)
        out = func(*args, **kwargs)
        if func in ASKS_SIZE:
            return noting_products(out, segment)
        note_function(segment, func, args, kwargs, out, start, sys._getframe(1))
        return out


def note_function(segment: Segment, func: Any, args: Any, kwargs: Any, out: Any, start: int, caller: FrameType) -> None:
    """Note a torch function that `caller` called inside a node, unless it only asks something of a tensor."""
    if len(segment.operations) == start and not isinstance(out, (Tensor, tuple)):
        return
    if not isinstance(func, MethodWrapperType):  # a getter or setter
        func = operator_of(getattr(func, "__name__", ""), caller) or func
        segment.note(torch_name(func), False, args, kwargs, out, start)


@lru_cache(maxsize=4096)
def torch_name(func: Any) -> str:
    """A torch function's qualified name; methods stand under `torch.Tensor`."""
    name = getattr(func, "__name__", "")
    return f"torch.Tensor.{name}" if getattr(Tensor, name, None) is func else _get_qualified_name(func)
