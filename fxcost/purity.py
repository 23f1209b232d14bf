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
from collections.abc import Iterator
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

import torch

from .modules import function_is_pure

_CONSTANTS = (int, float, bool, str, type(None), torch.dtype)
_FUNCTIONS = (abs, all, any, isinstance, len, max, min, round, sorted, sum)
_TYPES = (bool, dict, enumerate, float, int, list, range, reversed, slice, tuple, zip)
_ERRORS = (AssertionError, NotImplementedError, RuntimeError, TypeError, ValueError)
_BUILTINS = frozenset((*_FUNCTIONS, *_TYPES, *_ERRORS))
_STATE = frozenset({"STORE_GLOBAL", "DELETE_GLOBAL", "STORE_ATTR", "DELETE_ATTR", "IMPORT_NAME", "LOAD_BUILD_CLASS"})
_NAMES = ("LOAD_ATTR", "LOAD_METHOD")
_STATEFUL = ("set_", "manual_seed", "seed", "use_", "load", "save")
"""How the names of the functions in `torch` begin that change or read what outlives a call."""


def is_pure(function: Any) -> bool:
    """True if what a Python function does is proven to follow from its arguments."""
    return _pure(function, set())


def _pure(function: Any, asked: set[Any]) -> bool:
    if not isinstance(function, FunctionType) or function.__closure__ or function.__dict__.get("__wrapped__"):
        return False
    if function in asked:  # it calls itself
        return True
    asked.add(function)
    code = function.__code__
    if code.co_flags & (inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR):
        return False
    defaults = (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())
    if not all(isinstance(value, _CONSTANTS) for value in defaults):
        return False
    return all(_harmless(value, asked) for value in _read_from_outside(code, function.__globals__))


def _harmless(value: Any, asked: set[Any]) -> bool:
    if value is torch.Tensor or isinstance(value, torch.dtype):
        return True
    if isinstance(value, type) or (isinstance(value, BuiltinFunctionType) and value.__module__ == "builtins"):
        return value in _BUILTINS
    if isinstance(value, BuiltinFunctionType) and not str(value.__module__).startswith(("torch", "math")):
        return False  # such as random.random
    if getattr(value, "__name__", "").startswith(_STATEFUL):
        return False
    try:
        return function_is_pure(value) or _pure(value, asked)
    except TypeError:  # what can't be hashed
        return False


_UNKNOWN = object()


def _read_from_outside(code: CodeType, names: dict[str, Any]) -> Iterator[Any]:
    """What the code takes from its globals, attributes of modules resolved; `_UNKNOWN` for what may hold state."""
    instructions = list(dis.get_instructions(code))
    for i, instruction in enumerate(instructions):
        if instruction.opname in _STATE:
            yield _UNKNOWN
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            value = names.get(instruction.argval, getattr(builtins, instruction.argval, _UNKNOWN))
            for following in instructions[i + 1 :]:
                if not isinstance(value, ModuleType) or following.opname not in _NAMES:
                    break
                value = getattr(value, following.argval, _UNKNOWN)
            yield value
    for constant in code.co_consts:
        if isinstance(constant, CodeType):  # a comprehension or an inner function
            yield from _read_from_outside(constant, names)
