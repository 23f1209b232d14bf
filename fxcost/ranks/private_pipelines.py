"""What of PyTorch's pipelines is private, and a rank of one needs. What is replaced, :func:`adapted` puts back.

Stages agree on shapes before the first step: PyTorch 2.14 has them vote on whether all know theirs, 2.11 has those that
don't know be told by the stage before. Here nobody else is, so every stage must know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from importlib import import_module
from inspect import signature
from typing import Any, Protocol

from torch import Tensor

from ..errors import ShardingError
from .replacing import Replacing, is_there, lacks, look_for, within


class Turns(Protocol):
    """What a recorder is told of a pipeline."""

    def going_back(self) -> AbstractContextManager[None]:
        """A context in which a stage of a pipeline runs its backward pass."""

    def sent_back(self, tensors: Iterable[Tensor]) -> None:
        """Stages of a pipeline send or receive these in the backward pass."""


BACK = ("backward_one_chunk", "backward_weight_one_chunk", "perform_reduce_grad")
"""Methods of a pipeline's stages that run a backward pass."""
SENT_BACK = ("get_bwd_send_ops", "get_bwd_recv_ops")
"""Those that make ready what is sent and received in it."""
_OF_PIPELINES = (
    ("torch.distributed.pipelining", "PipelineStage"),
    ("torch.distributed.pipelining.schedules", "get_schedule_class"),
    ("torch.distributed.pipelining.schedules", "_PipelineSchedule.step"),
    *(("torch.distributed.pipelining.stage", f"_PipelineStageBase.{name}") for name in (*BACK, *SENT_BACK)),
)


def check_pipelining() -> None:
    """See that this PyTorch has what pipelines need besides.

    Raises:
        ShardingError: it has not, and the message says what is missing.
    """
    look_for(_OF_PIPELINES, "a pipeline")
    if not any(is_there(*place) for place in AGREEING):
        lacks([" or ".join(map(".".join, AGREEING))], "a pipeline")


def adapt_pipelines(put: Replacing, follower: Turns | None) -> None:
    """Have stages wait for nobody, and a follower told of backward passes."""
    for (module, path), make in {**AGREEING, _GREETING: lambda before: lambda stage: []}.items():
        if is_there(module, path):
            owner, _, name = path.partition(".")
            put(getattr(import_module(module), owner), name, make)
    if follower is None:
        return
    stage = import_module("torch.distributed.pipelining.stage")
    for name in BACK:
        put(stage._PipelineStageBase, name, lambda before: within(before, lambda stage: follower.going_back()))
    for name in SENT_BACK:
        put(stage._PipelineStageBase, name, lambda before: _told(before, follower.sent_back))


def _agreed(before: Any) -> Any:
    """In the place of a vote among all stages, once, on whether they know the shapes of what they are sent."""

    def warm_up(schedule: Any, stages: Any, has_backward: bool, *done: Any) -> None:
        from torch.distributed.pipelining._utils import InferenceMode

        for stage in stages:
            known = getattr(stage, "_user_meta", None)
            if known is not None and InferenceMode.needs_dynamic(known, has_backward):
                _asks(stage)
            stage._inference_mode = InferenceMode.STATIC

    return warm_up


def _unasked(before: Any) -> Any:
    """A first stage finds out by itself what it returns; others would be told what they receive."""

    def infer(stage: Any, *args: Any, **kwargs: Any) -> Any:
        return before(stage, *args, **kwargs) if stage.is_first and stage.is_last else _asks(stage)

    return infer


def _asks(stage: Any) -> None:
    raise ShardingError(
        f"stage {stage.stage_index} of the pipeline asks its neighbours for shapes, and nothing is received here: give "
        "PipelineStage its input_args and output_args"
    )


AGREEING: Mapping[tuple[str, str], Callable[[Any], Any]] = {
    ("torch.distributed.pipelining.schedules", "_PipelineSchedule._warmup_p2p"): _agreed,
    ("torch.distributed.pipelining.stage", "PipelineStage._shape_inference"): _unasked,
}
"""How stages agree, in one PyTorch or another, and what is in its place."""
_GREETING = "torch.distributed.pipelining.stage", "_PipelineStageBase._get_init_p2p_neighbors_ops"
"""A number to and from each neighbour, before the first step alone."""


def _told(before: Any, tell: Callable[[Iterable[Tensor]], None]) -> Any:
    def method(stage: Any, *args: Any, **kwargs: Any) -> Any:
        operations = before(stage, *args, **kwargs)
        tell(op.tensor for op in operations)
        return operations

    return method


def step_of(schedule: Any, rows: list[dict[str, Tensor]], targets: list[Any] | None = None, **how: Any) -> Any:
    """A step of a schedule, given the keyword inputs of each microbatch; older PyTorch splits a batch itself."""
    if "kwarg_mbs" in signature(schedule.step).parameters:
        return schedule.step(kwarg_mbs=rows, target_mbs=targets, **how)
    run = schedule._step_microbatches
    schedule._split_inputs = lambda args, kwargs: ([()] * len(rows), rows)
    schedule._step_microbatches = lambda args, kwargs, _, *rest: run(args, kwargs, targets, *rest)
    return schedule.step(**how)


_FORWARD = ("FORWARD", "SEND_F", "RECV_F", "UNSHARD", "RESHARD")


def forward_alone(schedule: Any) -> None:
    """Leave out the backward passes of a pipeline's schedule; PyTorch's `eval` fails where two neighbours are here."""
    for rank, actions in getattr(schedule, "pipeline_order_with_comms", {}).items():
        single = [part for action in actions for part in (action.sub_actions or (action,))]
        schedule.pipeline_order_with_comms[rank] = [a for a in single if a.computation_type.name in _FORWARD]
