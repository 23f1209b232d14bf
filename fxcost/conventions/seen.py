"""What tools can see of a run, made once from a report's records: operations, module calls and function calls.

Tools hook modules, patch Python functions, intercept operators or read a trace. All of these are views of the same
records, in the order of the run. The run is the one that was analysed; in_run.py has the one that a tool makes of it.

Not visible: functions that a PyTorch function calls in its turn (those of `F.multi_head_attention_forward` are told
from its operators), Python arithmetic on sizes inside functions that stay whole or under concrete capture,
and, for a graph that was given, calls of containers. A graph of ATen operators (torch.export) shows no function calls.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import Any

import torch
from torch import nn

from ..errors import ConventionError
from ..meta import units
from ..records.cost import NodeCost, OpCost
from ..records.recording import OpRecord, TensorSpec, tensor_specs
from ..records.skeleton import children
from ..records.tree import named_modules
from ..totals.sums import Sums

aten = torch.ops.aten

_SAME = (  # functions of torch that are also functions of torch.nn.functional, as the same object
    *(f"conv{kind}{d}d" for kind in ("", "_transpose") for d in (1, 2, 3)),
    *("avg_pool1d", "adaptive_avg_pool1d", "prelu", "bilinear", "pixel_shuffle"),
)
_PREFIXES = (
    ("torch.nn.functional.", "F."),
    ("torch._C._nn.", "F."),
    ("torch.functional.", "torch."),
    ("torch._C._VariableFunctions.", "torch."),
    ("_operator.", "operator."),
    ("torch.Tensor.", "Tensor."),
)
_ALIASES = {f"torch.{name}": f"F.{name}" for name in _SAME}


MOST_MET = 10**6
"""Modules that a walk over a model may meet; PyTorch can't run a model in which they are more."""
PROJECTIONS = "projections"
"""Under this name the arguments of `F.multi_head_attention_forward` say how many linear layers it ran."""


def function_name(kind: str, target: str) -> str:
    """The name by which a user writes a function: "F.relu", "torch.matmul", "Tensor.mul", "operator.add"."""
    if kind == "call_method":
        return f"Tensor.{target}"
    for prefix, short in _PREFIXES:
        if target.startswith(prefix):
            target = short + target.removeprefix(prefix)
            break
    return _ALIASES.get(target, target)


def _tensor(value: Any, where: str) -> TensorSpec:
    if not isinstance(value, TensorSpec):
        raise ConventionError(
            f"a tool that reads shapes fails on this model: the first input of {where!r} is no tensor"
        )
    return value


Span = tuple[int, int]
"""A range of operations, numbered through the graph: the first, and the one after the last."""


@dataclass(frozen=True, slots=True)
class ModuleSeen:
    """One call of a module: what a forward hook is given. `span` numbers operations through the graph."""

    module: Any
    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Any
    span: Span

    @property
    def x(self) -> TensorSpec:
        """The first positional argument.

        Raises:
            ConventionError: it is no tensor, which hooks that ask for its shape do not expect.
        """
        return _tensor(self.args[0] if self.args else None, self.name)

    @property
    def y(self) -> TensorSpec:
        """The first tensor returned."""
        return next(tensor_specs(self.output))

    def argument(self, position: int, name: str = "", default: Any = None) -> Any:
        """An argument by position or name."""
        return self.args[position] if len(self.args) > position else self.kwargs.get(name, default)


@dataclass(frozen=True, slots=True)
class FunctionSeen:
    """One call of a torch function.

    `module` is the FQN of the innermost module running; `live` is False where nothing uses the result; `whole` is the
    range of the `F.multi_head_attention_forward` that it is, or that it is a step of.
    """

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: tuple[TensorSpec, ...]
    module: str
    span: Span
    live: bool = True
    whole: Span | None = None

    def arg(self, position: int, name: str = "", default: Any = None) -> Any:
        """An argument by position or name."""
        return self.args[position] if len(self.args) > position else self.kwargs.get(name, default)

    @property
    def x(self) -> TensorSpec:
        """The first argument.

        Raises:
            ConventionError: it is no tensor.
        """
        return _tensor(self.arg(0, "input"), self.name)

    @property
    def y(self) -> TensorSpec:
        """The first tensor returned."""
        return self.outputs[0]


class Seen:
    """A report's records, as tools see them.

    `hidden` are the numbers of operations that no tool sees, `fused_calls` the calls that they are inside; `by_run` has
    what tools see that run the model otherwise.
    """

    hidden: frozenset[int] = frozenset()
    fused_calls: tuple[ModuleSeen, ...] = ()

    def __init__(self, report: Sums) -> None:
        self.report = report
        self.recording = report.recording
        self.root = report.recording.root
        counts = [len(node.operations) for node in report.nodes]
        self._starts = [0, *accumulate(counts)]
        self.by_run: dict[Any, Seen] = {}

    @cached_property
    def modules(self) -> dict[str, nn.Module]:
        """Modules by their canonical FQN."""
        return dict(named_modules(self.root))

    @cached_property
    def operations(self) -> tuple[tuple[str, OpCost], ...]:
        """(FQN of the module, operation), in order; positions are the numbers that spans count."""
        return tuple((inside(n.module, op.record.scope), op) for n in self.report.nodes for op in n.operations)

    def records(self, span: Span) -> Iterator[tuple[int, OpRecord]]:
        """The operations of a span, with their numbers."""
        for number in range(*span):
            yield number, self.operations[number][1].record

    @cached_property
    def module_calls(self) -> tuple[ModuleSeen, ...]:
        """Calls of modules, inner ones first, in the order in which they returned."""
        return tuple(self._module_calls())

    def _module_calls(self) -> Iterator[ModuleSeen]:
        nodes, starts = self.report.nodes, self._starts
        called = {call.module for call in self.recording.calls}
        pending = [(c.module, c.args, dict(c.kwargs), c.output, c.start, c.stop) for c in self.recording.calls]
        for i, node in enumerate(nodes):
            if node.kind == "call_module" and node.module not in called:  # a given graph: no calls were recorded
                record = node.record
                pending.append((node.target, record.args, dict(record.kwargs), _whole(node), i, i + 1))
        pending.sort(key=lambda call: call[5])  # stable: inner calls of one end stay before outer ones
        at = 0
        for name, args, kwargs, output, start, stop in pending:
            while at < min(stop, len(nodes)):
                yield from self._inner_modules(at)
                at += 1
            if name in self.modules:
                yield ModuleSeen(self.modules[name], name, args, kwargs, output, (starts[start], starts[stop]))

    def _inner_modules(self, i: int) -> Iterator[ModuleSeen]:
        node, offset = self.report.nodes[i], self._starts[i]
        for call in node.record.calls:
            name = inside(node.module, call.target)
            if call.is_module and name in self.modules:
                span = offset + call.start, offset + call.stop
                yield ModuleSeen(self.modules[name], name, call.args, dict(call.kwargs), call.output, span)

    @cached_property
    def functions(self) -> tuple[FunctionSeen, ...]:
        """Calls of torch functions, in order; attention's are told from its operators."""
        return tuple(self._functions())

    def _functions(self) -> Iterator[FunctionSeen]:
        for i, node in enumerate(self.report.nodes):
            if not node.record.is_call:
                continue
            offset, live = self._starts[i], node.name in self.live
            hidden = [c for c in node.record.calls if not c.is_module]
            if node.kind != "call_module" and not hidden:
                span = offset, self._starts[i + 1]
                name = function_name(node.kind, node.target)
                kwargs, outputs = dict(node.record.kwargs), node.outputs
                call = FunctionSeen(name, node.record.args, kwargs, outputs, node.module, span, live)
                yield from self._expanded(call, node)
            for c in hidden:
                span, module = (offset + c.start, offset + c.stop), inside(node.module, c.scope)
                outputs = tuple(tensor_specs(c.output))
                name = function_name("call_function", c.target)
                yield from self._expanded(FunctionSeen(name, c.args, dict(c.kwargs), outputs, module, span, live), node)

    def _expanded(self, call: FunctionSeen, node: NodeCost) -> Iterator[FunctionSeen]:
        yield from [replace(call, name="F.interpolate")] if call.name == "F.upsample" else []
        if call.name != "F.multi_head_attention_forward":
            yield call
            return
        weights = bool(call.arg(14, "need_weights", True))
        steps = [(i, op, _attention_step(op, weights)) for i, op in self.records(call.span)]
        projections = sum(step is not None and step[0] == "F.linear" for _, _, step in steps)
        nowhere = call.span[0], call.span[0]
        yield replace(call, span=nowhere, kwargs={**call.kwargs, PROJECTIONS: projections}, whole=call.span)
        for number, op, step in steps:
            if step is not None:
                live = call.live and (step[0] != "Tensor.mean" or self._uses_weights(node))
                span = number, number + 1
                yield FunctionSeen(step[0], step[1], {}, (op.out,), call.module, span, live, call.span)

    def _uses_weights(self, node: NodeCost) -> bool:
        """True if the second result of an attention module's node is used."""
        users = [n.record for n in self.report.nodes if node.name in n.record.input_nodes]
        picks = [n for n in users if n.target.endswith("getitem")]
        return any(n.name in self.live for n in users if n not in picks or n.args[1] == 1)

    @cached_property
    def live(self) -> frozenset[str]:
        """Names of nodes whose result is used by the output, or that write into a tensor."""
        inputs = {node.name: node.record.input_nodes for node in self.report.nodes}
        stack = [
            n.name for n in self.report.nodes if n.kind == "output" or any(_writes(o.record) for o in n.operations)
        ]
        found: set[str] = set()
        while stack:
            name = stack.pop()
            if name not in found:
                found.add(name)
                stack.extend(inputs.get(name, ()))  # a value that is no tensor has no node here
        return frozenset(found)

    @cached_property
    def visits(self) -> dict[str, int]:
        """How often `Module.apply` meets each module: once for each parent, times the parent's own."""
        return self.reached(())

    def reached(self, stop: tuple[type, ...]) -> dict[str, int]:
        """How often a walk over `children()` from the root meets each module, not going below exact types `stop`.

        Raises:
            ConventionError: the walk does not end, or not soon: modules that contain themselves, or each other many
                times over.
        """
        names = {id(module): name for name, module in self.modules.items()}
        below: dict[int, list[nn.Module]] = {}
        waiting = [self.root]
        while waiting:
            module = waiting.pop()
            if id(module) not in below:
                inner = [] if type(module) in stop else [child for _, child in children(module)]
                below[id(module)] = list({id(child): child for child in inner}.values())
                waiting.extend(below[id(module)])
        times = _times_met(id(self.root), {number: list(map(id, inner)) for number, inner in below.items()})
        return {names[number]: met for number, met in times.items()}

    @cached_property
    def root_call(self) -> ModuleSeen | None:
        """The call of the model itself; None for a graph that was given."""
        return next((call for call in reversed(self.module_calls) if call.name == ""), None)

    @property
    def batch(self) -> int:
        """Length of the model's first positional input; 1 if it has none."""
        call = self.root_call
        args = (
            call.args if call is not None else tuple(n.outputs[0] for n in self.report.nodes if n.kind == "placeholder")
        )
        first = args[0] if args else None
        if isinstance(first, TensorSpec):
            return first.shape[0] if first.shape else 1
        return len(first) if isinstance(first, tuple) else 1

    def parameters(self, *, trainable: bool = False) -> int:
        """Elements of the model's parameters, each parameter object once."""
        return sum(p.numel() for p in self.root.parameters() if p.requires_grad or not trainable)


def _times_met(root: int, below: Mapping[int, list[int]]) -> dict[int, int]:
    """How often a walk from the root of a graph meets each of its places: once for each way that leads there."""
    ways_left = Counter(place for places in below.values() for place in places)
    found, times, ready = {}, Counter({root: 1}), [root] if not ways_left[root] else []
    while ready:
        place = ready.pop()
        found[place] = times[place]
        for inner in below[place]:
            times[inner] += times[place]
            ways_left[inner] -= 1
            if not ways_left[inner]:
                ready.append(inner)
    if len(found) < len(below) or sum(found.values()) > MOST_MET:
        raise ConventionError(
            "the tool walks over the modules of the model, and would not come to an end: some contain themselves, or "
            "each other many times over"
        )
    return found


def inside(module: str, scope: str) -> str:
    """The FQN of a module inside another."""
    return f"{module}.{scope}".strip(".") if scope else module


def _whole(node: NodeCost) -> Any:
    return node.outputs[0] if len(node.outputs) == 1 else node.outputs


def _writes(op: OpRecord) -> bool:
    schema = getattr(op.op, "_schema", None)
    return schema is not None and schema.is_mutable


def _attention_step(op: OpRecord, weights: bool) -> tuple[str, tuple[Any, ...]] | None:
    """The torch call inside `F.multi_head_attention_forward` that ran an operator, and its arguments."""
    packet = getattr(op.op, "overloadpacket", None)
    if packet is aten.addmm:
        return "F.linear", (op.args[1], _turned(op.args[2]))
    if packet is aten.mm:
        return "F.linear", (op.args[0], _turned(op.args[1]))
    if packet is aten.bmm and op.args[1].stride[:1] == (
        0,
    ):  # a frozen weight, broadcast over an input that is no matrix
        return "F.linear", (op.args[0], TensorSpec(op.args[1].shape[:0:-1], op.args[1].dtype))
    if op.op is units.attention:
        return "F.scaled_dot_product_attention", op.args
    if not weights:
        return None
    steps: dict[Any, str] = {
        aten.bmm: "torch.bmm",
        aten.baddbmm: "torch.baddbmm",
        aten._softmax: "F.softmax",
        aten.mean: "Tensor.mean",
    }
    steps[aten.mul] = "operator.mul"
    name = steps.get(packet)
    return (name, op.args) if name is not None else None


def _turned(weight: TensorSpec) -> TensorSpec:
    return TensorSpec(weight.shape[::-1], weight.dtype)
