"""What ran while one node was executed, and how values are described in records: specs in place of tensors.

Not here: running anything (recorder.py).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..records.recording import InnerCall, OpRecord, TensorSpec
from .nested import extent

PLAIN_DATA = frozenset({type(None), int, float, bool, str, torch.dtype, TensorSpec})


def is_plain(value: Any) -> bool:
    """True for a dense tensor that a :class:`TensorSpec` describes completely."""
    return (
        isinstance(value, Tensor)
        and value.layout is torch.strided
        and not value.is_quantized
        and not value.is_nested
        and not torch._C._functorch.is_functorch_wrapped_tensor(value)
        and (type(value) is Tensor or type(value) is torch.nn.Parameter or not _is_wrapper(value))
    )


def in_memory(tensor: Tensor) -> bool:
    """True for a tensor with strides on a storage: a plain one, or a quantized one, which only a real run has."""
    quantized = tensor.is_quantized and type(tensor) in (Tensor, torch.nn.Parameter) and not tensor.is_meta
    return is_plain(tensor) or (quantized and tensor.layout is torch.strided)


def shape_of(tensor: Tensor) -> tuple[int, ...]:
    """Sizes; a nested tensor has none in its ragged dimension."""
    return extent(tensor) if tensor.is_nested else tuple(tensor.shape)


def unwrapped(tensor: Tensor) -> Tensor:
    """The tensor in memory that one of functorch's stands for, within `vmap`, `grad` and their like; else itself."""
    while torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        tensor = torch._C._functorch.get_unwrapped(tensor)
    return tensor


def _is_wrapper(tensor: Tensor) -> bool:
    return hasattr(type(tensor), "__tensor_flatten__")


class Ran(NamedTuple):
    """What ran in a :class:`Segment` that is done."""

    operations: tuple[OpRecord, ...] = ()
    storages: tuple[int, ...] = ()
    calls: tuple[InnerCall, ...] = ()
    freed: tuple[tuple[int, int], ...] = ()


class Segment:
    """What ran while one node was executed: records whose storages are numbered within the segment.

    With `whole`, for nodes that hide calls, these are noted too. `freed` has, for each storage that died meanwhile, its
    number in the segment and how many operations had run.
    """

    __slots__ = ("calls", "freed", "operations", "scope", "slots", "whole")

    def __init__(self, whole: bool = False) -> None:
        self.operations: list[OpRecord] = []
        self.freed: list[tuple[int, int]] = []
        self.slots: dict[int, int] = {}
        self.scope = ""
        self.whole = whole
        self.calls: list[InnerCall] = []

    def ran(self) -> Ran:
        """What ran in it."""
        return Ran(tuple(self.operations), tuple(self.slots), tuple(self.calls), tuple(self.freed))

    def note(self, target: str, is_module: bool, args: Any, kwargs: Any, out: Any, start: int) -> None:
        """Note a call that began when `start` operations had run and has just returned."""
        named = tuple([(name, outline(value)) for name, value in kwargs.items()])
        stop = len(self.operations)
        self.calls.append(InnerCall(target, is_module, outline(args), named, outline(out), start, stop, self.scope))


def described(value: Any, spec: Callable[[Tensor], TensorSpec]) -> Any:
    """A value with specs in place of tensors; lists become tuples, dataclasses dicts, other objects a type's name."""
    kind = type(value)
    if kind in PLAIN_DATA:
        return value
    if isinstance(value, Tensor):
        return spec(value)
    if isinstance(value, (tuple, list)):
        return tuple([described(v, spec) for v in value])
    if isinstance(value, dict):
        return {k: described(v, spec) for k, v in value.items()}
    if isinstance(value, int):
        return int(value)
    if isinstance(value, (float, str)):
        return value
    fields = fields_of(value)
    return f"<{kind.__name__}>" if fields is None else described(fields, spec)


def outline(value: Any) -> Any:
    """A value as :func:`described`, its specs without storages."""
    return described(value, _bare)


def _bare(tensor: Tensor) -> TensorSpec:
    return TensorSpec(shape_of(tensor), tensor.dtype, tuple(tensor.stride()) if is_plain(tensor) else ())


def fields_of(value: Any) -> dict[str, Any] | None:
    """The fields of a dataclass instance, as outputs often are; None for anything else."""
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return None
    return {f.name: getattr(value, f.name, None) for f in dataclasses.fields(value)}
