"""Capture by running: the model's own forward on meta tensors, every torch call noted as an fx node.

Python control flow, keyword arguments, caches, dataclasses and generators just run. A torch function mode sees the
calls (with the vocabulary of symbolic tracing: call_module for leaf modules, call_method, call_function, get_attr), an
:class:`~fxcost.meta.recorder.OpRecorder` sees the operators below them. An operator that ran outside any call that the
function mode can see (in TorchScript, in C++) becomes a node of its own, so nothing is missed.

The model's Python code always runs, all of it: only what operators answer is remembered (answers.py).

Not here: values of tensors (values.py), the graph (drawing.py).
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable
from operator import is_
from types import FrameType, TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..errors import CaptureError
from ..meta.nested import taking_the_fast_path
from ..meta.segments import Ran, Segment
from ..meta.values import ValueRecorder
from ..model.inputs import Arguments
from ..model.modules import argument_names, is_leaf
from ..model.parts import Parts
from ..records.recording import ModuleCall, Operator
from ..records.sketch import Node
from .drawing import Call, Drawing
from .follow import Seen
from .host import ASKS_SIZE, Taken, note_function, translate
from .products import noting_products
from .spelling import operator_of, written_as
from .unfinished import finished
from .vocabulary import has_tensor, vocabulary
from .wrapped import wrapped_functions

_METADATA = frozenset(getattr(Tensor, name).__get__ for name in ("shape", "dtype", "ndim", "layout", "requires_grad"))
"""Reads of attributes that are no tensors."""


class ConcreteTracer(TorchFunctionMode):
    """Builds the graph and the node records of one run of a model of these parts."""

    def __init__(self, parts: Parts, recorder: ValueRecorder, leaf_modules: tuple[Any, ...] = ()) -> None:
        super().__init__()
        self._parts = parts
        self.calls: list[ModuleCall] = []
        self.recorder = recorder
        recorder.orphan = self._orphan
        recorder.inside = lambda name: _Inside(self, name)
        self._leaf_modules = leaf_modules
        self._drawing = Drawing(parts, recorder)
        self._specs = self._drawing.specs
        self._scopes = self._drawing.scopes
        self._spellings: dict[Any, tuple[str, Any, str, tuple[str, ...]]] = {}
        self.sketch = self._drawing.sketch
        self.records = self._drawing.records
        self.failed_in: str | None = None
        """FQN of the innermost module that was running when the model raised."""
        self._changing = False
        self._thread = threading.get_ident()
        self._elsewhere: str | None = None
        """FQN of a module that ran in another thread, where no mode is active."""

    # -------------------------------------------------------------------------------------------------------- running

    def trace(self, function: Callable[..., Any], arguments: Arguments) -> Any:
        """Run `function` on meta tensors and record it; returns what it returned.

        Raises:
            CaptureError: a part of the model ran in a thread of its own.
        """
        names = argument_names(function)
        for i, value in enumerate(arguments.args):
            self._drawing.placeholders(value, names[i] if i < len(names) else f"arg{i}")
        for name, value in arguments.kwargs.items():
            self._drawing.placeholders(value, name)
        unwrap = self._wrap_modules()
        try:
            with wrapped_functions(self._parts.root, function, self._standing_in), self:
                out = finished(function(*arguments.args, **arguments.kwargs), self.recorder.assume)
        except Exception:
            self._check_threads()  # which may be why the model failed
            raise
        finally:
            unwrap()
            self.recorder.orphan = self.recorder.inside = None
        self._check_threads()
        self._drawing.output(out)
        return out

    def _check_threads(self) -> None:
        if self._elsewhere is not None:
            raise CaptureError(
                f"module {self._elsewhere!r} runs in a thread of its own, where what it runs can't be followed, and "
                "would not be counted. Have forward call it in its own thread while it is analysed"
            )

    def seen(self) -> Seen | None:
        """What follow.py asks of a run; None if no graph can be followed along it.

        That is so if a module that stays whole ran with other settings than before the run, or a tensor was reshaped.
        """
        drawing = self._drawing
        return None if self._changing or drawing.reshaped else Seen(drawing.several, drawing.handed_on)

    def mentioned(self) -> set[str]:
        """Names of the modules that were called, and of the modules and tensors that the graph names."""
        nodes = (node for node in self.sketch.nodes if node.op in ("call_module", "get_attr"))
        return {node.target for node in nodes} | {call.module for call in self.calls}

    def _wrap_modules(self) -> Callable[[], None]:
        """Route every module's forward through :meth:`_call_module`; returns what undoes it."""
        wrapped: list[tuple[nn.Module, Any]] = []
        leaves: list[Settings | None] = []
        seen: set[int] = set()
        for name, module in self._parts.named_modules():
            if id(module) in seen or isinstance(module, torch.jit.ScriptModule):
                continue
            seen.add(id(module))
            wrapped.append((module, module.__dict__.get("forward")))
            leaf = bool(name) and is_leaf(module, name, self._leaf_modules)
            settings = Settings(module) if leaf else None
            module.__dict__["forward"] = self._routed(module, name, module.forward, settings)
            leaves.append(settings)
            if self.recorder.around_hooks:
                module.__dict__["_call_impl"] = self._with_hooks(name, module._call_impl)
        for settings in filter(None, leaves):
            settings.read()  # now that all are routed

        def unwrap() -> None:
            for settings in filter(None, leaves):
                settings.forget()
            for module, before in wrapped:
                module.__dict__.pop("forward", None)
                if self.recorder.around_hooks:
                    module.__dict__.pop("_call_impl", None)
                if before is not None:
                    module.__dict__["forward"] = before

        return unwrap

    def _routed(
        self, module: nn.Module, name: str, forward: Callable[..., Any], settings: Settings | None
    ) -> Callable[..., Any]:
        """What runs in the place of a module's forward; a leaf, which stays whole, has `settings`."""
        forward = taking_the_fast_path(module, forward)
        thread = self._thread

        @functools.wraps(forward)
        def call(*args: Any, **kwargs: Any) -> Any:
            if threading.get_ident() != thread:
                self._elsewhere = name
                return forward(*args, **kwargs)
            segment = self.recorder.segment
            if segment is not None:  # inside a node: only keep track of where
                before, segment.scope, start = segment.scope, self._relative(name), len(segment.operations)
                try:
                    out = forward(*args, **kwargs)
                finally:
                    segment.scope = before
                segment.note(self._relative(name), True, args, kwargs, out, start)
                return out
            if settings is not None:
                self._changing = self._changing or settings.changed()
                return self._call_leaf(module, name, forward, args, kwargs)
            return self._call_container(name, forward, args, kwargs)

        return call

    def _standing_in(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """What runs in the place of a function that `torch.fx.wrap` marks: it is one node, as in a symbolic graph."""

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            here = threading.get_ident() == self._thread  # others see the stand-in too
            if not here or self.recorder.segment is not None or not has_tensor((args, kwargs)):
                return function(*args, **kwargs)
            call = Call(self._drawing, args, kwargs)
            call.make_nodes()
            out, ran = self._run(function, args, kwargs, whole=True)
            node = self.sketch.create_node("call_function", function, call.nodes, call.named_nodes)
            name = torch.fx.node._get_qualified_name(function)
            self._record(node, name, self._scopes[-1], call, out, ran)
            return out

        return call

    def _with_hooks(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """A module's call, within its scope from the first hook to the last."""

        @functools.wraps(call)
        def run(*args: Any, **kwargs: Any) -> Any:
            if self.recorder.segment is not None:
                return call(*args, **kwargs)
            with _Inside(self, name):
                return call(*args, **kwargs)

        return run

    def _relative(self, name: str) -> str:
        around = self._scopes[-1]
        return name.removeprefix(f"{around}.") if around and name.startswith(f"{around}.") else name

    def _call_container(self, name: str, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        start, given = len(self.records), (self._specs(args), self._specs(kwargs))
        with _Inside(self, name):
            out = forward(*args, **kwargs)
        self._called(name, given, self._specs(out), start)
        return out

    def _called(self, name: str, given: tuple[Any, Any], outputs: Any, start: int) -> None:
        args, kwargs = given
        self.calls.append(ModuleCall(name, args, tuple(kwargs.items()), outputs, start, len(self.records)))

    def _call_leaf(self, module: nn.Module, name: str, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        start = len(self.records)
        with _Inside(self, name):
            call = Call(self._drawing, args, kwargs)
            call.make_nodes()
            out, ran = self._run(forward, args, kwargs, whole=True)
        node = self.sketch.create_node("call_module", name, call.nodes, call.named_nodes)
        outputs = self._record(node, name, name, call, out, ran)
        self._called(name, (call.args, call.kwargs), outputs, start)
        return out

    # ------------------------------------------------------------------------------------------------ torch functions

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _METADATA:  # most of what models ask for, and never a node
            segment, out = self.recorder.segment, func(*args)
            if segment is not None and segment.whole and func in ASKS_SIZE:
                return noting_products(out, segment)
            return out
        kwargs = kwargs or {}
        if self.recorder.segment is not None:
            return self._call_inside(self.recorder.segment, func, args, kwargs, sys._getframe(1))
        call = Call(self._drawing, args, kwargs)
        try:
            out, ran = self._run(*translate(self.recorder, func, args, kwargs, sys._getframe(1)))
        except Taken as taken:
            return taken.result
        if not ran.operations and not has_tensor(out):
            return out
        call.make_nodes()
        kind, target, text, attribute = self._spelled(func, sys._getframe(1))
        if attribute:
            call.insert(attribute)
        node = self.sketch.create_node(kind, target, call.nodes, call.named_nodes)
        self._record(node, text, self._scopes[-1], call, out, ran)
        return out

    def _spelled(self, func: Any, caller: FrameType) -> tuple[str, Any, str, tuple[str, ...]]:
        """How a graph writes a call: opcode, target, the target as text, and the name of an attribute in a tuple."""
        func = written_as(func, caller)
        key = func, operator_of(getattr(func, "__name__", ""), caller)
        if key not in self._spellings:
            kind, target, attribute = vocabulary(*key)
            text = target if isinstance(target, str) else torch.fx.node._get_qualified_name(target)
            self._spellings[key] = kind, target, text, attribute
        return self._spellings[key]

    def _call_inside(self, segment: Segment, func: Any, args: Any, kwargs: Any, caller: FrameType) -> Any:
        """A call of a function within a node."""
        try:
            func, args, kwargs = translate(self.recorder, func, args, kwargs, caller)
        except Taken as taken:
            return taken.result
        start = len(segment.operations)
        out = func(*args, **kwargs)
        if segment.whole and func in ASKS_SIZE:
            return noting_products(out, segment)
        if segment.whole:
            note_function(segment, func, args, kwargs, out, start, caller)
        return out

    def _orphan(self, func: Operator, args: Any, kwargs: Any, out: Any, segment: Segment) -> None:
        """An operator that ran outside every call that the function mode saw gets a node of its own."""
        call = Call(self._drawing, args, kwargs)
        call.make_nodes()
        node = self.sketch.create_node("call_function", func, call.nodes, call.named_nodes)
        self._record(node, str(func), self._scopes[-1], call, out, segment.ran())

    # ------------------------------------------------------------------------------------------------------- recording

    def _run(self, function: Callable[..., Any], args: Any, kwargs: Any, whole: bool = False) -> tuple[Any, Ran]:
        """What a call returns, and what it ran."""
        segment = self.recorder.segment = Segment(whole)
        try:
            out = function(*args, **kwargs)
        finally:
            self.recorder.segment = None
        return out, segment.ran()

    def _record(self, node: Node, target: str, module: str, call: Call, out: Any, ran: Ran) -> Any:
        """Record a node: what its call returned and ran. Returns the specs of the result."""
        outputs = self._specs(out)
        self._drawing.bind(out, node)
        self._drawing.add(node, target, module, call, outputs, ran)
        return outputs


class Settings:
    """All that a module and those in it hold, to tell whether anything of it was replaced."""

    __slots__ = ("_held", "_tables")

    def __init__(self, module: nn.Module) -> None:
        inner = [module.__dict__] if not module._modules else [m.__dict__ for m in module.modules()]
        self._tables = [table for state in inner for table in (state, *[state[name] for name in _HELD])]
        self._held: list[Any] = []

    def read(self) -> None:
        """Remember what is held now."""
        self._held = self._now()

    def forget(self) -> None:
        """Hold nothing any more: what stands in the place of a forward holds its settings in turn."""
        self._held = []

    def changed(self) -> bool:
        """True if it is not what was read."""
        now = self._now()
        return len(now) != len(self._held) or not all(map(is_, now, self._held))

    def _now(self) -> list[Any]:
        return [value for table in self._tables for value in table.values()]


_HELD = ("_parameters", "_buffers", "_forward_hooks", "_forward_pre_hooks")


class _Inside:
    """While active, a module's forward is running; notes in which one the model raised."""

    __slots__ = ("_name", "_tracer")

    def __init__(self, tracer: ConcreteTracer, name: str) -> None:
        self._tracer, self._name = tracer, name

    def __enter__(self) -> None:
        self._tracer._scopes.append(self._name)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._tracer._scopes.pop()
        if kind is not None and self._tracer.failed_in is None:
            self._tracer.failed_in = self._name
