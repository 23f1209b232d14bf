"""How a torch call is written down as an fx node: opcode, target, and arguments in place of tensors and objects."""

from __future__ import annotations

import operator
from collections.abc import Callable
from types import GetSetDescriptorType, MethodWrapperType
from typing import Any

from torch import Tensor

from ..meta.segments import fields_of
from ..records.sketch import Node


class Later:
    """A tensor among a call's arguments: the node that made it, asked for only if the call becomes a node."""

    __slots__ = ("node",)

    def __init__(self, node: Callable[[], Node]) -> None:
        self.node = node


def resolved(value: Any) -> Any:
    """Arguments with each :class:`Later` replaced by its node."""
    if isinstance(value, Later):
        return value.node()
    if isinstance(value, (tuple, list)):
        return type(value)([resolved(v) for v in value])
    if isinstance(value, dict):
        return {k: resolved(v) for k, v in value.items()}
    if isinstance(value, slice):
        return slice(*[resolved(v) for v in (value.start, value.stop, value.step)])
    return value


def opaque(value: object) -> str:
    """What stands in a graph for an object that fx can't write down."""
    return f"<{type(value).__module__}.{type(value).__qualname__}>"


def has_tensor(value: Any) -> bool:
    """True if there is a tensor in a nest of tuples, lists, dicts and dataclasses."""
    if isinstance(value, Tensor):
        return True
    if isinstance(value, (tuple, list)):
        return any(has_tensor(v) for v in value)
    if (fields := fields_of(value)) is not None:
        return has_tensor(fields)
    return isinstance(value, dict) and any(has_tensor(v) for v in value.values())


def vocabulary(func: Any, symbol: Any = None) -> tuple[str, Any, tuple[str, ...]]:
    """(opcode, target, what follows the first argument) under which symbolic tracing would have noted a call.

    `symbol` is the Python operator by which a method was called, if it was. Attributes are read and written with
    `getattr` and `setattr`, which are given their name.
    """
    if isinstance(func, MethodWrapperType) and isinstance(func.__self__, GetSetDescriptorType):
        return "call_function", getattr if func.__name__ == "__get__" else setattr, (func.__self__.__name__,)
    method = getattr(func, "__name__", None)
    if not method or getattr(Tensor, method, None) is not func:
        return "call_function", func, ()
    if symbol is not None:
        return "call_function", symbol, ()
    if method.startswith("__") and method in vars(operator):
        plain = method.strip("_")
        return "call_function", getattr(operator, plain, getattr(operator, method)), ()
    return "call_method", method, ()
