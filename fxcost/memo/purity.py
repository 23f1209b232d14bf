"""Which functions of the user's are functions of their arguments alone: proven by reading their bytecode.

A function is pure here if its code reads nothing from outside but PyTorch's own functions, a few builtins and other
functions that are pure, keeps no state (no closure, no attribute or global is written, no import) and has only
constants as defaults. Its arguments may be written to; that is seen in what it runs.

Whatever is not proven counts as impure. Not here: PyTorch's own functions (modules.py).
"""

from __future__ import annotations

import builtins
import dis
import inspect
from functools import lru_cache
from itertools import takewhile
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

import torch

from ..model.modules import function_is_pure

_CONSTANTS = (int, float, bool, str, type(None), torch.dtype)
_FUNCTIONS = (abs, all, any, isinstance, len, max, min, round, sorted, sum)
_TYPES = (bool, dict, enumerate, float, int, list, range, reversed, slice, tuple, zip, FunctionType)
_ERRORS = (AssertionError, NotImplementedError, RuntimeError, TypeError, ValueError)
_BUILTINS = frozenset((*_FUNCTIONS, *_TYPES, *_ERRORS))
_STATE = frozenset({"STORE_GLOBAL", "DELETE_GLOBAL", "STORE_ATTR", "DELETE_ATTR", "IMPORT_NAME", "LOAD_BUILD_CLASS"})
_NAMES = ("LOAD_ATTR", "LOAD_METHOD")
_STATEFUL = ("set_", "manual_seed", "seed", "use_", "load", "save")
"""How the names of the functions in `torch` begin that change or read what outlives a call."""


def is_pure(function: Any) -> bool:
    """True if what a Python function does is proven to follow from its arguments."""
    return proof(function) is not None


def proof(function: Any) -> tuple[Any, ...] | None:
    """Why what a Python function does follows from its arguments; None if that is not proven.

    Its code and all that it reads from outside, and so on for the functions that it calls: where two proofs are equal,
    nothing that decides what the function does has changed in between.
    """
    read: dict[Any, Any] = {}
    return tuple(read.items()) if _pure(function, read) else None


def _pure(function: Any, read: dict[Any, Any]) -> bool:
    if not isinstance(function, FunctionType) or function.__closure__ or function.__dict__.get("__wrapped__"):
        return False
    if function in read:  # it calls itself
        return True
    code = function.__code__
    if code.co_flags & (inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR):
        return False
    defaults = (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())
    if not all(isinstance(value, _CONSTANTS) for value in defaults):
        return False
    values = tuple([_resolved(path, function.__globals__) for path in _read_from_outside(code)])
    read[function] = code, defaults, values
    return all(_harmless(value, read) for value in values)


def _harmless(value: Any, read: dict[Any, Any]) -> bool:
    if value is torch.Tensor or isinstance(value, torch.dtype):
        return True
    if isinstance(value, type) or (isinstance(value, BuiltinFunctionType) and value.__module__ == "builtins"):
        return value in _BUILTINS
    if isinstance(value, BuiltinFunctionType) and not str(value.__module__).startswith(("torch", "math")):
        return False  # such as random.random
    if getattr(value, "__name__", "").startswith(_STATEFUL):
        return False
    try:
        return function_is_pure(value) or _pure(value, read)
    except TypeError:  # what can't be hashed
        return False


_UNKNOWN = object()


@lru_cache(maxsize=1024)
def _read_from_outside(code: CodeType) -> tuple[tuple[str, ...], ...]:
    """The dotted names that a code takes from its globals; an empty one where it may read or change other state."""
    instructions = list(dis.get_instructions(code))
    found: list[tuple[str, ...]] = []
    for i, instruction in enumerate(instructions):
        if instruction.opname in _STATE:
            found.append(())
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            attributes = takewhile(lambda following: following.opname in _NAMES, instructions[i + 1 :])
            found.append((instruction.argval, *[following.argval for following in attributes]))
    for constant in code.co_consts:
        if isinstance(constant, CodeType):  # a comprehension or an inner function
            found.extend(_read_from_outside(constant))
    return tuple(found)


def _resolved(path: tuple[str, ...], names: dict[str, Any]) -> Any:
    """What a dotted name stands for, up to the first part that is no module; `_UNKNOWN` if for nothing."""
    if not path:
        return _UNKNOWN
    value = names.get(path[0], getattr(builtins, path[0], _UNKNOWN))
    for name in path[1:]:
        if not isinstance(value, ModuleType):
            break
        value = getattr(value, name, _UNKNOWN)
    return value
