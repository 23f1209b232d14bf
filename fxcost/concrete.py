"""Capture by running: the model's own forward on meta tensors, every torch call noted as an fx node.

Python control flow, keyword arguments, caches, dataclasses and generators just run. A torch function mode sees the
calls (with the vocabulary of symbolic tracing: call_module for leaf modules, call_method, call_function, get_attr), an
:class:`~fxcost.recorder.OpRecorder` sees the operators below them. An operator that ran outside any call that the
function mode can see (in TorchScript, in C++) becomes a node of its own, so nothing is missed.

Tensors are held weakly: they die when they die in the user's run.

Not here: values of tensors (values.py).
"""

from __future__ import annotations

import functools
import operator
import sys
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.overrides import TorchFunctionMode

from .cells import CPU
from .host import Taken, note_function, translate
from .inputs import Arguments
from .modules import argument_names, inventory, is_leaf
from .recorder import Segment
from .records import ModuleCall, NodeRecord, Operator, TensorSpec, tensor_specs
from .sketch import Node, Sketch
from .spelling import operator_of, written_as
from .values import ValueRecorder
from .vocabulary import Later, fields_of, has_tensor, opaque, resolved, vocabulary

_METADATA = frozenset(
    getattr(Tensor, name).__get__ for name in ("shape", "dtype", "ndim", "device", "layout", "requires_grad", "is_meta")
)
"""Reads of attributes that are no tensors."""
_DEVICE = getattr(Tensor, "device").__get__  # noqa: B009 - its type has no __get__ for mypy


class ConcreteTracer(TorchFunctionMode):
    """Builds the graph and the node records of one run of `root`."""

    def __init__(self, root: nn.Module, recorder: ValueRecorder, leaf_modules: tuple[Any, ...] = ()) -> None:
        super().__init__()
        self.root = root
        self.sketch = Sketch()
        self.records: list[NodeRecord] = []
        self.calls: list[ModuleCall] = []
        self.recorder = recorder
        recorder.orphan = self._orphan
        self._leaf_modules = leaf_modules
        self._producers: dict[int, tuple[weakref.ref[Tensor], Callable[[], Node]]] = {}
        self._attributes = inventory(root).names()
        self._attribute_nodes: dict[str, Node] = {}
        self._constants = 0
        self._scopes = [""]
        self.failed_in: str | None = None
        """FQN of the innermost module that was running when the model raised."""

    # -------------------------------------------------------------------------------------------------------- running

    def trace(self, function: Callable[..., Any], arguments: Arguments) -> Any:
        """Run `function` on meta tensors and record it; returns what it returned."""
        names = argument_names(function)
        for i, value in enumerate(arguments.args):
            self._placeholders(value, names[i] if i < len(names) else f"arg{i}")
        for name, value in arguments.kwargs.items():
            self._placeholders(value, name)
        unwrap = self._wrap_modules()
        try:
            with self:
                out = function(*arguments.args, **arguments.kwargs)
        finally:
            unwrap()
            self.recorder.orphan = None
        result = self._argument(out)
        node = self.sketch.create_node("output", "output", (result,))
        specs = tuple(tensor_specs(self._specs(out)))
        self._add(node, "output", "output", "", specs, specs)
        return out

    def _placeholders(self, value: Any, name: str) -> None:
        if isinstance(value, Tensor):
            node = self.sketch.create_node("placeholder", name)
            spec = self.recorder.spec(value)
            self._add(node, "placeholder", name, "", (), (spec,))
            self._produced(value, node)
        elif isinstance(value, (tuple, list)):
            for i, item in enumerate(value):
                self._placeholders(item, f"{name}_{i}")
        elif isinstance(value, dict):
            for key, item in value.items():
                self._placeholders(item, f"{name}_{key}")

    def _wrap_modules(self) -> Callable[[], None]:
        """Route every module's forward through :meth:`_call_module`; returns what undoes it."""
        wrapped: list[tuple[nn.Module, Any]] = []
        seen: set[int] = set()
        for name, module in self.root.named_modules():
            if id(module) in seen or isinstance(module, torch.jit.ScriptModule):
                continue
            seen.add(id(module))
            wrapped.append((module, module.__dict__.get("forward")))
            module.__dict__["forward"] = self._routed(module, name, module.forward)

        def unwrap() -> None:
            for module, before in wrapped:
                module.__dict__.pop("forward", None)
                if before is not None:
                    module.__dict__["forward"] = before

        return unwrap

    def _routed(self, module: nn.Module, name: str, forward: Callable[..., Any]) -> Callable[..., Any]:
        leaf = bool(name) and is_leaf(module, name, self._leaf_modules)

        @functools.wraps(forward)
        def call(*args: Any, **kwargs: Any) -> Any:
            segment = self.recorder.segment
            if segment is not None:  # inside a node: only keep track of where
                before, segment.scope, start = segment.scope, self._relative(name), len(segment.operations)
                try:
                    out = forward(*args, **kwargs)
                finally:
                    segment.scope = before
                segment.note(self._relative(name), True, args, kwargs, out, start)
                return out
            if leaf:
                return self._call_leaf(name, forward, args, kwargs)
            return self._call_container(name, forward, args, kwargs)

        return call

    def _relative(self, name: str) -> str:
        around = self._scopes[-1]
        return name.removeprefix(f"{around}.") if around and name.startswith(f"{around}.") else name

    def _call_container(self, name: str, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        start, given = len(self.records), (self._specs(args), self._specs(kwargs))
        self._scopes.append(name)
        try:
            out = forward(*args, **kwargs)
        except BaseException:
            self.failed_in = name if self.failed_in is None else self.failed_in
            raise
        finally:
            self._scopes.pop()
        self._called(name, given, out, start)
        return out

    def _called(self, name: str, given: tuple[Any, Any], out: Any, start: int) -> None:
        args, kwargs = given
        self.calls.append(ModuleCall(name, args, tuple(kwargs.items()), self._specs(out), start, len(self.records)))

    def _call_leaf(self, name: str, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        start = len(self.records)
        given = (self._specs(args), self._specs(kwargs))
        nodes = self._argument(args), self._argument(kwargs)
        self._scopes.append(name)
        try:
            out, segment = self._run(forward, args, kwargs, whole=True)
        except BaseException:
            self.failed_in = name if self.failed_in is None else self.failed_in
            raise
        finally:
            self._scopes.pop()
        node = self.sketch.create_node("call_module", name, *nodes)
        self._finish(node, name, name, given, out, segment)
        self._called(name, given, out, start)
        return out

    def _run(self, function: Callable[..., Any], args: Any, kwargs: Any, whole: bool = False) -> tuple[Any, Segment]:
        segment = self.recorder.segment = Segment(whole)
        try:
            return function(*args, **kwargs), segment
        finally:
            self.recorder.segment = None

    # ------------------------------------------------------------------------------------------------ torch functions

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _METADATA:  # most of what models ask for, and never a node
            if func == _DEVICE and "autocast" in sys._getframe(1).f_code.co_names:
                return CPU  # torch.autocast(x.device.type) knows no meta device
            return func(*args)
        kwargs = kwargs or {}
        if self.recorder.segment is not None:
            try:
                func, args, kwargs = translate(self.recorder, func, args, kwargs)
            except Taken as taken:
                return taken.result
            inside = self.recorder.segment
            start = len(inside.operations)
            out = func(*args, **kwargs)
            if inside.whole:
                note_function(inside, func, args, kwargs, out, start, sys._getframe(1))
            return out
        pending = self._pending(args), self._pending(kwargs)  # now: the call may rebind its arguments in place
        try:
            out, segment = self._run(*translate(self.recorder, func, args, kwargs))
        except Taken as taken:
            return taken.result
        if not segment.operations and not has_tensor(out):
            return out
        symbol = operator_of(getattr(func, "__name__", ""), sys._getframe(1))
        kind, target, args = vocabulary(written_as(func, sys._getframe(1)), args, symbol)
        given = (self._specs(args), self._specs(kwargs))
        fx_args = resolved(pending[0])
        if target is getattr or target is setattr:
            fx_args = (fx_args[0], args[1], *fx_args[1:])
        node = self.sketch.create_node(kind, target, fx_args, resolved(pending[1]))
        text = target if isinstance(target, str) else torch.fx.node._get_qualified_name(target)
        self._finish(node, text, self._scopes[-1], given, out, segment)
        return out

    def _orphan(self, func: Operator, args: Any, kwargs: Any, out: Any, segment: Segment) -> None:
        """An operator that ran outside every call that the function mode saw gets a node of its own."""
        given = (self._specs(args), self._specs(kwargs))
        node = self.sketch.create_node("call_function", func, self._argument(args), self._argument(kwargs))
        self._finish(node, str(func), self._scopes[-1], given, out, segment)

    # ----------------------------------------------------------------------------------------------------- the graph

    def _finish(self, node: Node, target: str, module: str, given: Any, out: Any, segment: Segment) -> None:
        outputs = tuple(tensor_specs(self._specs(out)))
        operations, storages = tuple(segment.operations), tuple(segment.slots)
        self._add(
            node, node.op, target, module, tuple(tensor_specs(given)), outputs, operations, storages, given, segment
        )
        self._bind(out, node)

    def _add(
        self,
        node: Node,
        kind: str,
        target: str,
        module: str,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        operations: Any = (),
        storages: tuple[int, ...] = (),
        given: tuple[Any, Any] = ((), {}),
        segment: Segment | None = None,
    ) -> None:
        names = tuple([n.name for n in node.all_input_nodes])
        args, kwargs, calls = given[0], tuple(given[1].items()), tuple(segment.calls) if segment is not None else ()
        freed = tuple(segment.freed) if segment is not None else ()
        self.records.append(
            NodeRecord(
                node.name,
                kind,
                target,
                module,
                names,
                inputs,
                outputs,
                operations,
                storages,
                args,
                kwargs,
                calls,
                freed,
            )
        )

    def _bind(self, out: Any, node: Node) -> None:
        """Remember which node made each tensor in `out`; elements of a sequence get a getitem node when used."""
        if isinstance(out, Tensor):
            self._produced(out, node)
        elif isinstance(out, (tuple, list)):
            for i, item in enumerate(out):
                self._bind_item(item, node, i)
        elif isinstance(out, dict):
            for key, item in out.items():
                self._bind_item(item, node, key)

    def _bind_item(self, item: Any, node: Node, key: Any) -> None:
        if isinstance(item, Tensor):
            if self._known(item) is not None:
                return  # handed through, e.g. an argument returned as it came
            spec, module = self.recorder.spec(item), self._scopes[-1]

            @functools.cache
            def pick() -> Node:
                got = self.sketch.create_node("call_function", operator.getitem, (node, key))
                given: tuple[Any, Any] = (None, key), {}  # which element; the sequence itself is not kept
                self._add(got, "call_function", "_operator.getitem", module, (spec,), (spec,), given=given)
                return got

            self._producers[id(item)] = weakref.ref(item), pick
        elif isinstance(item, (tuple, list, dict)):
            self._bind(item, self.sketch.create_node("call_function", operator.getitem, (node, key)))

    def _produced(self, tensor: Tensor, node: Node) -> None:
        self._producers[id(tensor)] = weakref.ref(tensor), lambda: node

    def _known(self, tensor: Tensor) -> Callable[[], Node] | None:
        entry = self._producers.get(id(tensor))
        return entry[1] if entry is not None and entry[0]() is tensor else None

    def _node_of(self, tensor: Tensor) -> Node:
        producer = self._known(tensor)
        if producer is not None:
            return producer()
        name = self._attributes.get(id(tensor))
        if name is None:
            name = f"_tensor_constant{self._constants}"
            self._constants += 1
            self.root.__dict__[name] = tensor if tensor.is_meta or self.recorder.real else self.recorder.twin(tensor)
            self._attributes[id(tensor)] = name
        if name not in self._attribute_nodes:
            node = self._attribute_nodes[name] = self.sketch.create_node("get_attr", name)
            module = name.rpartition(".")[0]
            self._add(node, "get_attr", name, module, (), (self.recorder.spec(tensor),))
        return self._attribute_nodes[name]

    def _argument(self, value: Any) -> Any:
        """A value as a node's argument, tensors replaced by the nodes that made them."""
        return resolved(self._pending(value))

    def _pending(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return Later(self._known(value) or functools.partial(self._node_of, value))
        if isinstance(value, (tuple, list)):
            items = [self._pending(v) for v in value]
            return items if type(value) is list else tuple(items)
        if isinstance(value, dict):
            return {str(k): self._pending(v) for k, v in value.items()}
        if (fields := fields_of(value)) is not None:
            return self._pending(fields)
        if isinstance(value, slice):
            return slice(*[self._pending(v) for v in (value.start, value.stop, value.step)])
        if isinstance(value, fx.node.base_types) or value is None or value is ...:
            return value
        return opaque(value)

    def _specs(self, value: Any) -> Any:
        with torch._C.DisableTorchFunction():  # looking at a tensor must not come back to us, call by call
            return self._described(value)

    def _described(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self.recorder.spec(value)
        if isinstance(value, (tuple, list)):
            return tuple([self._described(v) for v in value])
        if isinstance(value, dict):
            return {k: self._described(v) for k, v in value.items()}
        if (fields := fields_of(value)) is not None:
            return self._described(fields)
        return value if isinstance(value, (int, float, bool, str, type(None))) else opaque(value)
