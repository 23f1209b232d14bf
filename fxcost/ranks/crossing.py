"""What crosses between the stages of a pipeline, for one microbatch: found by running the stages, sharded as they are.

Where a plan splits the tokens between layers (sequence parallel), a rank hands on its part alone: a plain tensor, or a
DTensor, of which PyTorch's `PipelineStage` also wants to know how its gradient is laid out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from ..capture.host import HostCalls
from ..errors import FxcostError, ShardingError, said
from ..meta.storages import Storages
from ..records.communication import Group
from ..records.tree import named_modules
from .private import held, ranks_of
from .recorder import RankRecorder
from .staging import Stage

Tensors = tuple[Tensor, ...]
Gradients = tuple[Tensor | None, ...]


@dataclass(frozen=True, slots=True)
class Ends:
    """What a stage receives and returns, on meta, with gradients where there are some; those of DTensors besides."""

    received: Tensors
    sent: Tensors
    received_grads: Gradients | None = None
    sent_grads: Gradients | None = None

    def arguments(self) -> dict[str, Any]:
        """What `PipelineStage` is given, so that it asks no other stage for it.

        Raises:
            ShardingError: a DTensor crosses, and this PyTorch can't have that.
        """
        given: dict[str, Any] = {"input_args": self.received, "output_args": self.sent}
        if self.received_grads is None:
            return given
        from torch.distributed.pipelining import PipelineStage

        if "input_grads" not in signature(PipelineStage).parameters:
            raise ShardingError(
                f"stages of a pipeline hand on a DTensor, which PyTorch {torch.__version__} can't send: {LOCAL}"
            )
        return {**given, "input_grads": self.received_grads, "output_grads": self.sent_grads}


def ends(stages: Sequence[nn.Module], inputs: Mapping[str, Tensor]) -> list[Ends]:
    """What each stage receives and returns, given the model's inputs."""
    found, made = _run(stages, inputs)
    return _with_gradients(found, made) if _crossing_dtensors(found) else found


def ends_as(before: Sequence[Ends], stages: Sequence[nn.Module], inputs: Mapping[str, Tensor]) -> list[Ends]:
    """The same for stages that were sharded meanwhile: run without gradients, those required that were `before`.

    Raises:
        ShardingError: a DTensor crosses, whose gradient only a backward pass could tell.
    """
    with torch.no_grad():
        found, _ = _run(stages, inputs)
    if _crossing_dtensors(found):
        raise ShardingError(f"a function that shards each stage lets it hand on a DTensor: {LOCAL}")
    for old, new in zip(before, found, strict=True):
        for one, other in zip(old.sent, new.sent, strict=True):
            other.requires_grad_(one.requires_grad)
    return found


LOCAL = "have the plan return local tensors where the model is cut (use_local_output=True)"


def _crossing_dtensors(found: Sequence[Ends]) -> bool:
    return any(held(t) is not t for one in found[:-1] for t in one.sent)


def _run(stages: Sequence[nn.Module], inputs: Mapping[str, Tensor]) -> tuple[list[Ends], list[Tensors]]:
    """Run one stage after the other: what each receives and returns, and what it returned with its history."""
    recorder = RankRecorder(Storages())
    recorder.group_of, recorder.names = (lambda group: Group(ranks_of(group)[0])), {}
    recorder.rank = torch.distributed.get_rank()
    found: list[Ends] = []
    made: list[Tensors] = []
    given: Tensors = ()
    with recorder, HostCalls(recorder):
        for i, stage in enumerate(stages):
            with _told_of(i, len(stages)):
                made.append(tuple(stage(*given, **{name: inputs[name] for name in stage_of(stage).reads})))
            found.append(Ends(given, tuple(_alone(t) for t in made[-1])))
            given = found[-1].sent
    return found, made


@contextmanager
def _told_of(stage: int, count: int) -> Iterator[None]:
    """What a stage raises is said with what to look at."""
    try:
        yield
    except FxcostError:
        raise
    except Exception as error:
        raise ShardingError(
            f"stage {stage} of the pipeline's {count} does not run as it is sharded: {type(error).__name__}: "
            f"{said(error)}. Sizes that a plan splits (heads, widths, tokens) must divide by the mesh, and operators "
            "between blocks keep the sizes that they have in the whole model"
        ) from error


def stage_of(module: nn.Module) -> Stage:
    """The stage in what it was wrapped in, as DDP does."""
    return next(part for _, part in named_modules(module) if isinstance(part, Stage))


def _with_gradients(found: Sequence[Ends], made: Sequence[Tensors]) -> list[Ends]:
    """The same with gradients, from the last stage to the first. That of the model's result is laid out as it is."""
    backwards: list[Ends] = []
    arriving: Gradients = tuple(_alone(t.detach()) if t.requires_grad else None for t in found[-1].sent)
    for one, out in zip(reversed(found), reversed(made), strict=True):
        leaving = _gradients(one.received, out, arriving)
        backwards.append(replace(one, received_grads=leaving, sent_grads=arriving))
        arriving = leaving
    return backwards[::-1]


def _gradients(received: Tensors, out: Tensors, arriving: Gradients) -> Gradients:
    """The gradients of what a stage received, from those of what it returned."""
    wanted = [t for t in received if t.requires_grad]
    known = [(t, g) for t, g in zip(out, arriving, strict=True) if t.requires_grad and g is not None]
    if not wanted or not known:
        return (None,) * len(received)
    results, grads = zip(*known, strict=True)
    made = iter(torch.autograd.grad(results, wanted, grads, allow_unused=True))
    each = [next(made) if t.requires_grad else None for t in received]
    return tuple(None if g is None else _alone(g) for g in each)


def _alone(tensor: Tensor) -> Tensor:
    """A tensor like another, without its history."""
    local = held(tensor)
    found = torch.empty_strided(local.shape, local.stride(), dtype=local.dtype, device="meta")
    if local is not tensor and hasattr(tensor, "placements"):
        from torch.distributed.tensor import DTensor

        laid: Any = tensor
        how: dict[str, Any] = {"shape": laid.shape, "stride": laid.stride(), "run_check": False}
        found = DTensor.from_local(found, laid.device_mesh, laid.placements, **how)
    return found.requires_grad_(tensor.requires_grad)
