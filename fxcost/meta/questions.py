"""What an operator is asked, as a key: all that decides its answer and its record, hashable.

Not here: the answers (answers.py).
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any

import torch
from torch import Tensor

from ..records.recording import Operator, written_arguments
from .storages import Storages

_SCALARS = frozenset({int, float, bool})
_SETTINGS = frozenset({str, type(None), torch.dtype, torch.memory_format, torch.layout})
_SEQUENCES = frozenset({tuple, list, torch.Size})


class _UnusualError(Exception):
    """An argument that can't stand in a question."""


class Asker:
    """Writes questions; `followed` has the numbers of the storages of whose contents something is known."""

    __slots__ = ("_followed", "_knows", "_number_of", "_slots")

    def __init__(self, storages: Storages, followed: Container[int]) -> None:
        self._number_of, self._followed = storages.number_of, followed
        self._slots: dict[int, int] = {}
        self._knows = False

    def question(self, func: Operator, args: Any, kwargs: dict[str, Any], slots: dict[int, int]) -> Any:
        """What decides an operator's answer and record; None if it can't be told.

        Without a tensor there is little to remember; what is done with tensors of which something is known, is done.
        Floats that are known beside unknown ones (a batch norm's statistics) decide nothing: of the result nothing is.
        """
        before = len(slots)
        self._slots, self._knows = slots, False
        try:
            asked = tuple([self._asked(a) for a in args])
            named = tuple([(k, self._asked(v)) for k, v in kwargs.items()]) if kwargs else ()
        except _UnusualError:
            return None
        if self._knows and (written_arguments(func) or not self._is_unknown(args[0])):
            return None
        return (id(func), before, asked, named, torch.get_default_dtype())

    def _is_unknown(self, first: Any) -> bool:
        """True for a float tensor of which nothing is known."""
        if not isinstance(first, Tensor) or not first.is_floating_point():
            return False
        return self._number_of(first.untyped_storage()) not in self._followed

    def _asked(self, value: Any) -> Any:
        kind = type(value)
        if kind is Tensor or kind is torch.nn.Parameter:
            plain = value.layout is torch.strided and value.is_meta and not (value.is_nested or value.is_quantized)
            if not plain:
                raise _UnusualError
            number, dtype, slots = self._number_of(value.untyped_storage()), value.dtype, self._slots
            if known := number in self._followed:
                self._knows = True
            if dtype.is_complex or (known and not dtype.is_floating_point):
                raise _UnusualError
            slot = slots.setdefault(number, len(slots))
            return (value.shape, value.stride(), dtype, value.storage_offset(), slot, known)
        if kind in _SETTINGS:
            return value
        if kind in _SCALARS:
            return (kind, value)  # 1, 1.0 and True are equal, and not the same argument
        if kind in _SEQUENCES:
            return tuple([self._asked(v) for v in value])
        if kind is torch.device:
            return "meta"  # whatever was asked for
        if isinstance(value, int):
            return (int, int(value))
        raise _UnusualError
