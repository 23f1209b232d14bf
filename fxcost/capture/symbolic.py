"""Capture by symbolic tracing: `torch.fx.Tracer` with what costing needs on top.

- Inputs of any nesting are traced leaf by leaf, and arguments that are no tensors are passed as they are, so that
  defaults such as `mask=None` take the path that they take when the model runs.
- In-place operators (`x += y`) stay in place; a plain Proxy turns them into out-of-place ones.
- What is computed without the inputs (from buffers, constants, factories such as `torch.arange`) is traced as well;
  plain tracing computes it on the spot and leaves it out of the graph.
- A proxy is no tensor, and Python code that asks (`isinstance(x, Tensor)`, `hasattr(x, …)`) may silently take another
  way than it would in a run. Such a question raises :class:`DoubtError`.

Not here: shapes and operators, which come from propagate.py.
"""

from __future__ import annotations

import dis
import math
import operator
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from types import BuiltinFunctionType, CodeType, MethodWrapperType
from typing import Any

from torch import ScriptObject, Tensor, device, dtype, fx, nn
from torch._C import ScriptMethod
from torch._ops import HigherOrderOperator
from torch.fx._symbolic_trace import _create_wrapped_func
from torch.overrides import TorchFunctionMode, is_tensor_method_or_property
from torch.utils import _pytree as pytree

from ..errors import CaptureError
from ..meta.autocast import region_dtype
from ..model.inputs import Arguments
from ..model.modules import argument_names, inventory
from ..records.sketch import Node, Sketch
from .spelling import names_unpacked, written_as

_MAY_ASK = ("fxcost", "torch.fx", "torch.nn.parameter", "torch._", "torch.overrides", "torch.utils")
_HIDE_GRADIENTS = ("torch._higher_order_ops", "torch._functorch.utils", "torch.utils.checkpoint")
"""Who asks for types on behalf of bodies with a backward of their own; a graph would show the forward alone."""
_TENSOR_ATTRIBUTES = frozenset(dir(Tensor))
_ATTRIBUTES = (Tensor, ScriptObject)
_LEFT_TO_FX = (ScriptMethod, HigherOrderOperator)
_AS_THEY_ARE = frozenset({int, float, bool, str, type(None), dtype, device})
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
_fx_lock = threading.RLock()  # torch.fx patches nn.Module process-wide while it traces


class DoubtError(CaptureError):
    """Symbolic tracing may have taken another path than the model's run does."""


@dataclass(frozen=True, slots=True)
class TracedCall:
    """A module call seen while tracing; `args` and `output` hold nodes, `start` and `stop` count nodes."""

    module: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Any
    start: int
    stop: int


class _Proxy(fx.Proxy):
    """A proxy that is in place where the code is, and tells when it is asked what only a tensor can answer."""

    def __getattr__(self, name: str) -> Any:
        if name not in _TENSOR_ATTRIBUTES and not name.startswith("__"):
            raise DoubtError(f"the code asks for attribute {name!r} of what may be a tensor")
        return super().__getattr__(name)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        raise DoubtError("the code copies a value")

    def __iter__(self) -> Iterator[Any]:
        """The elements, where they are unpacked into names; as in `fx.Proxy`, which reads the whole code each time."""
        count, pick = names_unpacked(sys._getframe(1)), operator.getitem
        return self.tracer.iter(self) if count is None else (pick(self, i) for i in range(count))

    @property
    def __class__(self) -> type:
        caller = sys._getframe(1).f_globals.get("__name__", "")
        if not caller.startswith(_MAY_ASK) or caller.startswith(_HIDE_GRADIENTS):
            raise DoubtError(
                f"{caller or 'code'} asks for the type of a value, isinstance(x, …), which a proxy can't answer"
            )
        return _Proxy

    @__class__.setter
    def __class__(self, value: type) -> None:
        raise TypeError("the class of a proxy is fixed")


def _in_place(name: str) -> Callable[[_Proxy, Any], Any]:
    function = getattr(operator, name)

    def method(self: _Proxy, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", function, (self, other), {})

    return method


for _name in _INPLACE:
    setattr(_Proxy, f"__{_name}__", _in_place(_name))


class _OwnCalls(TorchFunctionMode):
    """Makes nodes of torch calls that touch no proxy and return a tensor; the others just run.

    Nothing is computed with the user's own tensors: what is not on meta is not of the copy.
    """

    def __init__(self, tracer: fx.Tracer) -> None:
        super().__init__()
        self._tracer = tracer

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not isinstance(func, _LEFT_TO_FX) and (_has_proxy(args) or (kwargs and _has_proxy(kwargs))):
            if is_tensor_method_or_property(func):
                return self._tracer.create_proxy("call_method", func.__name__, args, kwargs)
            return self._tracer.create_proxy("call_function", func, args, kwargs)
        leaves = pytree.tree_leaves((args, kwargs))
        if any(type(value) is _Proxy for value in leaves):
            return func(*args, **kwargs)
        given = [t for t in leaves if type(t) in (Tensor, nn.Parameter)]
        if any(not t.is_meta for t in given):
            raise DoubtError(f"{getattr(func, '__name__', func)} is called on a tensor that is not the model's")
        out = func(*args, **kwargs)
        if out is None and given:
            raise DoubtError(f"{getattr(func, '__name__', func)} changes a constant")
        if type(out) is Tensor and not isinstance(func, MethodWrapperType):
            return self._tracer.create_proxy("call_function", func, tuple(args), kwargs)
        if isinstance(out, Tensor) or (isinstance(out, (tuple, list)) and any(isinstance(o, Tensor) for o in out)):
            raise DoubtError(f"{getattr(func, '__name__', func)} is called on constants")
        return out


def _has_proxy(value: Any) -> bool:
    kind = type(value)
    if kind is tuple or kind is list:
        return any(map(_has_proxy, value))
    return kind is _Proxy or (kind is dict and any(map(_has_proxy, value.values())))


class SymbolicTracer(fx.Tracer):
    """Traces a module or function on proxies into `sketch`; `leaves` decides which modules stay whole."""

    def __init__(self, leaves: Callable[[nn.Module, str], bool], arguments: Arguments) -> None:
        super().__init__(autowrap_modules=())  # type: ignore[arg-type]  # _math_traced is for it
        self._autowrap_function_ids = _MATH_IDS
        self._leaves = leaves
        self._arguments = arguments
        self._model: nn.Module | None = None
        self._held: dict[Any, str] | None = None
        self._thread = threading.get_ident()
        self._region = region_dtype()
        self._module = ""
        self._parameter_names: dict[int, str] = {}
        self._module_names: dict[int, str] = {}
        self.sketch = Sketch()
        self.calls: list[TracedCall] = []
        self.given: tuple[Any, Any] = (), {}

    def draw(self, model: nn.Module | Callable[..., Any]) -> None:
        """Trace a model.

        `Tracer.trace` is given a module's forward instead of the module, all of which it would walk through.
        """
        if isinstance(model, nn.Module):
            self._model = model
            self.trace(type(model).forward)
        else:
            self.trace(model)

    def proxy(self, node: Any) -> fx.Proxy:
        """Wrap a node."""
        return _Proxy(node, self)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """True for modules that become one call_module node."""
        return self._leaves(m, module_qualified_name)

    def create_args_for_root(
        self, root_fn: Any, is_module: bool, concrete_args: Any = None
    ) -> tuple[Callable[..., Any], list[Any]]:
        """One placeholder per tensor among the arguments; everything else is passed as it is."""
        if self._model is not None:
            self.root = self._model
        found = inventory(self.root)
        self._parameter_names = found.names()
        self._module_names = {id(module): names[0] for module, names in found.modules}

        def placeholders(value: Any, name: str) -> Any:
            if isinstance(value, Tensor):
                return self.create_proxy("placeholder", name, (), {})
            if type(value) is tuple or type(value) is list:
                return type(value)(placeholders(v, f"{name}_{i}") for i, v in enumerate(value))
            if isinstance(value, tuple) and hasattr(value, "_fields"):
                return type(value)(*[placeholders(v, f"{name}_{f}") for f, v in zip(value._fields, value, strict=True)])
            if type(value) is dict:
                return {k: placeholders(v, f"{name}_{k}") for k, v in value.items()}
            return value

        positional = argument_names(self._model or root_fn)
        args = [
            placeholders(v, positional[i] if i < len(positional) else f"arg{i}")
            for i, v in enumerate(self._arguments.args)
        ]
        kwargs = {k: placeholders(v, k) for k, v in self._arguments.kwargs.items()}
        self.given = _as_nodes(tuple(args)), _as_nodes(kwargs)
        return (lambda *a: root_fn(*a, **kwargs)), (args if self._model is None else [self._model, *args])

    @property
    def tensor_attrs(self) -> dict[Any, str]:
        """Paths of the tensors that modules hold as plain attributes, looked for when the first one is asked for."""
        if self._held is None:
            modules = [(f"{name}." if name else "", m) for name, m in self.root.named_modules()]
            held = [(v, name + k) for name, m in modules for k, v in vars(m).items() if isinstance(v, _ATTRIBUTES)]
            self._held = dict(held)
        return self._held

    @tensor_attrs.setter
    def tensor_attrs(self, attributes: dict[Any, str]) -> None:
        self._held = None

    def path_of_module(self, mod: nn.Module) -> str:
        """FQN of a module; the first name of a module that has several."""
        return self._module_names[id(mod)] if id(mod) in self._module_names else super().path_of_module(mod)

    def create_arg(self, a: Any) -> Any:
        """Turn a value into an argument of a node. Parameters are found by identity instead of by a search."""
        kind = type(a)
        if kind is _Proxy:
            return a.node
        if kind is tuple:
            return tuple([self.create_arg(v) for v in a])
        if kind is list:
            return [self.create_arg(v) for v in a]
        if kind in _AS_THEY_ARE:
            return a
        if kind is dict and not a:  # the keyword arguments of most calls
            return {}
        if id(a) in self._parameter_names:
            return self.create_node("get_attr", self._parameter_names[id(a)], (), {})
        return super().create_arg(a)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """Reading a parameter gives a get_attr node, one per parameter, found by identity instead of by a search."""
        name = self._parameter_names.get(id(attr_val))
        if name is None or not isinstance(attr_val, nn.Parameter):
            return attr_val
        if name not in parameter_proxy_cache:
            parameter_proxy_cache[name] = self.create_proxy("get_attr", name, (), {})
        return parameter_proxy_cache[name]

    def create_node(  # type: ignore[override]  # what it returns stands in for an fx.Node
        self, kind: str, target: Any, args: Any, kwargs: Any, name: str | None = None, type_expr: Any = None
    ) -> Node:
        """Create a node, under the function's name in the code. No autocast region may begin or end while tracing."""
        if region_dtype() is not self._region:
            raise DoubtError("the code runs under torch.autocast in parts, which a graph does not keep")
        module = self._module
        if kind == "get_attr":
            module = target.rpartition(".")[0]
        elif kind == "call_function":
            target = written_as(target, sys._getframe(1))
        return self.sketch.create_node(kind, target, args, kwargs, name, module)

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Note the call, then trace into it or make it one node."""
        if threading.get_ident() != self._thread:  # someone else's module: torch.fx patches the class, for all threads
            return forward(*args, **kwargs)
        name, outer, start = self.path_of_module(m), self._module, len(self.sketch.nodes)
        self._module = name
        try:
            if self._leaves(m, name):
                output = self.create_proxy("call_module", name, args, kwargs)
            else:
                _doubt_types(getattr(type(m), "forward", None))
                output = forward(*args, **kwargs)
        finally:
            self._module = outer
        named = _as_nodes(kwargs) if kwargs else {}
        self.calls.append(TracedCall(name, _as_nodes(args), named, _as_nodes(output), start, len(self.sketch.nodes)))
        return output


_MATH = {name: function for name, function in vars(math).items() if isinstance(function, BuiltinFunctionType)}
_MATH_IDS = set(map(id, _MATH.values()))
_TRACED_MATH = {name: _create_wrapped_func(function) for name, function in _MATH.items()}


@contextmanager
def _math_traced() -> Iterator[None]:
    """Calls of functions in `math` become nodes, as `torch.fx` has it, which makes the wrappers for each trace anew."""
    vars(math).update(_TRACED_MATH)
    try:
        yield
    finally:
        vars(math).update(_MATH)


def _as_nodes(value: Any) -> Any:
    kind = type(value)
    if kind is _Proxy:
        return value.node
    if kind in _AS_THEY_ARE:
        return value
    if isinstance(value, (tuple, list)):
        return tuple([_as_nodes(v) for v in value])
    if isinstance(value, dict):
        return {k: _as_nodes(v) for k, v in value.items()}
    return value.node if isinstance(value, fx.Proxy) else value


def _doubt_types(function: Any) -> None:
    """`type(x)` can't be intercepted as `isinstance` can: code that calls it is doubted as a whole."""
    code = getattr(function, "__code__", None)
    if isinstance(code, CodeType) and _calls_type(code):
        raise DoubtError(f"{code.co_qualname} asks for type(…), which may be that of a proxy")


@lru_cache(maxsize=4096)
def _calls_type(code: CodeType) -> bool:
    if "type" not in code.co_names:
        return False
    return any(i.opname == "LOAD_GLOBAL" and i.argval == "type" for i in dis.get_instructions(code))


def trace_symbolically(
    root: nn.Module | Callable[..., Any], arguments: Arguments, leaves: Callable[[nn.Module, str], bool]
) -> tuple[Sketch, nn.Module, list[TracedCall]]:
    """Trace `root` (a meta copy) and return its graph, the module that this refers to, and the calls seen.

    Raises:
        CaptureError: the code needs a value, or asks something that a proxy can't answer (:class:`DoubtError`).
    """
    tracer = SymbolicTracer(leaves, arguments)
    _doubt_types(getattr(type(root), "forward", None) if isinstance(root, nn.Module) else root)
    with _fx_lock:
        try:
            with _OwnCalls(tracer), _math_traced():
                tracer.draw(root)
        except CaptureError:
            raise
        except Exception as error:
            raise CaptureError(f"symbolic tracing failed: {type(error).__name__}: {error}") from error
    nodes = tracer.sketch.nodes
    tracer.calls.append(TracedCall("", *tracer.given, nodes[-1].args[0], 0, len(nodes)))
    return tracer.sketch, tracer.root, tracer.calls
