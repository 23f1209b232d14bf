"""Capture by running: the model's own forward on meta tensors, every torch call noted as an fx node.

Python control flow, keyword arguments, caches, dataclasses and generators just run. A torch function mode sees the
calls (with the vocabulary of symbolic tracing: call_module for leaf modules, call_method, call_function, get_attr), an
:class:`~fxcost.recorder.OpRecorder` sees the operators below them. An operator that ran outside any call that the
function mode can see (in TorchScript, in C++) becomes a node of its own, so nothing is missed.

A call that equals an earlier one is not run again (repeats.py); the Python code around it always runs.

Not here: values of tensors (values.py), the graph (drawing.py).
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from .cells import CPU
from .drawing import Drawing
from .host import Taken, note_function, translate
from .inputs import Arguments
from .modules import argument_names, is_leaf
from .nested import taking_the_fast_path
from .recorder import Segment
from .records import ModuleCall, Operator, tensor_specs
from .repeats import Memo, Question, Ran, Replay
from .sketch import Node
from .spelling import operator_of, written_as
from .values import ValueRecorder
from .vocabulary import has_tensor, resolved, vocabulary

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
        self.calls: list[ModuleCall] = []
        self.recorder = recorder
        recorder.orphan = self._orphan
        self._leaf_modules = leaf_modules
        self._drawing = Drawing(root, recorder)
        self._specs = self._drawing.specs
        self._scopes = self._drawing.scopes
        self._memo, self._replays = Memo(), False
        self.sketch = self._drawing.sketch
        self.records = self._drawing.records
        self.failed_in: str | None = None
        """FQN of the innermost module that was running when the model raised."""

    # -------------------------------------------------------------------------------------------------------- running

    def trace(self, function: Callable[..., Any], arguments: Arguments) -> Any:
        """Run `function` on meta tensors and record it; returns what it returned."""
        names = argument_names(function)
        for i, value in enumerate(arguments.args):
            self._drawing.placeholders(value, names[i] if i < len(names) else f"arg{i}")
        for name, value in arguments.kwargs.items():
            self._drawing.placeholders(value, name)
        self._replays = not self.recorder.real and not torch.is_grad_enabled()
        unwrap = self._wrap_modules()
        try:
            with self:
                out = function(*arguments.args, **arguments.kwargs)
        finally:
            unwrap()
            self.recorder.orphan = None
        self._drawing.output(out)
        return out

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
        forward = taking_the_fast_path(module, forward)

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
                return self._call_leaf(module, name, forward, args, kwargs)
            return self._call_container(name, forward, args, kwargs)

        call.routed = "forward" not in module.__dict__  # type: ignore[attr-defined]  # it stands for its class's own
        return call

    def _relative(self, name: str) -> str:
        around = self._scopes[-1]
        return name.removeprefix(f"{around}.") if around and name.startswith(f"{around}.") else name

    def _call_container(self, name: str, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        start, given = len(self.records), (self._specs(args), self._specs(kwargs))
        with self._inside(name):
            out = forward(*args, **kwargs)
        self._called(name, given, self._specs(out), start)
        return out

    @contextmanager
    def _inside(self, name: str) -> Iterator[None]:
        self._scopes.append(name)
        try:
            yield
        except BaseException:
            self.failed_in = name if self.failed_in is None else self.failed_in
            raise
        finally:
            self._scopes.pop()

    def _called(self, name: str, given: tuple[Any, Any], outputs: Any, start: int) -> None:
        args, kwargs = given
        self.calls.append(ModuleCall(name, args, tuple(kwargs.items()), outputs, start, len(self.records)))

    def _call_leaf(self, module: nn.Module, name: str, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        start, nodes = len(self.records), self._drawing.arguments(args, kwargs)
        with self._inside(name):
            question, replay = self._ask(module, args, kwargs)
            given = self._specs(args, question.spec), self._specs(kwargs, question.spec)
            out, ran = self._run(question, forward, args, kwargs, True) if replay is None else question.answer(replay)
        node = self.sketch.create_node("call_module", name, *nodes)
        outputs = self._finish(node, name, name, given, out, ran, question.spec)
        self._called(name, given, outputs, start)
        return out

    # ------------------------------------------------------------------------------------------------ torch functions

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _METADATA:  # most of what models ask for, and never a node
            if func == _DEVICE and "autocast" in sys._getframe(1).f_code.co_names:
                return CPU  # torch.autocast(x.device.type) knows no meta device
            return func(*args)
        kwargs = kwargs or {}
        if self.recorder.segment is not None:
            return self._call_inside(self.recorder.segment, func, args, kwargs, sys._getframe(1))
        question, replay = self._ask(func, args, kwargs)
        if replay is not None:
            nodes = self._drawing.arguments(args, kwargs)
            out, ran = question.answer(replay)
        else:
            pending = self._drawing.pending(args), self._drawing.pending(kwargs)  # now: the call may rebind tensors
            try:
                out, ran = self._run(question, *translate(self.recorder, func, args, kwargs))
            except Taken as taken:
                return taken.result
            if not ran.operations and not has_tensor(out):
                return out
            nodes = resolved(pending)
        symbol = operator_of(getattr(func, "__name__", ""), sys._getframe(1))
        kind, target, args = vocabulary(written_as(func, sys._getframe(1)), args, symbol)
        given = self._specs(args, question.spec), self._specs(kwargs, question.spec)
        if target is getattr or target is setattr:
            nodes = (nodes[0][0], args[1], *nodes[0][1:]), nodes[1]
        node = self.sketch.create_node(kind, target, *nodes)
        text = target if isinstance(target, str) else torch.fx.node._get_qualified_name(target)
        self._finish(node, text, self._scopes[-1], given, out, ran, question.spec)
        return out

    def _call_inside(self, segment: Segment, func: Any, args: Any, kwargs: Any, caller: FrameType) -> Any:
        """A call of a function within a node."""
        try:
            func, args, kwargs = translate(self.recorder, func, args, kwargs)
        except Taken as taken:
            return taken.result
        start = len(segment.operations)
        out = func(*args, **kwargs)
        if segment.whole:
            note_function(segment, func, args, kwargs, out, start, caller)
        return out

    def _orphan(self, func: Operator, args: Any, kwargs: Any, out: Any, segment: Segment) -> None:
        """An operator that ran outside every call that the function mode saw gets a node of its own."""
        given = (self._specs(args), self._specs(kwargs))
        node = self.sketch.create_node("call_function", func, *self._drawing.arguments(args, kwargs))
        self._finish(node, str(func), self._scopes[-1], given, out, Ran.of(segment), self.recorder.spec)

    # -------------------------------------------------------------------------------------------- running and replaying

    def _ask(self, target: Any, args: Any, kwargs: Any) -> tuple[Question, Replay | None]:
        """What a call of a module or function did before; None if it must run.

        It must on values, for gradients, under a mode of the user's, and where the user's code has replaced a function
        of PyTorch's for the time being.
        """
        question = Question(self.recorder)
        alone = torch._C._len_torch_dispatch_stack() == 1 and torch._C._functorch.peek_interpreter_stack() is None
        if not self._replays or torch.is_grad_enabled() or not alone:
            return question, None
        kind = "call_module" if isinstance(target, nn.Module) else "call_function"
        with torch._C.DisableTorchFunction():
            if not self._memo.holds(target):
                return question, None
            return question, question.ask(self._memo, kind, target, args, kwargs)

    def _run(
        self, question: Question, call: Callable[..., Any], args: Any, kwargs: Any, whole: bool = False
    ) -> tuple[Any, Ran]:
        """What a call returns, and what it ran."""
        segment = self.recorder.segment = Segment(whole)
        segment.slots.update(question.slots)
        self.recorder.values_used, self.recorder.storages_before = False, len(self.recorder.storages.nbytes)
        try:
            out = call(*args, **kwargs)
        finally:
            self.recorder.segment = None
        ran = Ran.of(segment)
        if question.key is not None:
            with torch._C.DisableTorchFunction():
                self._memo.put(question.key, question.replay(ran, question.described(out)))
        question.tensors.clear()  # their shapes may have changed
        return out, ran

    def _finish(self, node: Node, target: str, module: str, given: Any, out: Any, ran: Ran, spec: Any) -> Any:
        """Record a node that has run, and what it returned; returns the specs of that."""
        outputs = self._specs(out, spec)
        self._drawing.add(
            node,
            target,
            module,
            inputs=tuple(tensor_specs(given)),
            outputs=tuple(tensor_specs(outputs)),
            args=given[0],
            kwargs=tuple(given[1].items()),
            **ran._asdict(),
        )
        self._drawing.bind(out, node)
        return outputs
