"""Functions, classes and caches of the user's made anew, on copies of what they reach.

Only what leads to a module or tensor is made anew (reach.py); everything else is the user's own, and shared. A function
made anew has the same code, with variables of its own; so has a class, with methods of its own, which takes the place
of the class of the copies, and stands before it in the order in which attributes are looked up.
"""

from __future__ import annotations

import abc
import builtins
import functools
import types
import weakref
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from typing import Any

import torch

from .caches import CachedFunction, copied
from .holding import attributes, is_a, slots
from .reach import Reach
from .tensors import TensorCopier

KINDS = frozenset(
    {
        types.FunctionType,
        CachedFunction,
        types.BuiltinFunctionType,
        property,
        staticmethod,
        classmethod,
        functools.cached_property,
        functools.partialmethod,
        weakref.ref,
        weakref.KeyedRef,
    }
)
"""What is made anew where it leads to something that is copied, besides classes and objects."""
_MARK = "_made_anew"
_KEPT = frozenset({"__dict__", "__weakref__", "__slots__", "_abc_impl"})


class Rebuilder(TensorCopier):
    """Makes anew what `reach` found to lead to modules or tensors."""

    reach: Reach

    def __init__(self, dtype: torch.dtype | None = None) -> None:
        super().__init__(dtype)
        self._cells: dict[int, types.CellType] = {}
        self._modules: dict[int, types.ModuleType] = {}
        self._unfilled: set[int] = set()

    def _copy(self, value: Any) -> Any:
        """What code alone reaches is copied only where it leads to a module or tensor."""
        return self.value(value) if id(value) in self.reach.dirty else value

    def rebuilt(self, value: Any) -> Any:
        """A function, class, cache or the like, made anew."""
        kind = type(value)
        if kind is types.FunctionType:
            return self._function(value)
        if is_a(value, type):
            return self._class(value)
        if kind is CachedFunction:
            return copied(value, self._copy(value.__wrapped__), self._copy)
        if kind is types.MethodType:
            return types.MethodType(self._copy(value.__func__), self._copy(value.__self__))
        if kind is types.BuiltinFunctionType:
            return getattr(self._copy(value.__self__), value.__name__)
        if kind is property:
            return property(self._copy(value.fget), self._copy(value.fset), self._copy(value.fdel), value.__doc__)
        if kind is staticmethod or kind is classmethod:
            return kind(self._copy(value.__func__))
        if kind is functools.cached_property:
            made = functools.cached_property(self._copy(value.func))
            made.__dict__.update({**value.__dict__, "func": made.func})
            return made
        if kind is functools.partialmethod:
            return functools.partialmethod(self._copy(value.func), *value.args, **value.keywords)
        if kind is weakref.ref:
            return weakref.ref(self._copy(value()))
        if kind is weakref.KeyedRef:
            return weakref.KeyedRef(self._copy(value()), _nothing, value.key)
        return value

    # ------------------------------------------------------------------------------------------------------- functions

    def _function(self, function: types.FunctionType) -> types.FunctionType:
        scope, cells = self._scope(function.__globals__), function.__closure__
        mine = None if cells is None else tuple(map(self._cell, cells))
        made = types.FunctionType(function.__code__, scope, function.__name__, None, mine)
        self._remember(function, made)  # before all that may lead back to it
        functools.update_wrapper(made, function, updated=())
        del made.__dict__["__wrapped__"]
        self._fill_scope(function.__globals__)
        made.__defaults__ = None if function.__defaults__ is None else tuple(map(self._copy, function.__defaults__))
        made.__kwdefaults__ = {name: self._copy(value) for name, value in (function.__kwdefaults__ or {}).items()}
        made.__dict__.update({name: self._copy(value) for name, value in function.__dict__.items()})
        for cell in cells or ():
            copy = self._cells.get(id(cell))
            if copy is not None and copy == types.CellType() != cell:
                copy.cell_contents = self._copy(cell.cell_contents)
        return made

    def _cell(self, cell: types.CellType) -> types.CellType:
        if id(cell) not in self.reach.dirty:
            return cell
        return self._cells.setdefault(id(cell), types.CellType())

    def _scope(self, scope: dict[str, Any]) -> dict[str, Any]:
        """The variables of a file, of its own; with what they are until :meth:`_fill_scope`."""
        if id(scope) not in self._modules:
            standing_in = self._modules[id(scope)] = types.ModuleType(str(scope.get("__name__")))
            standing_in.__dict__.clear()
            standing_in.__dict__.update(scope)
            if self.reach.imports:
                standing_in.__dict__["__builtins__"] = {**vars(builtins), "__import__": self._import}
            self._unfilled.add(id(scope))
        return self._modules[id(scope)].__dict__

    def _fill_scope(self, scope: dict[str, Any]) -> None:
        """Put copies in the place of what leads to something copied."""
        if id(scope) not in self._unfilled:
            return
        self._unfilled.remove(id(scope))
        mine = self._modules[id(scope)].__dict__
        for name in self.reach.names_in(scope):
            value = scope[name]
            mine[name] = self._module(value) if is_a(value, types.ModuleType) else self._copy(value)

    def _module(self, module: types.ModuleType) -> types.ModuleType:
        if id(module) not in self.reach.dirty:
            return module
        self._scope(vars(module))
        self._fill_scope(vars(module))
        return self._modules[id(vars(module))]

    def _import(self, *args: Any, **kwargs: Any) -> Any:
        """An import statement in a function made anew finds the modules of Python's that stand in for others."""
        module = builtins.__import__(*args, **kwargs)
        return self._module(module) if is_a(module, types.ModuleType) else module

    # --------------------------------------------------------------------------------------------------------- classes

    def _class(self, cls: Any) -> Any:
        """A class with methods made anew, of which the copies of its objects are; with those of its bases."""
        around = [*cls.__mro__, *(base for meta in map(type, cls.__mro__) for base in meta.__mro__)]
        fresh = [c for c in dict.fromkeys(around) if id(c) in self.reach.dirty and id(c) not in self._memo]
        for base in reversed(fresh):  # a class needs those of its bases, and its own
            self._remember(base, self._empty_class(base))
        for base in fresh:  # when all are there, as their methods name them
            made = self._memo[id(base)]
            for name, value in list(base.__dict__.items()):
                if name not in _KEPT and type(value) is not types.MemberDescriptorType:
                    type.__setattr__(made, name, self._copy(value))
        return self._memo[id(cls)]

    def _empty_class(self, cls: Any) -> Any:
        above = [_Unregistered, *(self._memo.get(id(base), base) for base in cls.__mro__[1:]), *cls.__mro__]
        ours = self._memo.get(id(type(cls)), type(cls))
        order: Callable[[Any], Any] = lambda made: [made, *above] if _MARK in vars(made) else type.mro(made)  # noqa: E731
        meta = type(ours.__name__, (ours,), {"mro": order})
        new = abc.ABCMeta.__new__ if is_a(cls, abc.ABCMeta) else type.__new__
        return new(meta, cls.__name__, (cls,), {"__slots__": (), _MARK: True})

    # --------------------------------------------------------------------------------------------------------- objects

    def holder(self, value: Any, copy: Callable[[Any], Any]) -> Any:
        """A container or an object with attributes, made anew without running code of its class.

        Raises:
            TypeError: it is an object of another language, which can't be made so.
        """
        cls = self._copy(type(value))
        new = next(vars(base)["__new__"] for base in cls.__mro__ if is_a(vars(base).get("__new__"), _BUILT_IN))
        base: Any = next((b for b in _BASES if is_a(value, b)), object)
        if base is tuple or base is frozenset:
            made = self._remember(value, new(cls, map(copy, base.__iter__(value))))
        else:
            made = self._remember(value, new(cls))
        if base is deque:
            deque.__init__(made, (), value.maxlen)
        if base is defaultdict:
            made.default_factory = copy(value.default_factory)
        if is_a(value, dict):
            for key, item in list(dict.items(value)):
                base.__setitem__(made, copy(key), copy(item))
        elif _BASES.get(base) is not None:
            for item in list(base.__iter__(value)):
                _BASES[base](made, copy(item))
        attributes(made).update({name: copy(item) for name, item in attributes(value).items()})
        for name, item in slots(value).items():
            object.__setattr__(made, name, copy(item))
        return made


_BUILT_IN = types.BuiltinFunctionType
_BASES: dict[Any, Any] = {
    OrderedDict: None,
    defaultdict: None,
    dict: None,
    list: list.append,
    set: set.add,
    deque: deque.append,
    tuple: None,
    frozenset: None,
}
"""Containers, and what adds an element; the first that fits is what an object's class extends."""


def _nothing(_: Any) -> None:
    """The entry of a copy goes with the copy."""


class _Unregistered:
    """Stands behind a class made anew: the user's own classes shall not hear that there is another one."""

    __slots__ = ()

    def __init_subclass__(cls, **_: Any) -> None:
        pass
