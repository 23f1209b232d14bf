"""Runs one training step on meta tensors: forward with gradients, loss, backward; and records all of it.

The whole backward pass comes from PyTorch's autograd, so frozen parameters, inputs without gradient, shared weights,
checkpointing and custom functions are what they are. Autograd numbers its nodes in the order in which the forward
pass makes them; an operator of the backward pass therefore belongs to the forward operator after which the number of
its autograd node had been given out.

Not here: what the operators cost (training.py), optimizers (optimizers.py).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from . import unit_gradients as _unit_gradients  # noqa: F401  (registers them)
from .autocast import cast_to
from .autocast_gradients import AutocastRegionError
from .concrete import ConcreteTracer
from .errors import FxcostError, TrainingError
from .host import HostCalls
from .inputs import Arguments, tensors_in
from .modules import InnerScopes, parameter_records
from .recorder import Segment, Storages, is_plain
from .records import NodeRecord, Operator, OpRecord, TrainingRecord
from .values import ValueRecorder

Loss = Callable[[Any], Tensor]

NOBODY = -1
"""Owner of backward operators that belong to no forward node: gradients that add up at a parameter."""


class StepRecorder(ValueRecorder):
    """A recorder that knows, in the backward pass, which forward operator each operator belongs to.

    `casts` says that autocast regions are taken care of (autocast_gradients.py).
    """

    def __init__(self, storages: Storages, *, real: bool = False, casts: bool = False) -> None:
        super().__init__(storages, real=real)
        self.casts = casts
        self.forward: list[OpRecord] = []
        self.owners: list[int] = []
        """For each backward operator the position of its owner in `forward`, or NOBODY."""
        self.recomputed: list[bool] = []
        self.saved: list[tuple[int, Segment | None, int]] = []
        """Storage, segment that was open, and operators that had run, for each tensor saved for backward."""
        self.in_backward = False
        self._numbers: list[int] = []
        self._numbered: list[int] = []

    def record(
        self, func: Operator, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any, segment: Segment
    ) -> OpRecord:
        """Describe one run; in the backward pass its scope is that of its owner."""
        if not self.in_backward:
            owner = len(self.forward)
            record = super().record(func, args, kwargs, out, segment)
            self.forward.append(record)
        else:
            owner = self._owner()
            segment.scope = self.forward[owner].scope if owner != NOBODY else ""
            record = super().record(func, args, kwargs, out, segment)
            again = torch.is_grad_enabled()  # the backward pass itself runs without
            self.owners.append(owner)
            self.recomputed.append(again)
            if not again:
                return record
        self._numbers.append(torch.autograd._get_sequence_nr())  # type: ignore[attr-defined]
        self._numbered.append(owner)
        return record

    def _autocast(self, func: Operator, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Casts are made above autograd; a step that is not prepared for that must start again."""
        if self.region is not None and not self.casts and cast_to(func, self.region) is not None:
            raise AutocastRegionError
        return args

    def save(self, tensor: Tensor) -> Tensor:
        """The hook that autograd calls with every tensor that it saves for the backward pass."""
        if is_plain(tensor):
            self.saved.append((self.storages.number(tensor), self.segment, len(self.forward)))
        return tensor

    def _owner(self) -> int:
        node = torch._C._current_autograd_node()
        if node is None or node.name().endswith("AccumulateGrad"):  # these have no number that says anything
            return NOBODY
        i = bisect_right(self._numbers, node._sequence_nr())
        return self._numbered[i] if i < len(self._numbered) else NOBODY


class GraphRunner(fx.Interpreter):
    """Runs a graph on tensors and records its nodes, as :class:`~fxcost.propagate.Propagator` does on specs."""

    def __init__(
        self, root: nn.Module, graph: fx.Graph, recorder: StepRecorder, owners: Callable[[fx.Node], str]
    ) -> None:
        super().__init__(root, graph=graph)
        self.extra_traceback = False
        self.records: list[NodeRecord] = []
        self._recorder, self._owners = recorder, owners
        self._host_calls = HostCalls(recorder)

    def run_node(self, n: fx.Node) -> Any:
        """Execute one node, and record it if it computes."""
        for unused in [m for m in self.env if not m.users]:
            del self.env[unused]
        if not n.op.startswith("call_"):
            return super().run_node(n)
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        segment = self._recorder.segment = Segment()
        try:
            with self._recorder, self._host_calls:
                if n.op == "call_module":
                    with InnerScopes(self.fetch_attr(str(n.target)), segment):
                        result = self.call_module(n.target, args, kwargs)
                else:
                    result = getattr(self, n.op)(n.target, args, kwargs)
        finally:
            self._recorder.segment = None
        self.records.append(_node(n.name, n.op, str(n.target), self._owners(n), segment))
        return result


def _node(name: str, kind: str, target: str, module: str, segment: Segment) -> NodeRecord:
    operations, storages = tuple(segment.operations), tuple(segment.slots)
    return NodeRecord(name, kind, target, module, operations=operations, storages=storages)


def train_graph(
    root: nn.Module,
    graph: fx.Graph,
    values: Sequence[Any],
    recorder: StepRecorder,
    owners: Callable[[fx.Node], str],
    loss: Loss | None,
) -> TrainingRecord:
    """A training step of a graph on the values of its placeholders.

    Raises:
        TrainingError: there is nothing to train, or the loss is no scalar; or what the graph raised is chained.
    """
    runner = GraphRunner(root, graph, recorder, owners)
    step = _Step(root, recorder, list(tensors_in(list(values))))
    out = step.forward(lambda: runner.run(*values, enable_io_processing=False))
    return step.finish(out, loss, runner.records)


def train_model(
    model: Any,
    arguments: Arguments,
    root: nn.Module,
    recorder: StepRecorder,
    leaf_modules: tuple[Any, ...],
    loss: Loss | None,
) -> TrainingRecord:
    """A training step of a model, run as concrete capture runs it.

    Raises:
        TrainingError: there is nothing to train, or the loss is no scalar; or what the model raised is chained.
    """
    tracer = ConcreteTracer(root, recorder, leaf_modules)
    step = _Step(root, recorder, list(arguments.tensors()))

    def run() -> Any:
        with recorder:
            return tracer.trace(model, arguments)

    out = step.forward(run)
    return step.finish(out, loss, tracer.records)


class _Step:
    """Forward, loss and backward of one step, and what is left of it afterwards."""

    def __init__(self, root: nn.Module, recorder: StepRecorder, inputs: list[Tensor]) -> None:
        self._root, self._recorder, self._inputs = root, recorder, inputs
        self._parameters = parameter_records(root, recorder.spec)
        self._input_specs = tuple(recorder.spec(t) for t in inputs)

    def forward(self, run: Callable[[], Any]) -> Any:
        hooks = torch.autograd.graph.saved_tensors_hooks(self._recorder.save, lambda t: t)
        with _Failing("the forward pass with gradients"), torch.enable_grad(), hooks:
            return run()

    def finish(self, out: Any, loss: Loss | None, nodes: Sequence[NodeRecord]) -> TrainingRecord:
        recorder = self._recorder
        nodes = [n for n in nodes if n.operations]
        value, seed, loss_node = self._loss(out, loss)
        nodes.append(loss_node)
        segment = recorder.segment = Segment()
        recorder.in_backward = True
        try:
            with _Failing("the backward pass"), recorder, HostCalls(recorder):
                torch.autograd.backward(value, seed)
        finally:
            recorder.segment = None
        trained = tuple(recorder.spec(p) for p in self._root.parameters() if p.grad is not None)
        gradients = self._gradients()
        place = {id(op): i for i, node in enumerate(nodes) for op in node.operations}
        of_forward = [place.get(id(op), len(nodes) - 1) for op in recorder.forward]
        return TrainingRecord(
            nodes=tuple(nodes),
            backward=_node("backward", "call_function", "backward", "", segment),
            owners=tuple(of_forward[o] if o != NOBODY else NOBODY for o in recorder.owners),
            recomputed=tuple(recorder.recomputed),
            saved=tuple(self._saved(place, of_forward)),
            gradients=gradients,
            trained=trained,
            parameters=self._parameters,
            inputs=self._input_specs,
            storage_bytes=tuple(recorder.storages.nbytes),
            deaths=tuple(recorder.deaths.items()),
            own_loss=loss is not None,
            assumptions=self._assumptions(),
        )

    def _loss(self, out: Any, loss: Loss | None) -> tuple[Tensor, Tensor, NodeRecord]:
        """The loss, the gradient that backward starts with, and the node of both."""
        recorder = self._recorder
        segment = recorder.segment = Segment()
        hooks = torch.autograd.graph.saved_tensors_hooks(recorder.save, lambda t: t)
        try:
            with _Failing("the loss"), torch.enable_grad(), hooks, recorder, HostCalls(recorder):
                value = _checked(loss(out)) if loss is not None else _sum_of_outputs(out)
                seed = torch.ones_like(value)
        finally:
            recorder.segment = None
        return value, seed, _node("loss", "call_function", "loss", "", segment)

    def _assumptions(self) -> tuple[str, ...]:
        found = list(self._recorder.assumptions)
        if not self._root.training and any(self._root.children()):
            found.append("the model trains in eval mode: no dropout, batch norm uses its running statistics")
        return tuple(found)

    def _gradients(self) -> tuple[int, ...]:
        """Storages of all gradients that are kept, which are let go."""
        numbers: dict[int, None] = {}
        for tensor in (*self._root.parameters(), *self._inputs):
            if tensor.grad is not None and is_plain(tensor.grad):
                numbers[self._recorder.storages.number(tensor.grad)] = None
        for tensor in (*self._root.parameters(), *self._inputs):
            tensor.grad = None
        return tuple(numbers)

    def _saved(self, place: dict[int, int], of_forward: list[int]) -> Iterator[tuple[int, int]]:
        """Storage and node of each saved tensor; the first node that saves a storage has it."""
        seen: set[int] = set()
        for number, segment, ran in self._recorder.saved:
            if number in seen:
                continue
            seen.add(number)
            if segment is not None and segment.operations:
                yield number, place.get(id(segment.operations[0]), of_forward[-1])
            else:  # by a function of the user's, once its own forward has run
                yield number, of_forward[max(ran - 1, 0)]


class _Failing:
    """Turns what the model raises inside into an error of ours."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if error is None or isinstance(error, FxcostError) or not isinstance(error, Exception):
            return
        text = " ".join(str(error).split())
        raise TrainingError(f"{self._what} failed on meta tensors: {type(error).__name__}: {text}") from error


def _sum_of_outputs(out: Any) -> Tensor:
    floating = [t for t in tensors_in(out) if t.is_floating_point()]
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
    total = trained[0].sum()
    for tensor in trained[1:]:
        total = total + tensor.sum()
    return total


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
