"""Plain data that codec.py wrote, read back as records: by the records' own annotations, down to the last item.

A column is read by the annotation of its field, so a record that reads is one that could have been made:
`tuple[TensorSpec | None, ...]` takes a list of references and nulls, `Count` a whole number that is not negative, and
nothing else is taken. Where a field may hold anything (`Any`), a value has one of the forms of codec.py, and nests no
deeper than `DEEPEST`; of records it may hold only those that hold no such field themselves, so that what is read is
not larger than what was written. What several fields or records must agree in is not here (integrity.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import lru_cache
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import torch

from ..errors import ReportFileError, shown
from .codec import TORCH_NAMES, NamedOperator, Opaque
from .ranges import Between, Filled

DEEPEST = 100
"""How many lists inside each other a value may be. Readers of reports walk values by recursion."""

Reader = Callable[[Any], Any]
"""Makes a value of plain data, or raises :class:`_MisfitError`."""


class _MisfitError(Exception):
    """A value is not what its place takes; whoever knows the place says where."""

    def __init__(self, value: Any, expected: str) -> None:
        super().__init__(f"{shown(value)} stands where {expected} is expected")


class Unpacker:
    """Reads what a :class:`~fxcost.records.codec.Packer` wrote.

    `inner` are the classes of records that a value of any kind may hold.
    """

    def __init__(self, tables: Any, inner: Iterable[type] = ()) -> None:
        self._tables = _checked(tables)
        self._inner = {**{kind.__name__: kind for kind in inner}, NamedOperator.__name__: torch._ops.OperatorBase}
        self._readers: dict[Any, Reader] = {}

    def read(self, value: Any, hint: Any, where: str) -> Any:
        """What an annotation says, from plain data; `where` it stands is for the error.

        Raises:
            ReportFileError: it is something else, or what it refers to is not there or broken.
        """
        try:
            return self._reader(hint)(value)
        except _MisfitError as misfit:
            raise ReportFileError(f"{where}: {misfit}") from None

    def _reader(self, hint: Any) -> Reader:
        found = self._readers.get(hint)
        if found is None:
            found = self._readers[hint] = self._made(hint)
        return found

    def _made(self, hint: Any) -> Reader:
        """The reader for an annotation."""
        origin, parts = get_origin(hint), get_args(hint)
        if hint is Any:
            return self._value
        if hint in _ATOMS:
            return _atom(*_ATOMS[hint])
        if hint is torch._ops.OperatorBase:
            return self._record(NamedOperator)
        if hint in TORCH_NAMES:
            return _tagged(hint.__name__, _TEXTS[hint.__name__])
        if origin is Annotated:
            return _marked(self._reader(parts[0]), hint)
        if origin is Union or origin is UnionType:
            return _optional(*[self._reader(part) for part in parts if part is not NoneType])
        if origin is tuple and parts[-1] is Ellipsis:
            return _tuple(self._reader(parts[0]))
        if origin is tuple:
            return _row([self._reader(part) for part in parts])
        if isinstance(origin, type) and issubclass(origin, Mapping):
            return _mapping(*map(self._reader, parts))
        if is_dataclass(hint):
            return self._record(hint)
        raise TypeError(f"records can't be read that hold {hint}")  # a field of a kind that is new here

    def _record(self, kind: Any) -> Reader:
        """Looks a record up in the table of its class, and makes it when it is first met."""
        name = kind.__name__
        table = self._tables.get(name, {"columns": [], "rows": []})
        rows, make = table["rows"], None
        made: list[Any] = [None] * len(rows)

        def read(reference: Any) -> Any:
            nonlocal make
            index = reference.get(name) if type(reference) is dict and len(reference) == 1 else None
            if type(index) is not int:
                raise _MisfitError(reference, f"a reference to a {name}")
            if not 0 <= index < len(made):
                raise ReportFileError(f"there is no row {shown(index)} in the table {name!r}")
            found = made[index]
            if found is None:
                make = make or self._maker(kind, table["columns"])
                found = made[index] = make(index, rows[index])
            return found

        return read

    def _maker(self, kind: Any, columns: list[str]) -> Callable[[int, Any], Any]:
        """Makes a record of a row. Columns that this version does not know are passed over."""
        name, hints = kind.__name__, _hints(kind)
        missing = [f.name for f in fields(kind) if f.name not in columns and _is_needed(f)]
        if missing:
            raise ReportFileError(f"the table {name!r} has no column {', '.join(missing)}")
        checks = hasattr(kind, "misfit")
        known = [(i, column, self._reader(hints[column])) for i, column in enumerate(columns) if column in hints]

        def make(number: int, row: Any) -> Any:
            where = f"row {number} of the table {name!r}"
            if type(row) is not list or len(row) != len(columns):
                raise ReportFileError(f"{where} has not a value for each of {len(columns)} columns")
            values = {}
            for i, column, read in known:
                try:
                    values[column] = read(row[i])
                except _MisfitError as misfit:
                    raise ReportFileError(f"{where}, column {column!r}: {misfit}") from None
            record = kind(**values)
            if checks and (fault := record.misfit()):
                raise ReportFileError(f"{where}: {fault}")
            return record.found() if kind is NamedOperator else record

        return make

    def _value(self, value: Any, depth: int = 0) -> Any:
        """A value of any kind; a list is a tuple, an object says what it is."""
        kind = type(value)
        if value is None or kind is int or kind is str or kind is bool or kind is float:
            return value
        if depth > DEEPEST:
            raise _MisfitError("…", f"nothing deeper than {DEEPEST} lists in each other")
        if kind is list:
            return tuple([self._value(item, depth + 1) for item in value])
        if kind is not dict or len(value) != 1:
            raise _MisfitError(value, "a number, text, list, or an object with one key")
        [(tag, inner)] = value.items()
        if tag in self._inner:
            return self._reader(self._inner[tag])(value)
        if tag in _TEXTS:
            return _tagged(tag, _TEXTS[tag])(value)
        if tag == "ellipsis":
            return ...
        if tag not in _FORMS or type(inner) is not list:
            raise _MisfitError(value, "a value of a kind that this fxcost knows (a newer one may have written it)")
        try:
            return _FORMS[tag](*self._value(inner, depth + 1))
        except (TypeError, ValueError):
            raise _MisfitError(value, f"a {tag}") from None


def _checked(tables: Any) -> Mapping[str, Mapping[str, list[Any]]]:
    if type(tables) is not dict:
        raise ReportFileError(f"recording.tables: {shown(tables)} stands where an object is expected")
    for name, table in tables.items():
        columns, rows = (table.get("columns"), table.get("rows")) if type(table) is dict else (None, None)
        if type(columns) is not list or type(rows) is not list or not all(type(column) is str for column in columns):
            raise ReportFileError(f"the table {shown(name)} has no columns or no rows")
    return tables


@lru_cache(maxsize=64)
def _hints(kind: Any) -> dict[str, Any]:
    """The annotations of the fields that are written to files."""
    hints = get_type_hints(kind, include_extras=True)
    return {f.name: hints[f.name] for f in fields(kind) if f.metadata.get("data", True)}


def _is_needed(field: Any) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


# Readers of single values ---------------------------------------------------------------------------------------------

_ATOMS: dict[Any, tuple[str, tuple[type, ...]]] = {
    int: ("a whole number", (int,)),
    float: ("a number", (float, int)),
    str: ("a text", (str,)),
    bool: ("true or false", (bool,)),
}


def _atom(expected: str, kinds: tuple[type, ...]) -> Reader:
    def read(value: Any) -> Any:
        if type(value) not in kinds:
            raise _MisfitError(value, expected)
        return value

    return read


def _marked(read: Reader, hint: Any) -> Reader:
    """A reader with the marks of ranges.py."""
    (mark,) = hint.__metadata__
    if isinstance(mark, Between):
        return _number(mark.least, mark.most)
    accepts: Callable[[Any], bool] = bool if isinstance(mark, Filled) else mark.words.__contains__
    expected = "at least one" if isinstance(mark, Filled) else f"one of {', '.join(mark.words)}"

    def marked(value: Any) -> Any:
        made = read(value)
        if not accepts(made):
            raise _MisfitError(value, expected)
        return made

    return marked


def _number(least: int, most: int) -> Reader:
    def read(value: Any) -> int:
        if type(value) is not int or not least <= value <= most:
            raise _MisfitError(value, f"a whole number of at least {least}")
        return value

    return read


def _optional(read: Reader, *more: Reader) -> Reader:
    if more:
        raise TypeError("a field of a record is of one kind, or None")
    return lambda value: None if value is None else read(value)


def _tuple(read: Reader) -> Reader:
    """Any number of values of one kind."""

    def made(value: Any) -> tuple[Any, ...]:
        if type(value) is not list:
            raise _MisfitError(value, "a list")
        return tuple([read(item) for item in value])

    return made


def _row(readers: list[Reader]) -> Reader:
    """As many values as there are readers."""

    def made(value: Any) -> tuple[Any, ...]:
        if type(value) is not list or len(value) != len(readers):
            raise _MisfitError(value, f"a list of {len(readers)}")
        return tuple([read(item) for read, item in zip(readers, value, strict=True)])

    return made


def _mapping(key: Reader, value: Reader) -> Reader:
    pair = _row([key, value])

    def made(given: Any) -> dict[Any, Any]:
        pairs = given.get("dict") if type(given) is dict and len(given) == 1 else None
        if type(pairs) is not list:
            raise _MisfitError(given, 'an object with the key "dict"')
        return dict(map(pair, pairs))

    return made


def _tagged(tag: str, make: Callable[[str], Any]) -> Reader:
    """What is written as a text under a key that says what it is."""

    def read(value: Any) -> Any:
        text = value.get(tag) if type(value) is dict and len(value) == 1 else None
        if type(text) is not str:
            raise _MisfitError(value, f"a {tag}")
        try:
            return make(text)
        except (ValueError, RuntimeError):
            raise _MisfitError(value, f"a {tag}") from None

    return read


def _torch_name(kind: type) -> Callable[[str], Any]:
    def read(name: str) -> Any:
        found = getattr(torch, name, None)
        if not isinstance(found, kind):
            raise _MisfitError(name, f"a {kind.__name__} that this PyTorch has (a newer one may have it)")
        return found

    return read


def _dict(*pairs: Any) -> dict[Any, Any]:
    if not all(type(pair) is tuple for pair in pairs):
        raise ValueError
    return dict(pairs)


_TEXTS: dict[str, Callable[[str], Any]] = {
    "float": lambda text: {"nan": float("nan"), "inf": float("inf"), "-inf": -float("inf")}.get(text) or float(""),
    "bytes": bytes.fromhex,
    "device": torch.device,
    "opaque": Opaque,
    **{kind.__name__: _torch_name(kind) for kind in TORCH_NAMES},
}
_FORMS: dict[str, Callable[..., Any]] = {
    "complex": lambda real, imag: complex(real, imag),
    "list": lambda *items: list(items),
    "set": lambda *items: set(items),
    "frozenset": lambda *items: frozenset(items),
    "dict": _dict,
    "slice": lambda start, stop, step: slice(start, stop, step),
    "range": lambda start, stop, step: range(start, stop, step),
}
