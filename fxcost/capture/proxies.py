"""Proxies of `torch.fx` that tell when the code asks of them what only a tensor can answer."""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from torch import Tensor, fx

from ..errors import CaptureError
from .spelling import names_unpacked

_MAY_ASK = ("fxcost", "torch.fx", "torch.nn.parameter", "torch._", "torch.overrides", "torch.utils")
_MAY_HASH = ("fxcost", "torch.fx", "torch.overrides", "torch.utils", "weakref")
_HIDE_GRADIENTS = ("torch._higher_order_ops", "torch._functorch.utils", "torch.utils.checkpoint")
"""Who asks for types on behalf of bodies with a backward of their own; a graph would show the forward alone."""
_TENSOR_ATTRIBUTES = frozenset(dir(Tensor))
_INPLACE = (
    "iadd",
    "isub",
    "imul",
    "itruediv",
    "ifloordiv",
    "imod",
    "ipow",
    "iand",
    "ior",
    "ixor",
    "ilshift",
    "irshift",
)


class DoubtError(CaptureError):
    """Symbolic tracing may have taken another path than the model's run does."""


def _answers_class(self: Any) -> type:
    caller = sys._getframe(1).f_globals.get("__name__", "")
    if not caller.startswith(_MAY_ASK) or caller.startswith(_HIDE_GRADIENTS):
        self.tracer.doubt(
            f"{caller or 'code'} asks for the type of a value, isinstance(x, …), which a proxy can't answer"
        )
    return Proxy


def _fixed_class(self: Any, value: type) -> None:
    raise TypeError("the class of a proxy is fixed")


class _Asked:
    """Questions that Python asks of a value, and that a proxy can't answer: each is a doubt."""

    tracer: Any
    __class__ = property(_answers_class, _fixed_class)

    def __getattr__(self: Any, name: str) -> Any:
        if name not in _TENSOR_ATTRIBUTES and not name.startswith("__"):
            self.tracer.doubt(f"the code asks for attribute {name!r} of what may be a tensor")
        return AttributeProxy(self, name)

    def __iter__(self) -> Iterator[Any]:
        """The elements, where they are unpacked into names; as in `fx.Proxy`, which reads the whole code each time."""
        count, pick = names_unpacked(sys._getframe(1)), operator.getitem
        return self.tracer.iter(self) if count is None else (pick(self, i) for i in range(count))

    def __hash__(self) -> int:
        """Of this very object, as a tensor's; what asks outside of tracing looks for a value."""
        if not sys._getframe(1).f_globals.get("__name__", "").startswith(_MAY_HASH):
            self.tracer.doubt("the code uses a value as a key")
        return id(self)


def _doubted(what: str) -> Callable[..., NoReturn]:
    def method(self: Any, *_: Any) -> NoReturn:
        self.tracer.doubt(f"the code {what}, which is known in a run alone")
        raise AssertionError

    return method


_QUESTIONS = {
    "__deepcopy__": "copies a value",
    "__len__": "asks for the length of a value",
    "__int__": "takes a value as an int",
    "__index__": "takes a value as an int",
    "__float__": "takes a value as a float",
    "__contains__": "looks for something in a value",
}


class Proxy(_Asked, fx.Proxy):
    """A value while tracing, which is in place where the code is."""


class AttributeProxy(_Asked, fx.proxy.Attribute):
    """An attribute of a value (`x.shape`), which is a value too."""


class ParameterProxy(_Asked, fx.Proxy):
    """A parameter while tracing: a node once it is used; its shape and dtype, which never change, are at hand."""

    def __init__(self, tracer: Any, parameter: Tensor) -> None:
        self.tracer = tracer
        self._parameter = parameter

    @property
    def node(self) -> Any:  # type: ignore[override]
        """The node that reads the parameter."""
        return self.tracer.create_arg(self._parameter)

    def __getattr__(self, name: str) -> Any:
        if name == "device":
            return self.tracer.home
        return getattr(self._parameter, name) if name in _OF_PARAMETERS else super().__getattr__(name)


_OF_PARAMETERS = frozenset({"shape", "dtype", "ndim", "requires_grad", "layout", "size", "dim", "numel", "is_leaf"})
PROXIES = frozenset({Proxy, AttributeProxy, ParameterProxy})
for _name, _what in _QUESTIONS.items():
    setattr(_Asked, _name, _doubted(_what))


def _in_place(name: str) -> Callable[[Any, Any], Any]:
    function = getattr(operator, name)

    def method(self: Any, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", function, (self, other), {})

    return method


def _of_math(function: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Any, *args: Any) -> Any:
        return self.tracer.create_proxy("call_function", function, (self, *args), {})

    return method


for _name in _INPLACE:
    setattr(_Asked, f"__{_name}__", _in_place(_name))
for _function in (math.floor, math.ceil, math.trunc, round):
    setattr(_Asked, f"__{_function.__name__}__", _of_math(_function))
