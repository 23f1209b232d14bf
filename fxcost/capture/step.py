"""Runs one training step on meta tensors: forward with gradients, loss, backward; and records all of it.

The whole backward pass comes from PyTorch's autograd, so frozen parameters, inputs without gradient, shared weights,
checkpointing and custom functions are what they are.

Not here: which operator belongs to which node (step_recorder.py), costs (training.py), optimizers (optimizers.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

from ..errors import FxcostError, TrainingError, said
from ..meta import unit_gradients as _unit_gradients  # noqa: F401  (registers them)
from ..meta.segments import Segment, is_plain
from ..model.inputs import Arguments, tensors_in
from ..model.modules import inventory, parameter_records
from ..model.parts import Parts
from ..records.recording import NodeRecord, TrainingRecord
from ..records.sketch import Sketch
from ..records.tree import held_tensors
from .concrete import ConcreteTracer
from .host import HostCalls
from .run_graph import GraphRunner
from .step_recorder import NOBODY, StepRecorder

Loss = Callable[[Any], Tensor]


def _node(name: str, kind: str, target: str, module: str, segment: Segment) -> NodeRecord:
    operations, storages = tuple(segment.operations), tuple(segment.slots)
    return NodeRecord(name, kind, target, module, operations=operations, storages=storages)


def train_graph(
    parts: Parts,
    sketch: Sketch,
    values: Sequence[Any],
    recorder: StepRecorder,
    loss: Loss | None,
) -> TrainingRecord:
    """A training step of a graph on the values of its placeholders.

    Raises:
        TrainingError: there is nothing to train, or the loss is no scalar; or what the graph raised is chained.
    """
    runner = GraphRunner(parts.root, sketch, recorder)
    step = _Step(parts, recorder, list(tensors_in(list(values))))
    out = step.forward(lambda: runner.run(values))
    step.loss(out, loss)
    step.backward()
    return step.record(runner.records, (), loss is not None)


def train_model(
    model: Any,
    arguments: Arguments,
    parts: Parts,
    recorder: StepRecorder,
    leaf_modules: tuple[Any, ...],
    loss: Loss | None,
) -> TrainingRecord:
    """A training step of a model, run as concrete capture runs it.

    One that has a `whole_step` (a rank of a pipeline) runs backward passes itself, between forward passes: given a loss
    of what the model returns, and whether it is the user's own, that is what is called.

    Raises:
        TrainingError: there is nothing to train, or the loss is no scalar; or what the model raised is chained.
    """
    tracer = ConcreteTracer(parts, recorder, leaf_modules)
    step = _Step(parts, recorder, list(arguments.tensors()))
    whole = getattr(model, "whole_step", None)
    function = model if whole is None else whole(lambda out: step.loss(out, loss, inside=True), loss is not None)

    def run() -> Any:
        with recorder:
            return tracer.trace(function, arguments)

    out = step.forward(run)
    if whole is not None:
        return step.record(tracer.records, tracer.mentioned(), loss is not None)
    step.loss(out, loss)
    step.backward()
    return step.record(tracer.records, tracer.mentioned(), loss is not None)


class _Step:
    """Forward, loss and backward of one step, and what is left of it afterwards."""

    def __init__(self, parts: Parts, recorder: StepRecorder, inputs: list[Tensor]) -> None:
        self._parts, self._root = parts, parts.root
        self._recorder, self._inputs = recorder, inputs
        self._parameters = parameter_records(inventory(self._root), recorder.spec)
        self._input_specs = tuple(recorder.spec(t) for t in inputs)
        self._losses: list[NodeRecord] = []

    def forward(self, run: Callable[[], Any]) -> Any:
        hooks = torch.autograd.graph.saved_tensors_hooks(self._recorder.save, lambda t: t)
        with _Failing("the forward pass with gradients"), torch.enable_grad(), hooks:
            return run()

    def loss(self, out: Any, loss: Loss | None, *, inside: bool = False) -> Tensor:
        """The loss of what the model returned; `inside` of the model's own step, which is being recorded."""
        recorder = self._recorder
        segment = recorder.segment = Segment()
        try:
            with _Failing("the loss"), nullcontext() if inside else self._recording():
                value = _checked(loss(out)) if loss is not None else sum_of_outputs(out)
                if not inside:
                    self._start = value, torch.ones_like(value)  # with which backward starts
        finally:
            recorder.segment = None
        self._losses.append(_node("loss", "call_function", "loss", "", segment))
        return value

    @contextmanager
    def _recording(self) -> Iterator[None]:
        recorder = self._recorder
        hooks = torch.autograd.graph.saved_tensors_hooks(recorder.save, lambda t: t)
        with torch.enable_grad(), hooks, recorder, HostCalls(recorder):
            yield

    def backward(self) -> None:
        """The backward pass of the loss."""
        recorder = self._recorder
        value, seed = self._start
        recorder.in_backward = True
        try:
            with _Failing("the backward pass"), recorder, HostCalls(recorder):
                torch.autograd.backward(value, seed)
        finally:
            recorder.segment = None

    def record(self, nodes: Sequence[NodeRecord], mentioned: Iterable[str], own_loss: bool) -> TrainingRecord:
        """What ran, and what is left; `mentioned` has names of what took part in the forward pass."""
        recorder = self._recorder
        self._take_in(mentioned)
        nodes = [*(n for n in nodes if n.operations), *self._losses]
        trained = tuple(recorder.spec(p) for p in self._held() if p.is_leaf and p.grad is not None)
        gradients = self._gradients()
        place = {id(op): i for i, node in enumerate(nodes) for op in node.operations}
        of_forward = [place.get(id(op), len(nodes) - 1) for op in recorder.forward]
        backward = recorder.backward_nodes()
        found = TrainingRecord(
            nodes=tuple(nodes),
            backward=backward,
            owners=tuple(of_forward[o] if o != NOBODY else NOBODY for o in recorder.owners),
            recomputed=tuple(recorder.recomputed),
            saved=tuple(self._saved(place, of_forward)),
            gradients=gradients,
            trained=trained,
            parameters=self._parameters,
            inputs=self._input_specs,
            storage_bytes=tuple(recorder.storages.nbytes),
            deaths=tuple(recorder.deaths.items()),
            own_loss=own_loss,
            losses=len(self._losses),
            assumptions=self._assumptions(),
            gathered=tuple(recorder.gathered),
            rank=recorder.rank,
            order=_in_order(of_forward, len(nodes), backward, recorder.turns),
        )
        recorder.storages.settle()
        return found

    def _take_in(self, mentioned: Iterable[str]) -> None:
        """Parameters from outside the model's own tree, and those of the loss, train too."""
        known = {name for record in self._parameters for name in record.names}
        self._parts.attach(mentioned)
        records = parameter_records(inventory(self._root), self._recorder.spec)
        self._parameters += tuple(record for record in records if known.isdisjoint(record.names))

    def _assumptions(self) -> tuple[str, ...]:
        found = list(self._recorder.assumptions)
        if not self._root.training and any(self._root.children()):
            found.append("the model trains in eval mode: no dropout, batch norm uses its running statistics")
        return tuple(found)

    def _held(self) -> list[Tensor]:
        """Every parameter and buffer, once."""
        return list({id(t): t for t in held_tensors(self._root)}.values())

    def _gradients(self) -> tuple[int, ...]:
        """Storages of all gradients that are kept, which are let go."""
        numbers: dict[int, None] = {}
        leaves = [tensor for tensor in (*self._held(), *self._inputs) if tensor.is_leaf]
        for tensor in leaves:
            if tensor.grad is not None and is_plain(grad := self._recorder.held(tensor.grad)):
                numbers[self._recorder.storages.number(grad)] = None
            elif tensor.grad is not None:
                self._recorder.assume("gradients that are sparse take no memory: how many rows they have is not known")
        for tensor in leaves:
            tensor.grad = None
        return tuple(numbers)

    def _saved(self, place: dict[int, int], of_forward: list[int]) -> Iterator[tuple[int, int]]:
        """Storage and node of each saved tensor; the first node that saves a storage has it."""
        seen: set[int] = set()
        for number, segment, ran in self._recorder.saved:
            if number in seen or number in self._recorder.gathered:
                continue
            seen.add(number)
            if segment is not None and segment.operations:
                yield number, place.get(id(segment.operations[0]), of_forward[-1])
            else:  # by a function of the user's, once its own forward has run
                yield number, of_forward[max(ran - 1, 0)]


def _in_order(
    of_forward: Sequence[int], forward: int, backward: Sequence[NodeRecord], turns: Sequence[int]
) -> tuple[int, ...]:
    """The order in which nodes ran, those of the backward pass counted on; nothing if all of it ran last.

    Args:
        of_forward: the node of each operator of the forward pass, in the order in which these ran.
        forward: how many nodes the forward pass has.
        backward: the nodes of the backward pass, in their order.
        turns: for each operator of the backward pass, how many of the forward pass had run before it.
    """
    if not turns or turns[0] == len(of_forward):
        return ()
    order: dict[int, None] = {}
    left, ran = iter(turns), 0
    for i, node in enumerate(backward):
        until = next(left)
        for _ in node.operations[1:]:
            next(left)
        order.update(dict.fromkeys(of_forward[ran:until]))
        order[forward + i] = None
        ran = until
    order.update(dict.fromkeys(of_forward[ran:]))
    return tuple(order)


class _Failing:
    """Turns what the model raises inside into an error of ours."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if error is None or isinstance(error, FxcostError) or not isinstance(error, Exception):
            return
        text = said(error)
        raise TrainingError(f"{self._what} failed on meta tensors: {type(error).__name__}: {text}") from error


def sum_of_outputs(out: Any) -> Tensor:
    """The loss where the user gives none: the sum of all floating-point outputs.

    Raises:
        TrainingError: there is none, or none requires a gradient.
    """
    floating = [t for t in tensors_in(out) if t.is_floating_point() or t.is_complex()]
    if not floating:
        raise TrainingError(
            "the model returns no floating-point tensor, so there is nothing to differentiate; give loss=, a function "
            "of what the model returns"
        )
    trained = [t for t in floating if t.requires_grad]
    if not trained:
        raise TrainingError(
            "nothing that the model returns requires a gradient: all parameters are frozen (requires_grad=False), or "
            "the forward pass runs under no_grad"
        )
    total = _real_sum(trained[0])
    for tensor in trained[1:]:
        total = total + _real_sum(tensor)
    return total


def _real_sum(tensor: Tensor) -> Tensor:
    total = tensor.sum()
    return total.real if total.is_complex() else total


def _checked(value: Any) -> Tensor:
    if not isinstance(value, Tensor):
        raise TrainingError(f"loss returned a {type(value).__name__}; it must return a tensor of one element")
    if value.numel() != 1:
        raise TrainingError(
            f"loss returned a tensor of shape {tuple(value.shape)}; it must have one element: .mean() makes one"
        )
    if not value.requires_grad:
        raise TrainingError("the loss does not require a gradient: it depends on no trainable parameter")
    return value
