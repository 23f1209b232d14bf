"""A training step of a model that was recorded: its own code, or the graph that was given, and under whose names.

Not here: how a step runs (step.py), what of it is recorded (step_recorder.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import fx

from ..errors import ModelRunError, TrainingError
from ..meta.autocast_gradients import AutocastRegionError, differentiable_casts
from ..meta.storages import Storages
from ..meta.units import whole_units
from ..model.checkpointed import checkpoint_modules
from ..model.sharded import unsharded
from ..model.unchanged import unchanged_state
from ..model.without_gpu import misses_a_gpu, without_gpu
from ..records.recording import NodeRecord, Recording, TrainingRecord
from .capture import Loss, exported, told
from .confirm import difference
from .job import Job, placeholder_values, runs_its_graph
from .sharding import Sharding
from .step import train_graph, train_model
from .step_recorder import StepRecorder


def record_step(
    model: Any,
    inputs: Any,
    kwargs: dict[str, Any] | None,
    recording: Recording,
    *,
    dtype: torch.dtype | None = None,
    leaf_modules: tuple[Any, ...] = (),
    real_limit: int = 2**30,
    loss: Loss | None = None,
    sharding: Sharding | None = None,
    checkpointed: tuple[str, ...] | None = None,
) -> TrainingRecord:
    """Run one training step of a model that was recorded: its own code, or the graph that was given.

    Of a model that was captured symbolically the nodes of the step are those of its graph. With `checkpointed`, names
    of modules to run under activation checkpointing (perhaps none), they are those of its own code.

    Raises:
        InputError: the model has no module of a name in `checkpointed`.
        TrainingError: there is nothing to train, the loss is no scalar, or the model raised.
    """
    if sharding is None or not sharding.as_given:
        model, _ = unsharded(model)
    if isinstance(model, torch.export.ExportedProgram):
        model, inputs, kwargs = exported(model, inputs, kwargs)
    job = (model, inputs, kwargs, dtype, leaf_modules, real_limit, loss, sharding)
    steps = _Steps(job, recording, sharding, checkpointed or ())
    with unchanged_state(), whole_units(), told(sharding):
        ran = _run(steps.of_code)
        if recording.capture != "symbolic" or checkpointed is not None:
            return ran
        named = _under_names_of(recording.nodes, ran)
        if named is not None:
            return named
        of_graph = _run(steps.of_graph)
        alike = difference(of_graph.nodes, ran.nodes) is difference(of_graph.backward, ran.backward) is None
        return of_graph if alike else ran


@dataclass(frozen=True, slots=True)
class _Steps:
    """Ways to run the step, each on a copy of its own; `casts` says that autocast regions are made differentiable."""

    arguments: tuple[Any, ...]
    """Of the :class:`Job`: model, inputs and kwargs first."""
    recording: Recording
    sharding: Sharding | None
    checkpointed: tuple[str, ...]

    def of_code(self, casts: bool) -> TrainingRecord:
        """The model's own code, or the graph that was given."""
        job, model = Job(*self.arguments), self.arguments[0]
        if self.recording.capture == "real":
            job.make_real(*self.arguments[:3])
        checkpoint_modules(job.parts, self.checkpointed)
        if self.sharding is not None and self.sharding.settles:
            self._of_code(job, casts)
            self.sharding.settle(job.model)
        if not isinstance(model, fx.GraphModule) or not runs_its_graph(model) or self.sharding is not None:
            return self._of_code(job, casts)
        sketch, recorder = job.sketch(), self._recorder(job, casts)
        with job.around():
            return train_graph(job.parts, sketch, placeholder_values(sketch, job.arguments), recorder, job.loss)

    def of_graph(self, casts: bool) -> TrainingRecord:
        """The graph that symbolic tracing made."""
        job, sketch = Job(*self.arguments), self.recording.sketch
        recorder = self._recorder(job, casts)
        constants = {k: v for k, v in vars(self.recording.root).items() if k not in vars(job.root)}
        job.root.__dict__.update(constants)
        job.parts.attach(node.target for node in sketch.nodes if node.op in ("call_module", "get_attr"))
        with job.around():
            return train_graph(job.parts, sketch, list(job.arguments.tensors()), recorder, job.loss)

    def _of_code(self, job: Job, casts: bool) -> TrainingRecord:
        recorder = self._recorder(job, casts)
        with job.around(), job.as_a_rank(recorder):
            return train_model(job.model, job.arguments, job.parts, recorder, job.leaf_modules, job.loss)

    def _recorder(self, job: Job, casts: bool) -> StepRecorder:
        """One that knows the values of what holds data, and where the user's tensors are."""
        recorder: StepRecorder
        if self.sharding is not None:
            recorder = self.sharding.step_recorder(Storages(), casts=casts)
        else:
            recorder = StepRecorder(Storages(), real=self.recording.capture == "real", casts=casts)
        job.tell(recorder, job.root)
        made_in_inference = [meta for meta, real in job.copier.real if real.is_inference()]
        recorder.unsavable = frozenset(map(recorder.storages.number, made_in_inference))
        return recorder


def _run(way: Callable[[bool], TrainingRecord]) -> TrainingRecord:
    """A step; on a machine without a GPU as if there were one, if the model asks for it."""
    try:
        return _with_casts(way)
    except (TrainingError, ModelRunError) as error:
        if not misses_a_gpu(error.__cause__):
            raise
    with without_gpu(lambda _: None):  # the recording has said it
        return _with_casts(way)


def _with_casts(way: Callable[[bool], TrainingRecord]) -> TrainingRecord:
    try:
        return way(False)
    except AutocastRegionError:
        with differentiable_casts():
            return way(True)


def _under_names_of(nodes: tuple[NodeRecord, ...], ran: TrainingRecord) -> TrainingRecord | None:
    """A step whose nodes bear the names of a graph's nodes; None if the two are not one to one."""
    running = [node for node in nodes if node.operations]
    *forward, loss = ran.nodes
    if [(n.kind, n.module) for n in running] != [(n.kind, n.module) for n in forward]:
        return None
    renamed = [replace(n, name=of.name, target=of.target) for n, of in zip(forward, running, strict=True)]
    return replace(ran, nodes=(*renamed, loss))
