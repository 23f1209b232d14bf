"""Records as plain data, without loss: tables of rows, a table for each class of record. reading.py reads them back.

A record stands in the table of its class, once however often it is used; wherever it is used stands a reference, such
as `{"TensorSpec": 12}`. None, bools, ints, strings and finite floats are themselves, a tuple is a list; anything else
is an object with one key that says what it is: `{"dtype": "float32"}`, `{"float": "inf"}`, `{"slice": [0, 2, null]}`.
An object that no form is known for becomes `{"opaque": "its repr"}`, and reads as an :class:`Opaque`.

Nothing that is read is run: an operator is looked up by its name in `torch.ops`, where it must be already.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import lru_cache
from math import isfinite
from typing import Any

import torch

from .recording import Operator

_LONGEST_SCHEMA = 10_000
"""Characters; PyTorch parses by recursion, and the longest that it has is a tenth of this."""
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_OURS = __package__.split(".")[0] + "."
TORCH_NAMES = (torch.dtype, torch.layout, torch.memory_format)
"""Constants of PyTorch that are written by their names."""


@dataclass(frozen=True, slots=True)
class Opaque:
    """Stands for an object that can't be written as data: its `repr`, without addresses."""

    text: str

    def __repr__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class NamedOperator:
    """An operator by name and schema; it takes the place of one that is not registered in this process."""

    name: str
    schema: str | None

    @property
    def _schema(self) -> Any:
        return _parsed(self.schema) if self.schema is not None else None

    def __str__(self) -> str:
        return self.name

    def found(self) -> Operator | NamedOperator:
        """The operator that is registered under this name, or else itself."""
        path = self.name.split(".")
        place: Any = torch.ops if len(path) > 1 else torch.ops.higher_order
        try:
            for part in path:
                place = getattr(place, part, None)
        except Exception:  # no name that an operator could have
            return self
        return place if isinstance(place, torch._ops.OperatorBase) else self


@lru_cache(maxsize=4096)
def _parsed(schema: str) -> Any:
    """PyTorch's own reading of a schema; None if this PyTorch can't read it."""
    try:
        return torch._C.parse_schema(schema) if len(schema) <= _LONGEST_SCHEMA else None
    except (RuntimeError, ValueError):
        return None


class Packer:
    """Fills `tables` with the records that :meth:`pack` meets."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[str, list[Any]]] = {}
        self._known: dict[str, dict[str, dict[str, int]]] = {}
        self._by_identity: dict[int, tuple[Any, dict[str, int]]] = {}

    def pack(self, value: Any) -> Any:
        """A value as plain data."""
        kind = type(value)
        if value is None or kind is int or kind is str or kind is bool:
            return value
        if kind is tuple:
            return [self.pack(item) for item in value]
        if kind is Opaque:
            return {"opaque": value.text}
        if is_dataclass(kind) and kind.__module__.startswith(_OURS):
            return self._reference(value)
        if isinstance(value, torch._ops.OperatorBase):
            schema = getattr(value, "_schema", None)
            return self._reference(value, NamedOperator(str(value), None if schema is None else str(schema)))
        return self._tagged(value)

    def _reference(self, value: Any, record: Any = None) -> dict[str, int]:
        seen = self._by_identity.get(id(value))
        if seen is not None:
            return seen[1]
        record = value if record is None else record
        kind: Any = type(record)
        name, columns = kind.__name__, _columns(kind)
        table = self.tables.setdefault(name, {"columns": list(columns), "rows": []})
        row = [self.pack(getattr(record, column)) for column in columns]
        same = self._known.setdefault(name, {})
        reference = same.setdefault(repr(row), {name: len(table["rows"])})  # equal as text: 1, 1.0 and True are not
        if reference[name] == len(table["rows"]):
            table["rows"].append(row)
        self._by_identity[id(value)] = value, reference  # the value is kept, so that its id stays its own
        return reference

    def _tagged(self, value: Any) -> Any:
        if isinstance(value, float):
            number = float(value)
            return number if isfinite(number) else {"float": repr(number)}
        if isinstance(value, complex):
            return {"complex": [self.pack(value.real), self.pack(value.imag)]}
        if isinstance(value, str):
            return str.__str__(value)
        if isinstance(value, tuple):
            return [self.pack(item) for item in value]
        if isinstance(value, (list, set, frozenset)):
            return {type(value).__name__ if type(value) in (set, frozenset) else "list": [self.pack(v) for v in value]}
        if isinstance(value, Mapping):
            return {"dict": [[self.pack(k), self.pack(v)] for k, v in value.items()]}
        if isinstance(value, (slice, range)):
            return {type(value).__name__: [self.pack(v) for v in (value.start, value.stop, value.step)]}
        if isinstance(value, bytes):
            return {"bytes": value.hex()}
        if value is Ellipsis:
            return {"ellipsis": True}
        if isinstance(value, TORCH_NAMES):
            return {type(value).__name__: str(value).removeprefix("torch.")}
        if isinstance(value, torch.device):
            return {"device": str(value)}
        return self._whole_or_opaque(value)

    def _whole_or_opaque(self, value: Any) -> Any:
        try:
            return operator.index(value)  # an integer of another kind: of NumPy, of an enumeration
        except Exception:
            pass  # no integer, or one that is not known (a symbolic size)
        try:
            return {"opaque": _ADDRESS.sub("", repr(value))}
        except Exception:
            return {"opaque": f"<{type(value).__name__}>"}


@lru_cache(maxsize=256)
def _columns(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind) if field.metadata.get("data", True))
