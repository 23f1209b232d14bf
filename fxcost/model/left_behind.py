"""What a run leaves behind outside the model, put back: caches, tables of classes, variables, counters, settings.

A model's code may keep what it has computed (`functools.lru_cache`, a dictionary of a class, a global variable). What
an analysis computes is of no use to the model's own runs, and must not be found there.

What code can change is known before (reach.py). Afterwards all of it is compared, by identity, and what is not as it
was is put back. Functions, classes and modules that have come into a table stay: they were imported meanwhile, and
would not come again. While the model runs, other threads see what its code does to them, as they would otherwise.
"""

from __future__ import annotations

import operator
import types
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from .caches import CachedFunction, entries, forget
from .holding import attributes, is_a, slots
from .reach import Reach
from .settings import settings

_MISSING: Any = object()
_CODE = (type, types.BuiltinFunctionType, types.ModuleType)
_Undo = Callable[[], None]


@contextmanager
def put_back(reach: Reach) -> Iterator[None]:
    """Around a run of the model's code: what the code reaches outside the model is afterwards what it was."""
    undo = [step for thing in reach.state for step in _steps(thing)]
    undo += [_variable(scope, name) for scope, name in reach.variables]
    undo += [_cell(cell) for cell in reach.cells]
    undo += settings()
    try:
        yield
    finally:
        for step in undo:
            step()


def _steps(thing: Any) -> Iterator[_Undo]:
    """What puts one thing back: an object may be a container and have attributes."""
    if is_a(thing, type):
        yield _class(thing)
        return
    if type(thing) is CachedFunction:
        yield _cache(thing)
        return
    if is_a(thing, dict):
        yield _table(thing)
    elif is_a(thing, (list, deque, set)):
        yield _collection(thing)
    if type(thing) is types.FunctionType:
        yield _table(thing.__dict__)
    elif type(thing).__module__ != "builtins":
        yield _table(attributes(thing))
        if any("__slots__" in vars(cls) for cls in type(thing).__mro__):
            yield _slots(thing)


def _table(table: dict[Any, Any]) -> _Undo:
    kind: Any = OrderedDict if is_a(table, OrderedDict) else dict
    before = dict(kind.items(table))

    def undo() -> None:
        if not _same(kind.values(table), before.values()) or not _same(kind.keys(table), before):
            came = {key: value for key, value in kind.items(table) if key not in before and _is_code(value)}
            kind.clear(table)
            kind.update(table, {**before, **came})

    return undo


def _collection(collection: Any) -> _Undo:
    kind: Any = next(base for base in (list, deque, set) if is_a(collection, base))
    before = list(kind.__iter__(collection))

    def undo() -> None:
        if not _same(list(kind.__iter__(collection)), before):
            kind.clear(collection)
            (set.update if kind is set else kind.extend)(collection, before)

    return undo


def _class(cls: type) -> _Undo:
    before = dict(cls.__dict__)

    def undo() -> None:
        if _same(cls.__dict__.values(), before.values()):
            return
        now = dict(cls.__dict__)
        for name in now.keys() - before.keys():
            if not _is_code(now[name]):
                type.__delattr__(cls, name)
        for name, value in before.items():
            if now.get(name, _MISSING) is not value:
                type.__setattr__(cls, name, value)

    return undo


def _slots(thing: Any) -> _Undo:
    before = slots(thing)

    def undo() -> None:
        now = slots(thing)
        for name in now.keys() - before.keys():
            object.__delattr__(thing, name)
        for name, value in before.items():
            if now.get(name, _MISSING) is not value:
                object.__setattr__(thing, name, value)

    return undo


def _cache(cached: Any) -> _Undo:
    misses = cached.cache_info().misses
    before = entries(cached)  # which also keeps the keys, and so their ids

    def undo() -> None:
        if cached.cache_info().misses != misses:
            forget(cached, frozenset(map(id, before)))

    return undo


def _variable(scope: dict[str, Any], name: str) -> _Undo:
    before = scope.get(name, _MISSING)

    def undo() -> None:
        if before is _MISSING:
            scope.pop(name, None)
        elif scope.get(name, _MISSING) is not before:
            scope[name] = before

    return undo


def _cell(cell: types.CellType) -> _Undo:
    before = _MISSING if cell == types.CellType() else cell.cell_contents

    def undo() -> None:
        if before is not _MISSING:
            cell.cell_contents = before
        elif cell != types.CellType():
            del cell.cell_contents

    return undo


def _same(now: Iterable[Any], before: Iterable[Any]) -> bool:
    """True for the very same things in the same order."""
    now, before = list(now), list(before)
    return len(now) == len(before) and all(map(operator.is_, now, before))


def _is_code(value: Any) -> bool:
    return is_a(value, _CODE) or (type(value) is types.FunctionType and value.__closure__ is None)
