"""PyTorch's own functions and classes, as they are when an analysis begins: would a call run now what it ran then?

Users' code, and other tools, may put functions of their own in PyTorch's place, for good or for a while. What is
remembered holds in one :class:`World` alone, and only while nobody's function stands where PyTorch's code asks for its
own (:func:`replaced`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import _lru_cache_wrapper
from operator import itemgetter
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..model.modules import NOT_PYTHON, with_inner

_SHARED = (F, torch, torch._C._nn, torch._tensor, torch.functional, Tensor, nn.Module)
_CLASSES = [value for value in vars(nn.modules).values() if isinstance(value, type)]
_SPACES = tuple(map(vars, dict.fromkeys((*_SHARED, *[base for cls in _CLASSES for base in cls.__mro__[:-1]]))))
_TORCH = frozenset({"torch", "typing_extensions", *sys.stdlib_module_names})
_HARMLESS = (BuiltinFunctionType, type, ModuleType)
_OBJECTS = frozenset({"torch", "typing", "typing_extensions", "types", "builtins"})

Part = tuple[Mapping[str, Any], int, Callable[[Mapping[str, Any]], Any], Any]
"""A namespace, how many names it has, what picks the values of some of them, and those values."""


class World:
    """PyTorch's namespaces, classes and settings as they are now."""

    __slots__ = ("_parts", "_read", "_settings")

    def __init__(self) -> None:
        self._settings = _settings()
        self._parts = [tuple(space.values()) for space in _SPACES]  # equal where each part is the very same
        self._read: dict[Any, tuple[Part, ...]] = {}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, World) and self._settings == other._settings and self._parts == other._parts

    __hash__ = None  # type: ignore[assignment]

    def holds(self, target: Any) -> bool:
        """True if what a function or a module would run is still the same; what is written in C always is."""
        if type(target) in NOT_PYTHON:
            return True
        key = tuple(map(type, with_inner(target))) if isinstance(target, nn.Module) else target
        parts = self._read.get(key)
        if parts is None:
            if self != World():  # since when, and what for, nobody can tell
                return False
            if not all(map(_is_pytorchs, key if isinstance(key, tuple) else (key,))):
                return True
            parts = self._read[key] = _parts_read(key)
        return all(len(space) == size and pick(space) == values for space, size, pick, values in parts)


def _is_pytorchs(value: Any) -> bool:
    return str(getattr(value, "__module__", "")).partition(".")[0] == "torch"


def _parts_read(target: Any) -> tuple[Part, ...]:
    """What the code of a function, or of modules of these classes, may read in PyTorch's namespaces, by its names."""
    classes = target if isinstance(target, tuple) else ()
    spaces = [*map(vars, dict.fromkeys(base for cls in classes for base in cls.__mro__[:-1])), *map(vars, _SHARED)]
    names = _names_reached(target if not classes else None, spaces)
    parts = []
    for space in spaces:
        found = [name for name in names if name in space]
        if found:
            pick = itemgetter(*found)
            parts.append((space, len(space), pick, pick(space)))
    return tuple(parts)


def _names_reached(function: Any, spaces: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names in the code of a function (None: a module's forward), and in the codes that these may stand for."""
    names: dict[str, None] = {} if function is not None else {"forward": None, "__call__": None}
    reached = list(names)
    codes = list(_codes(function))
    while codes or reached:
        while reached:
            name = reached.pop()
            codes.extend(code for space in spaces if name in space for code in _codes(space[name]))
        reached = [name for name in dict.fromkeys(_names_in(codes.pop())) if name not in names] if codes else []
        names.update(dict.fromkeys(reached))
    return list(names)


def _codes(value: Any) -> Iterator[CodeType]:
    """The codes of a Python function, of those that it encloses, and of a property; of nothing else."""
    if isinstance(value, _lru_cache_wrapper):
        value = value.__wrapped__
    if isinstance(value, property):
        value = value.fget
    if isinstance(value, FunctionType):
        yield value.__code__
        for cell in value.__closure__ or ():
            if isinstance(cell.cell_contents, FunctionType):
                yield cell.cell_contents.__code__


def _settings() -> tuple[Any, ...]:
    """Switches that decide what PyTorch's functions run, and how many operators were given kernels from Python."""
    fast = torch.backends.mha.get_fastpath_enabled()
    strict = torch.are_deterministic_algorithms_enabled()
    return torch.get_default_dtype(), fast, strict, len(getattr(torch.library, "_impls", ()))


def replaced() -> bool:
    """True if something in PyTorch's namespaces that PyTorch's code asks for is not PyTorch's own."""
    parts = [part for space in _SPACES for part in space.items()]
    strange = {name for name, value in parts if not _is_torchs(value)}
    asked = {name for _, value in parts for name in _names_in(getattr(value, "__code__", None))} if strange else set()
    return any(name in asked or name.startswith("__") for name in strange)


def _names_in(code: Any) -> Iterator[str]:
    """The names of globals and attributes in a code."""
    if isinstance(code, CodeType):
        yield from code.co_names
        for constant in code.co_consts:
            yield from _names_in(constant)


def _is_torchs(value: Any) -> bool:
    """True for what PyTorch's namespaces hold by themselves; False for what somebody else has put there."""
    if isinstance(value, _lru_cache_wrapper):
        value = value.__wrapped__
    if isinstance(value, FunctionType):
        return str(value.__globals__.get("__name__", "")).partition(".")[0] in _TORCH
    if isinstance(value, _HARMLESS) or not callable(value):
        return True
    return type(value).__module__.partition(".")[0] in _OBJECTS
