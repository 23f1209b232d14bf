"""Parameters and buffers added up, each piece of memory once.

Two parameters are one if they are the same elements of the same storage, in whatever order and shape: tied weights,
transposed ones too, count once, and count where they are found first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from operator import attrgetter

from ..records.recording import ParameterRecord, TensorSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterTotals:
    """Elements (counts) and bytes of parameters and buffers."""

    params: int = 0
    trainable_params: int = 0
    buffers: int = 0
    param_bytes: int = 0
    buffer_bytes: int = 0

    @property
    def frozen_params(self) -> int:
        """Elements of parameters that take no gradient."""
        return self.params - self.trainable_params

    def __add__(self, other: ParameterTotals) -> ParameterTotals:
        return ParameterTotals(**{name: getattr(self, name) + getattr(other, name) for name in _TOTALS})

    def __mul__(self, times: int) -> ParameterTotals:
        return ParameterTotals(**{name: getattr(self, name) * times for name in _TOTALS})


_TOTALS = tuple(f.name for f in fields(ParameterTotals))


def unique_parameters(records: Iterable[ParameterRecord]) -> tuple[ParameterRecord, ...]:
    """Each piece of memory once, with the names of all records that use it.

    It is a parameter if any of them is, and trainable if any of them is. A storage number below 0 means that nothing
    is known of the memory: such a record stands for itself.
    """
    windows: dict[object, ParameterRecord] = {}
    for record in records:
        known = all(spec.storage >= 0 for spec in record.held)
        key = tuple(map(_window, record.held)) if known else record.names
        seen = windows.get(key)
        if seen is not None:
            record = replace(
                seen,
                names=tuple(dict.fromkeys(seen.names + record.names)),
                is_buffer=seen.is_buffer and record.is_buffer,
                trainable=seen.trainable or record.trainable,
            )
        windows[key] = record
    return tuple(windows.values())


def _window(spec: TensorSpec) -> tuple[object, ...]:
    """Which bytes of its storage a tensor takes: the same for two that have the same, in whatever order.

    >>> import torch
    >>> a = TensorSpec((2, 3), torch.float32, (3, 1), 0, 7)
    >>> b = TensorSpec((3, 2), torch.float32, (1, 3), 0, 7)
    >>> _window(a) == _window(b) == (7, 0, ((24, 1),))
    True
    """
    size = spec.dtype.itemsize
    dims = [(n, s * size) for n, s in zip(spec.shape, spec.stride, strict=True) if n != 1] + [(size, 1)]
    merged: list[tuple[int, int]] = []
    for n, stride in sorted(dims, key=lambda dim: dim[1]):
        if merged and stride == merged[-1][0] * merged[-1][1]:
            merged[-1] = merged[-1][0] * n, merged[-1][1]
        else:
            merged.append((n, stride))
    return spec.storage, spec.offset * size, tuple(merged)


def totals_of(record: ParameterRecord) -> ParameterTotals:
    """The totals of one parameter or buffer."""
    elements, stored = record.spec.numel, record.stored_bytes
    if record.is_buffer:
        return ParameterTotals(buffers=elements, buffer_bytes=stored)
    trainable = elements if record.trainable else 0
    return ParameterTotals(params=elements, trainable_params=trainable, param_bytes=stored)


def add_up(records: Iterable[ParameterRecord]) -> ParameterTotals:
    """The totals of many records, which must be unique."""
    rows = map(attrgetter(*_TOTALS), map(totals_of, records))
    return ParameterTotals(**dict(zip(_TOTALS, map(sum, zip(*rows, strict=True)), strict=False)))


def params_by_dtype(records: Iterable[ParameterRecord]) -> dict[str, int]:
    """Elements of parameters (buffers not among them) by the name of their dtype."""
    elements: Counter[str] = Counter()
    for record in records:
        if not record.is_buffer:
            elements[record.spec.dtype_name] += record.spec.numel
    return dict(elements)
