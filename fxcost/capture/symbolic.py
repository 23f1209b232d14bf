"""Capture by symbolic tracing: the model's own code on proxies of `torch.fx`, with what costing needs on top.

- Inputs of any nesting are traced leaf by leaf, and arguments that are no tensors are passed as they are, so that
  defaults such as `mask=None` take the path that they take when the model runs.
- The model is called as a user calls it: hooks run, and a forward of the instance or a `__call__` of the class.
- In-place operators (`x += y`) stay in place; a plain Proxy turns them into out-of-place ones.
- What is computed without the inputs (from buffers, constants, factories such as `torch.arange`) is traced as well;
  plain tracing computes it on the spot and leaves it out of the graph.
- A proxy is no tensor, and Python code that asks (`isinstance(x, Tensor)`, `hasattr(x, …)`) may silently take another
  way than it would in a run. Such a question raises :class:`DoubtError`, and so does a setting that holds for a part of
  forward only (gradients, autocast, a mode), which a graph does not keep. A doubt that the code itself swallows
  (`except Exception`) is raised when it is done.

No class of PyTorch's is patched meanwhile, as `torch.fx.Tracer.trace` does: modules of the copy have a forward of their
own. What was marked by `torch.fx.wrap` alone is replaced in its module, as there is no other way to see its calls.

Not here: whether the graph does what the model does (confirm.py), shapes and operators (run_graph.py).
"""

from __future__ import annotations

import dis
import functools
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType, MethodWrapperType
from typing import Any

import torch
from torch import ScriptObject, Tensor, device, dtype, fx, nn
from torch._C import ScriptMethod
from torch._ops import HigherOrderOperator
from torch.fx import _symbolic_trace as fx_tracing
from torch.overrides import TorchFunctionMode, is_tensor_method_or_property
from torch.utils import _pytree as pytree

from ..errors import CaptureError
from ..meta.autocast import region_dtype
from ..model.inputs import Arguments
from ..model.modules import argument_names, inventory
from ..records.sketch import Node, Sketch
from .host import device_answer
from .proxies import PROXIES, DoubtError, ParameterProxy, Proxy
from .spelling import operator_of, written_as
from .unfinished import is_unfinished
from .vocabulary import vocabulary
from .wrapped import wrapped_functions

_ATTRIBUTES = (Tensor, ScriptObject)
_LEFT_TO_FX = (ScriptMethod, HigherOrderOperator)
_AS_THEY_ARE = frozenset({int, float, bool, str, type(None), dtype, device})


@dataclass(frozen=True, slots=True)
class TracedCall:
    """A module call seen while tracing; `args` and `output` hold nodes, `start` and `stop` count nodes."""

    module: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Any
    start: int
    stop: int


class _OwnCalls(TorchFunctionMode):
    """Makes nodes of torch calls that touch no proxy and return a tensor; the others just run.

    Nothing is computed with the user's own tensors: what is not on meta is not of the copy.
    """

    def __init__(self, tracer: SymbolicTracer) -> None:
        super().__init__()
        self._tracer = tracer

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not isinstance(func, _LEFT_TO_FX) and (_has_proxy(args) or (kwargs and _has_proxy(kwargs))):
            if is_tensor_method_or_property(func):
                return self._node_of(func, args, kwargs, sys._getframe(1))
            return self._tracer.create_proxy("call_function", func, args, kwargs)
        leaves = pytree.tree_leaves((args, kwargs))
        if any(type(value) in PROXIES for value in leaves):
            return func(*args, **kwargs)
        given = [t for t in leaves if type(t) in (Tensor, nn.Parameter)]
        if any(not t.is_meta for t in given):
            self._tracer.doubt(f"{getattr(func, '__name__', func)} is called on a tensor that is not the model's")
        if (answer := device_answer(func, self._tracer.home, sys._getframe(1))) is not None:
            return answer
        out = func(*args, **kwargs)
        if out is None and given:
            self._tracer.doubt(f"{getattr(func, '__name__', func)} changes a constant")
        if type(out) is Tensor:
            return self._node_of(func, tuple(args), kwargs, sys._getframe(1))
        if isinstance(out, Tensor) or (isinstance(out, (tuple, list)) and any(isinstance(o, Tensor) for o in out)):
            self._tracer.doubt(f"{getattr(func, '__name__', func)} is called on constants")
        return out

    def _node_of(self, func: Any, args: Any, kwargs: Any, caller: Any) -> Any:
        kind, target, attribute = vocabulary(func, operator_of(getattr(func, "__name__", ""), caller))
        if isinstance(func, MethodWrapperType) and not attribute:
            self._tracer.doubt(f"{getattr(func, '__name__', func)} is called on constants")
        return self._tracer.create_proxy(kind, target, (*args[:1], *attribute, *args[1:]), kwargs)


def _has_proxy(value: Any) -> bool:
    kind = type(value)
    if kind is tuple or kind is list:
        return any(map(_has_proxy, value))
    return kind in PROXIES or (kind is dict and any(map(_has_proxy, value.values())))


def _settings() -> tuple[Any, ...]:
    """What holds for the code that runs, and may hold for a part of it only."""
    return (
        region_dtype(),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.get_default_dtype(),
        torch._C._functorch.peek_interpreter_stack() is None,
    )


class SymbolicTracer(fx.Tracer):
    """Traces a module or function on proxies into `sketch`; `leaves` decides which modules stay whole."""

    def __init__(self, leaves: Callable[[nn.Module, str], bool], arguments: Arguments, home: device) -> None:
        super().__init__(autowrap_modules=())  # type: ignore[arg-type]  # math is not traced
        self.home = home
        self._leaves = leaves
        self._arguments = arguments
        self._held: dict[Any, str] | None = None
        self._settings: tuple[Any, ...] = ()
        self._modes = 0
        self._module = ""
        self._parameter_names: dict[int, str] = {}
        self._module_names: dict[int, str] = {}
        self._doubts: list[str] = []
        self._made: dict[str, Node] = {}
        self.sketch = Sketch()
        self.calls: list[TracedCall] = []
        self.given: tuple[Any, Any] = (), {}

    def doubt(self, text: str) -> None:
        """Say that the code may take another way in a run.

        Raises:
            DoubtError: at once; it is remembered, as the code may swallow it.
        """
        self._doubts.append(text)
        raise DoubtError(text)

    def draw(self, model: nn.Module | Callable[..., Any], root: nn.Module) -> None:
        """Trace a call of `model`, which is `root` or uses its modules and tensors."""
        self.root = root
        found = inventory(root)
        self._parameter_names = found.names()
        self._module_names = {id(module): names[0] for module, names in found.modules}
        args, kwargs = self._placeholders(model)
        with _OwnCalls(self), self._routed(found.modules):
            self._settings, self._modes = _settings(), torch._C._len_torch_function_stack()
            out = model(*args, **kwargs)
            if type(out) not in PROXIES and is_unfinished(out):
                self.doubt("the model returns what has not run yet: an iterator or a coroutine")
            self.create_node("output", "output", (self.create_arg(out),), {})
        if self._doubts:
            raise DoubtError(self._doubts[0])

    def _placeholders(self, model: Any) -> tuple[list[Any], dict[str, Any]]:
        """One placeholder per tensor among the arguments; everything else is passed as it is."""
        names = argument_names(model)
        args = [
            self._placeholder(v, names[i] if i < len(names) else f"arg{i}") for i, v in enumerate(self._arguments.args)
        ]
        kwargs = {k: self._placeholder(v, k) for k, v in self._arguments.kwargs.items()}
        self.given = _as_nodes(tuple(args)), _as_nodes(kwargs)
        return args, kwargs

    def _placeholder(self, value: Any, name: str) -> Any:
        if isinstance(value, Tensor):
            return self.create_proxy("placeholder", name, (), {})
        if type(value) is tuple or type(value) is list:
            return type(value)(self._placeholder(v, f"{name}_{i}") for i, v in enumerate(value))
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            fields = zip(value._fields, value, strict=True)
            return type(value)(*[self._placeholder(v, f"{name}_{f}") for f, v in fields])
        if type(value) is dict:
            return {k: self._placeholder(v, f"{name}_{k}") for k, v in value.items()}
        return value

    @contextmanager
    def _routed(self, modules: Any) -> Iterator[None]:
        """Meanwhile each module's forward comes here first, its parameters are proxies, and a leaf runs no hooks.

        Hooks of a leaf run when the graph does, whose node calls it.
        """
        proxies: dict[int, ParameterProxy] = {}
        before: list[tuple[dict[str, Any], dict[str, Any]]] = []
        for module, names in modules:
            if isinstance(module, torch.jit.ScriptModule):
                continue
            state, leaf = module.__dict__, bool(names[0]) and self._leaves(module, names[0])
            kept = {name: state[name] for name in _HOOKS if leaf and state.get(name)}
            if state["_parameters"]:
                kept["_parameters"] = own = state["_parameters"]
                state["_parameters"] = {
                    k: p if p is None else proxies.setdefault(id(p), ParameterProxy(self, p)) for k, p in own.items()
                }
            if "forward" in state:
                kept["forward"] = state["forward"]
            before.append((state, kept))
            state.update({name: OrderedDict() for name in kept if name in _HOOKS})
            state["forward"] = self._route(module, names[0], module.forward, leaf)
        try:
            yield
        finally:
            for state, kept in before:
                state.pop("forward", None)
                state.update(kept)

    def _route(self, module: nn.Module, name: str, forward: Callable[..., Any], leaf: bool) -> Callable[..., Any]:
        @functools.wraps(forward)
        def call(*args: Any, **kwargs: Any) -> Any:
            return self.called(module, name, forward, leaf, args, kwargs)

        return call

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

    def proxy(self, node: Any) -> fx.Proxy:
        """Wrap a node."""
        return Proxy(node, self)

    def to_bool(self, obj: fx.Proxy) -> bool:
        """A value decides: `if x:`."""
        self.doubt("control flow hangs on a value, which is known in a run alone")
        raise AssertionError

    def iter(self, obj: fx.Proxy) -> Iterator[Any]:
        """A value is iterated, by as many steps as a run alone knows."""
        self.doubt("the code iterates over a value, whose length is known in a run alone")
        raise AssertionError

    def keys(self, obj: fx.Proxy) -> Any:
        """A value is unpacked by `**`."""
        self.doubt("the code unpacks a value by **, whose keys are known in a run alone")

    def create_arg(self, a: Any) -> Any:
        """Turn a value into an argument of a node. Parameters are found by identity instead of by a search."""
        kind = type(a)
        if kind in PROXIES:
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

    def create_node(  # type: ignore[override]  # what it returns stands in for an fx.Node
        self, kind: str, target: Any, args: Any, kwargs: Any, name: str | None = None, type_expr: Any = None
    ) -> Node:
        """Create a node, under the function's name in the code; not where a setting holds that held not at first."""
        modes = torch._C._len_torch_function_stack()
        if self._settings and kind != "get_attr" and (modes > self._modes or _settings() != self._settings):
            self.doubt(
                "a part of the code runs under other settings (gradients, autocast, a mode): no graph keeps them"
            )
        module = self._module
        if kind == "get_attr":
            if target in self._made:
                return self._made[target]
            module = target.rpartition(".")[0]
        elif kind == "call_function":
            target = written_as(target, sys._getframe(1))
        node = self.sketch.create_node(kind, target, args, kwargs, name, module)
        if kind == "get_attr":
            self._made[target] = node
        return node

    def called(
        self, m: nn.Module, name: str, forward: Callable[..., Any], leaf: bool, args: tuple[Any, ...], kwargs: Any
    ) -> Any:
        """Note a call of a module, then trace into it or make it one node."""
        outer, start = self._module, len(self.sketch.nodes)
        self._module = name
        try:
            if leaf:
                output = self.create_proxy("call_module", name, args, kwargs)
            else:
                _doubt_types(getattr(type(m), "forward", None), self)
                output = forward(*args, **kwargs)
        finally:
            self._module = outer
        if name:
            named = _as_nodes(kwargs) if kwargs else {}
            stop = len(self.sketch.nodes)
            self.calls.append(TracedCall(name, _as_nodes(args), named, _as_nodes(output), start, stop))
        return output


_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def _as_nodes(value: Any) -> Any:
    kind = type(value)
    if kind in PROXIES:
        return value.node
    if kind in _AS_THEY_ARE:
        return value
    if isinstance(value, (tuple, list)):
        return tuple([_as_nodes(v) for v in value])
    if isinstance(value, dict):
        return {k: _as_nodes(v) for k, v in value.items()}
    return value


def _doubt_types(function: Any, tracer: SymbolicTracer) -> None:
    """`type(x)` can't be intercepted as `isinstance` can: code that calls it is doubted as a whole."""
    code = getattr(function, "__code__", None)
    if isinstance(code, CodeType) and _calls_type(code):
        tracer.doubt(f"{code.co_qualname} asks for type(…), which may be that of a proxy")


@lru_cache(maxsize=4096)
def _calls_type(code: CodeType) -> bool:
    if "type" not in code.co_names:
        return False
    return any(i.opname == "LOAD_GLOBAL" and i.argval == "type" for i in dis.get_instructions(code))


def trace_symbolically(
    model: nn.Module | Callable[..., Any],
    root: nn.Module,
    arguments: Arguments,
    leaves: Callable[[nn.Module, str], bool],
    home: device,
) -> tuple[Sketch, list[TracedCall]]:
    """Trace a call of `model`, whose modules and tensors are those of `root`; its graph, and the module calls seen.

    `home` is the device that the code is told where it asks for one.

    Raises:
        CaptureError: the code needs a value, or asks something that a proxy can't answer (:class:`DoubtError`).
    """
    tracer = SymbolicTracer(leaves, arguments, home)
    try:
        if not isinstance(model, nn.Module):
            _doubt_types(getattr(model, "__func__", model), tracer)
        with wrapped_functions(root, model, fx_tracing._create_wrapped_func), torch.enable_grad():
            tracer.draw(model, root)
    except CaptureError:
        raise
    except Exception as error:
        raise CaptureError(f"symbolic tracing failed: {type(error).__name__}: {error}") from error
    nodes = tracer.sketch.nodes
    tracer.calls.append(TracedCall("", *tracer.given, nodes[-1].args[0], 0, len(nodes)))
    return tracer.sketch, tracer.calls
