"""What a public function is given, looked at before anything is done with it: by the function's own annotations.

`@checked` makes sure of each argument that it is of a kind that its annotation names; if not, an :class:`InputError`
says which argument it is, what was given and what is expected. What an argument may be beyond its kind (a size that is
too large, a name that does not exist) is for the room to say that owns it, and so are kinds of its own: an annotation
that names a class other than those of plain Python values is passed over.
"""

from __future__ import annotations

import builtins
import inspect
import math
import operator
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache, update_wrapper
from numbers import Real
from os import PathLike, fspath
from types import FunctionType, NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

from . import InputError, shown

Given = TypeVar("Given", bound=Callable[..., Any])
Reader = Callable[[Any], Any]
"""Gives the value back, as plain Python where it is of a kind near to that; raises :class:`_MisfitError`."""


class _MisfitError(Exception):
    """A value is of none of these kinds."""

    def __init__(self, value: Any, *kinds: str) -> None:
        self.kinds = kinds
        super().__init__(f"{shown(value)} stands where {' or '.join(kinds)} is expected")


def checked(given: Given) -> Given:
    """Have a function, or all public functions of a class and its making, look at what they are given.

    >>> @checked
    ... def repeated(word: str, times: int = 2) -> str:
    ...     return word * times
    >>> repeated("ab", times="x")
    Traceback (most recent call last):
    fxcost.errors.InputError: repeated(times=…): 'x' stands where a whole number is expected
    """
    if not isinstance(given, type):
        return _checked(given)  # type: ignore[arg-type, return-value]
    for name, value in list(vars(given).items()):
        function = value.__func__ if isinstance(value, (classmethod, staticmethod)) else value
        if isinstance(function, FunctionType) and (name == "__init__" or not name.startswith("_")):
            made = _checked(function, given.__name__ if name == "__init__" else name)
            setattr(given, name, made if function is value else type(value)(made))
    return given


def _checked(function: FunctionType, called: str = "") -> FunctionType:
    """The function, behind one that looks at its arguments."""
    name_of_it, parameters_of, looked_at = called or function.__name__, _parameters, _looked

    def look(*args: Any, **kwargs: Any) -> Any:
        positions, names = parameters_of(function)
        last = len(positions) - 1
        looked = [looked_at(*positions[min(i, last)], value, name_of_it) for i, value in enumerate(args)]
        for name, value in kwargs.items():
            kwargs[name] = looked_at(name, names.get(name, names.get("")), value, name_of_it)
        return function(*looked, **kwargs)

    # With the globals of the function, so that doctest takes it for one of its module; so it has no others.
    same = FunctionType(look.__code__, function.__globals__, function.__name__, None, look.__closure__)
    return update_wrapper(same, function)  # type: ignore[return-value]


def _looked(name: str, read: Reader | None, value: Any, called: str) -> Any:
    if read is None:
        return value
    try:
        return read(value)
    except _MisfitError as misfit:
        raise InputError(f"{called}({name}=…): {misfit}") from None


@lru_cache(maxsize=256)
def _parameters(function: FunctionType) -> tuple[list[tuple[str, Reader | None]], dict[str, Reader | None]]:
    """A function's parameters with their readers, by position and by name.

    The last position stands for all further ones, the name "" for all others: `*args` and `**kwargs`, or what Python
    will refuse.
    """
    names = _Names(function.__globals__)
    positions: list[tuple[str, Reader | None]] = []
    by_name: dict[str, Reader | None] = {}
    rest: tuple[str, Reader | None] = ("", None)
    for parameter in inspect.signature(function).parameters.values():
        hint = parameter.annotation
        read = _reader(eval(hint, {"__builtins__": {}}, names) if isinstance(hint, str) else hint)
        if parameter.kind is parameter.VAR_POSITIONAL:
            rest = parameter.name, read
        elif parameter.kind is parameter.VAR_KEYWORD:
            by_name[""] = read
        else:
            by_name[parameter.name] = read
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            positions.append((parameter.name, read))
    return [*positions, rest], by_name


class _Names(dict[str, Any]):
    """Names in annotations; what is imported for types alone is not there, and stands for anything."""

    def __missing__(self, name: str) -> Any:
        return getattr(builtins, name, _ANYTHING)


class _Anything:
    """Stands for a class that is not known here, in whatever way it is written."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __getitem__(self, item: Any) -> Any:
        return self

    def __or__(self, other: Any) -> Any:
        return self

    __ror__ = __or__


_ANYTHING = _Anything()


def _reader(hint: Any) -> Reader | None:
    """The reader for an annotation; None where there is nothing to look at."""
    origin, parts = get_origin(hint), get_args(hint)
    if hint in _PLAIN:
        return _PLAIN[hint]
    if origin is Union or origin is UnionType:
        readers = [_reader(part) for part in parts]
        return _any_of([read for read in readers if read is not None]) if None not in readers else None
    if origin is Callable:
        return _callable
    if not isinstance(origin, type):
        return None
    if issubclass(origin, PathLike):
        return _path
    if issubclass(origin, Mapping):
        return _mapping(*map(_reader, parts))
    if issubclass(origin, Iterable):
        return _several(_reader(parts[0]), Iterable if origin is Iterable else Collection)
    return None


# Kinds of values ------------------------------------------------------------------------------------------------------


def _whole(value: Any) -> int:
    if not isinstance(value, bool):
        try:
            return operator.index(value)
        except Exception:
            pass  # no integer, nor anything that says it is one
    raise _MisfitError(value, "a whole number")


def _number(value: Any) -> int | float:
    if isinstance(value, Real) and not isinstance(value, bool):
        try:
            if math.isfinite(float(value)):
                return value if isinstance(value, int) else float(value)
        except OverflowError:
            pass  # no device is so fast, and no time so long
    raise _MisfitError(value, "a finite number")


def _truth(value: Any) -> bool:
    if type(value).__name__ not in ("bool", "bool_") and not (type(value) is int and value in (0, 1)):
        raise _MisfitError(value, "True or False")
    return bool(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _MisfitError(value, "a text")
    return value


def _path(value: Any) -> Any:
    """A path; text is for another reader."""
    try:
        if isinstance(value, PathLike) and isinstance(fspath(value), str):
            return value
    except Exception:
        pass
    raise _MisfitError(value, "a path")


def _same(value: Any) -> Any:
    return value


def _nothing(value: Any) -> None:
    if value is not None:
        raise _MisfitError(value, "None")


def _callable(value: Any) -> Any:
    if not callable(value):
        raise _MisfitError(value, "a function")
    return value


def _several(read: Reader | None, kinds: type[Any]) -> Reader:
    """Several values, as a tuple; a text is none, although Python would take it for its letters."""

    def made(value: Any) -> tuple[Any, ...]:
        try:
            if isinstance(value, kinds) and not isinstance(value, (str, bytes, Mapping)):
                items = tuple(value)
                return items if read is None else tuple([read(item) for item in items])
        except _MisfitError:
            raise
        except Exception:
            pass  # it says that it has items, and has none
        raise _MisfitError(value, "a list")

    return made


def _mapping(key: Reader | None, item: Reader | None) -> Reader:
    def made(value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise _MisfitError(value, "a dict")
        if key is None and item is None:
            return value
        return {(key or _same)(k): (item or _same)(v) for k, v in value.items()}

    return made


def _any_of(readers: Sequence[Reader]) -> Reader:
    def made(value: Any) -> Any:
        kinds: dict[str, None] = {}
        for read in readers:
            try:
                return read(value)
            except _MisfitError as misfit:
                kinds.update(dict.fromkeys(misfit.kinds))
        kinds.pop("None", None)  # which need not be given
        raise _MisfitError(value, *kinds)

    return made


_PLAIN: dict[Any, Reader] = {
    int: _whole,
    float: _number,
    bool: _truth,
    str: _text,
    None: _nothing,
    NoneType: _nothing,
}
