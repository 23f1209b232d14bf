"""Records as plain data and back, without loss: tables of rows, a table for each class of record.

A record stands in the table of its class, once however often it is used; wherever it is used stands a reference, such
as `{"TensorSpec": 12}`. None, bools, ints, strings and finite floats are themselves, a tuple is a list; anything else
is an object with one key that says what it is: `{"dtype": "float32"}`, `{"float": "inf"}`, `{"slice": [0, 2, null]}`.
An object that no form is known for becomes `{"opaque": "its repr"}`, and reads as an :class:`Opaque`.

Nothing that is read is run: an operator is looked up by its name in `torch.ops`, where it must be already.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import lru_cache
from math import isfinite
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

import torch

from ..errors import ReportFileError
from .recording import Operator

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_OURS = __package__.split(".")[0] + "."
_TORCH_NAMES = (torch.dtype, torch.layout, torch.memory_format)


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
        for part in path:
            place = getattr(place, part, None)
        return place if isinstance(place, torch._ops.OperatorBase) else self


@lru_cache(maxsize=4096)
def _parsed(schema: str) -> Any:
    """PyTorch's own reading of a schema; None if this PyTorch can't read it."""
    try:
        return torch._C.parse_schema(schema)
    except RuntimeError:
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
        if isinstance(value, _TORCH_NAMES):
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


def _torch_name(kind: type) -> Callable[[str], Any]:
    def read(name: str) -> Any:
        found = getattr(torch, name, None)
        if not isinstance(found, kind):
            raise ReportFileError(f"this PyTorch has no {kind.__name__} {name!r}; read the file with a newer one")
        return found

    return read


class Unpacker:
    """Reads what a :class:`Packer` wrote. `classes` are those that tables may hold."""

    def __init__(self, tables: Mapping[str, Mapping[str, Any]], classes: tuple[type, ...]) -> None:
        self._tables = tables
        self._classes = {kind.__name__: kind for kind in (*classes, NamedOperator)}
        self._readers: dict[str, _Reader] = {}
        self._made: dict[str, list[Any]] = {}
        self._tags: dict[str, Callable[[Any], Any]] = {
            "float": float,
            "complex": lambda parts: complex(*self.unpack(parts)),
            "list": lambda items: list(self.unpack(items)),
            "set": lambda items: set(self.unpack(items)),
            "frozenset": lambda items: frozenset(self.unpack(items)),
            "dict": lambda items: {self.unpack(k): self.unpack(v) for k, v in items},
            "slice": lambda parts: slice(*self.unpack(parts)),
            "range": lambda parts: range(*self.unpack(parts)),
            "bytes": bytes.fromhex,
            "ellipsis": lambda _: Ellipsis,
            "device": torch.device,
            "opaque": Opaque,
            **{kind.__name__: _torch_name(kind) for kind in _TORCH_NAMES},
        }

    def unpack(self, value: Any) -> Any:
        """A value from plain data.

        Raises:
            ReportFileError: there is no such form, class or row, or a row does not fit its class.
        """
        kind = type(value)
        if kind is list:
            return tuple([self.unpack(item) for item in value])
        if kind is not dict:
            return value
        if len(value) != 1:
            raise ReportFileError(f"{{{', '.join(value)}}} stands where an object with one key is expected")
        [(tag, inner)] = value.items()
        if tag in self._tables:
            return self._record(tag, inner)
        if tag not in self._tags:
            raise ReportFileError(f"nothing is known of {tag!r}; a newer fxcost may have written it")
        return self._tags[tag](inner)

    def _record(self, name: str, index: int) -> Any:
        if name not in self._made:
            if name not in self._classes:
                raise ReportFileError(f"nothing is known of records {name!r}; a newer fxcost may have written them")
            self._readers[name] = _Reader(self._classes[name], self._tables[name]["columns"])
            self._made[name] = [_UNREAD] * len(self._tables[name]["rows"])
        made = self._made[name]
        if type(index) is not int or not 0 <= index < len(made):
            raise ReportFileError(f"there is no row {index!r} in the table {name!r}")
        if made[index] is _UNREAD:
            made[index] = _READING
            row = self._tables[name]["rows"][index]
            made[index] = self._readers[name].record([self.unpack(value) for value in row])
        if made[index] is _READING:
            raise ReportFileError(f"row {index} of the table {name!r} refers to itself")
        return made[index]


_UNREAD, _READING = object(), object()


class _Reader:
    """Makes records of one class from rows, and checks what each column holds."""

    def __init__(self, kind: type, columns: list[str]) -> None:
        self.kind = kind
        known = {field.name: field for field in fields(kind)}
        missing = [
            n for n, f in known.items() if n not in columns and f.default is MISSING and f.default_factory is MISSING
        ]
        if missing:
            raise ReportFileError(f"the table {kind.__name__!r} has no column {', '.join(missing)}")
        hints = get_type_hints(kind)
        self.columns = [(i, n, _accepted(hints[n])) for i, n in enumerate(columns) if n in known]
        self.width = len(columns)

    def record(self, row: list[Any]) -> Any:
        """One record. Columns that this version does not know are passed over."""
        if len(row) != self.width:
            raise ReportFileError(f"a row of the table {self.kind.__name__!r} has {len(row)} of {self.width} values")
        values = {}
        for i, name, accepted in self.columns:
            value = values[name] = row[i]
            if accepted is not None and not isinstance(value, accepted):
                raise ReportFileError(f"{self.kind.__name__}.{name} can't be {value!r}")
        made = self.kind(**values)
        return made.found() if isinstance(made, NamedOperator) else made


def _accepted(hint: Any) -> tuple[type, ...] | None:
    """Classes of which a column's values are; None where anything goes."""
    if get_origin(hint) is UnionType or str(get_origin(hint)) == "typing.Union":
        parts = [_accepted(part) for part in get_args(hint)]
        return None if None in parts else tuple(kind for part in parts if part for kind in part)
    kind = get_origin(hint) or hint
    if kind is None or kind is NoneType:
        return (NoneType,)
    if kind is Any or not isinstance(kind, type):
        return None
    if kind is torch._ops.OperatorBase:
        return (kind, NamedOperator)
    return (kind, int) if kind is float else (kind,)
