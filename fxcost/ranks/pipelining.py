"""One rank of a pipeline: its stages, run as PyTorch's own schedule runs them, microbatch by microbatch.

The schedule's classes, `PipelineStage` among them, are those of `torch.distributed.pipelining`: what they receive into,
keep for the backward pass, send and let go is what a rank does.

Not here: where a model is cut (staging.py), times and bubbles (the room `pipeline`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ShardingError, shown
from ..model.inputs import Arguments, tensors_in
from ..records.tree import table
from .crossing import ends, ends_as, stage_of
from .private import resharded
from .private_pipelines import check_pipelining, forward_alone, step_of
from .staging import Cut, Stage, shell

SCHEDULES = {
    "gpipe": "GPipe",
    "1f1b": "1F1B",
    "interleaved1f1b": "Interleaved1F1B",
    "loopedbfs": "LoopedBFS",
    "interleavedzerobubble": "InterleavedZeroBubble",
    "zbvzerobubble": "ZBVZeroBubble",
    "dualpipev": "DualPipeV",
}
"""PyTorch's schedules, by their names in small letters."""
SINGLE = ("GPipe", "1F1B")
"""Those with one stage on each rank."""
_BACK_AND_FORTH = ("ZBVZeroBubble", "DualPipeV")
"""Those with two stages on each rank, the second ones in reverse order."""
Apply = Callable[[nn.Module], Any]


@dataclass(frozen=True, slots=True)
class Shards:
    """What shards a pipeline besides: the `layers` of the whole model; its `parts`, by functions of the user's, which
    may change what crosses between stages; `stages`, in ways that change nothing there."""

    layers: Apply
    parts: Apply | None
    stages: Apply


def schedule_named(name: str) -> str:
    """A schedule as PyTorch spells it.

    Raises:
        ShardingError: there is none of this name.
    """
    found = SCHEDULES.get(name.lower().replace("-", "").replace("_", ""))
    if found is None:
        raise ShardingError(f"there is no schedule {shown(name)}; choose from {', '.join(SCHEDULES.values())}")
    return found


class PipelineRank(nn.Module):
    """What one rank of a pipeline has of a model. A call runs its part of the forward passes of all microbatches.

    Its modules and parameters are those of its stages, under the names that they have in the model.
    """

    def __init__(
        self,
        model: nn.Module,
        arguments: Arguments,
        group: Any,
        schedule: str,
        microbatches: int | None,
        stages: int | None,
        split: Sequence[str] | None,
        shards: Shards,
    ) -> None:
        super().__init__()
        check_pipelining()
        self.training = model.training
        self.schedule, self._group = schedule, group
        ranks, here = group.size(), torch.distributed.get_rank(group)
        each = _stages_of_a_rank(schedule, stages)
        self.count = ranks * each
        self.microbatches = _microbatches(arguments, microbatches)
        given = _split(list(arguments.tensors()), self.microbatches)[0]
        self._cut = Cut(model, _with_tensors(arguments, given), split, self.count)
        if len(self._cut.inputs) != len(given):
            raise ShardingError("inputs of a pipeline are tensors, alone or in lists, tuples and dicts")
        self.indices = [
            2 * ranks - 1 - here if schedule in _BACK_AND_FORTH and j else here + ranks * j for j in range(each)
        ]
        self.stage_modules = self._sharded(model, shards, dict(zip(self._cut.inputs, given, strict=True)))
        for stage in self.stage_modules:
            _merge(stage_of(stage), self)

    def _sharded(self, model: nn.Module, shards: Shards, inputs: dict[str, Tensor]) -> list[Any]:
        """The stages of this rank, sharded; notes what crosses between all stages, and what they share."""
        shards.layers(model)
        whole = self._cut.stages(model)
        self.notes = tuple(_shared(whole, self.indices))
        self._ends = ends(whole, inputs)
        if shards.parts is None:
            return [_changed(whole[i], shards.stages) for i in self.indices]
        parts = [_changed(stage, shards.parts) for stage in whole]  # all, as it may change what crosses
        self._ends = ends_as(self._ends, parts, inputs)
        for stage in parts:
            resharded(stage)
        return [_changed(parts[i], shards.stages) for i in self.indices]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The forward passes of all microbatches; the last stage returns its results, others nothing."""
        with _plainly():
            out = step_of(self._scheduled(), self._inputs(args, kwargs))
        return None if out is None else self._cut.whole(out)

    def whole_step(self, loss: Callable[[Any], Tensor], averages: bool) -> Callable[..., None]:
        """What runs a training step. The last stage takes a loss of each microbatch, scaled down if it `averages`."""

        def step(*args: Any, **kwargs: Any) -> None:
            schedule = self._scheduled(lambda out, _: loss(self._cut.whole(out)), averages)
            targets = [None] * self.microbatches
            with _plainly():
                step_of(schedule, self._inputs(args, kwargs), targets, return_outputs=False)

        return step

    def _inputs(self, args: Any, kwargs: Any) -> list[dict[str, Tensor]]:
        """The model's inputs by name, for each microbatch those that a stage of this rank reads."""
        read = {name for stage in self.stage_modules for name in stage_of(stage).reads}
        rows = _split(list(tensors_in((args, kwargs))), self.microbatches)
        return [{name: t for name, t in zip(self._cut.inputs, row, strict=True) if name in read} for row in rows]

    def _scheduled(self, loss: Callable[[Any, Any], Tensor] | None = None, averages: bool = False) -> Any:
        from torch.distributed.pipelining import PipelineStage
        from torch.distributed.pipelining.schedules import get_schedule_class

        logging.getLogger("torch.distributed.pipelining").setLevel(logging.ERROR)
        stages = []
        for i, module in zip(self.indices, self.stage_modules, strict=True):
            given = self._ends[i].arguments()
            stages.append(PipelineStage(module, i, self.count, torch.device("meta"), group=self._group, **given))
        kind = get_schedule_class(self.schedule)
        made = kind(
            stages[0] if self.schedule in SINGLE else stages, self.microbatches, loss_fn=loss, scale_grads=averages
        )
        if loss is None:
            forward_alone(made)
        return made


@contextmanager
def _plainly() -> Iterator[None]:
    """What a stage raises is raised as it is, and not as PyTorch retells it."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error.__cause__, Exception):
            raise error.__cause__ from None
        raise


def _stages_of_a_rank(schedule: str, stages: int | None) -> int:
    if schedule in SINGLE:
        if stages not in (None, 1):
            raise ShardingError(f"{schedule} has one stage on each rank, not {shown(stages)}")
        return 1
    if schedule in _BACK_AND_FORTH and stages not in (None, 2):
        raise ShardingError(f"{schedule} has two stages on each rank, not {shown(stages)}")
    if stages is not None and stages < 1:
        raise ShardingError(f"stages={stages}: a rank has 1 or more stages")
    return 2 if stages is None else stages


def _microbatches(arguments: Arguments, wanted: int | None) -> int:
    """How many microbatches: what is wanted, or as many as there are samples."""
    batch = next((len(t) for t in arguments.tensors() if t.dim()), 0)
    if not batch:
        raise ShardingError("a pipeline splits a batch: give a tensor with one as the first input")
    found = batch if wanted is None else wanted
    if found < 1 or batch % found:
        raise ShardingError(f"a batch of {batch} can't be split into {found} microbatches of one size")
    return found


def _split(tensors: Sequence[Tensor], microbatches: int) -> list[list[Tensor]]:
    """For each microbatch the model's inputs: a part of those that have the batch as their first dimension."""
    batch = next(len(t) for t in tensors if t.dim())
    parts = [t.chunk(microbatches) if t.dim() and len(t) == batch else (t,) * microbatches for t in tensors]
    return [list(row) for row in zip(*parts, strict=True)]


def _with_tensors(arguments: Arguments, tensors: Sequence[Tensor]) -> Arguments:
    """The same arguments with other tensors, in their order."""
    left = iter(tensors)

    def put(value: Any) -> Any:
        if isinstance(value, Tensor):
            return next(left)
        if isinstance(value, (tuple, list)):
            items = [put(item) for item in value]
            return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
        return {key: put(item) for key, item in value.items()} if isinstance(value, dict) else value

    return Arguments(put(arguments.args), put(arguments.kwargs))


def _changed(stage: nn.Module, apply: Apply) -> nn.Module:
    """A stage, sharded in its turn."""
    made = apply(stage)
    return stage if made is None else made


def _shared(stages: Sequence[Stage], here: Sequence[int]) -> list[str]:
    """What is to be said of parameters that stand in stages of several ranks."""
    mine = {id(p): name for i in here for name, p in stages[i].named_parameters()}
    others = {id(p) for i, stage in enumerate(stages) if i not in here for p in stage.parameters()}
    both = [name for key, name in mine.items() if key in others]
    if not both:
        return []
    names = ", ".join(both[:3]) + (" …" if len(both) > 3 else "")
    return [f"{names}: a stage of another rank has the same weights, and nobody adds up the gradients of both"]


def _merge(stage: nn.Module, into: nn.Module) -> None:
    """Register the parts of a stage in a module under their names; tables that one stage alone has are shared."""
    for name, child in table(stage, "_modules").items():
        there = into._modules.get(name)
        if there is None:
            into._modules[name] = child
        elif there is not child and child is not None:
            both = into._modules[name] = shell(child)
            _merge(there, both)
            _merge(child, both)
    for kind in ("_parameters", "_buffers"):
        if table(stage, kind):
            merged = into.__dict__[kind]
            into.__dict__[kind] = {**merged, **table(stage, kind)} if merged else getattr(stage, kind)
    into.__dict__.update({k: v for k, v in vars(stage).items() if k.startswith("_tensor_constant")})
