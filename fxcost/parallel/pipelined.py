"""A model in the stages of a pipeline, run by PyTorch's own schedules."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from ..errors import ShardingError
from ..errors.arguments import checked
from ..ranks.pipelining import PipelineRank, Shards, schedule_named
from .recipe import Apply, Inner, Recipe, along


@checked
def pipeline(
    dim: str = "pp",
    *,
    schedule: str = "1F1B",
    microbatches: int | None = None,
    stages: int | None = None,
    split: Iterable[str] | None = None,
) -> Recipe:
    """`torch.distributed.pipelining`: each rank has a part of the layers, and microbatches go through all of them.

    Inputs are the whole batch, on every rank. A model is cut between its blocks, and its graph between these.

    Args:
        dim: the dimension of the mesh along which stages stand.
        schedule: PyTorch's: "GPipe", "1F1B", "Interleaved1F1B", "LoopedBFS", "InterleavedZeroBubble", "ZBVZeroBubble",
            "DualPipeV".
        microbatches: into how many the batch is split; by default one for each sample.
        stages: how many stages a rank has: 1 with "GPipe" and "1F1B", by default 2 with others.
        split: names of the modules with which stages begin, but for the first; `fxcost.stages(…).split_spec()` has
            them. By default every stage has equally many blocks.

    Raises:
        ShardingError: there is no such schedule.
    """
    name, cuts = schedule_named(schedule), None if split is None else list(split)

    def staged(model: Any, mesh: Any, arguments: Any, inner: Inner | None) -> PipelineRank:
        of_layers, of_parts, of_stages = inner or (_nothing, None, _nothing)
        shards = Shards(
            partial(_on_mesh, of_layers, mesh),
            of_parts and partial(_on_mesh, of_parts, mesh),
            partial(_on_mesh, of_stages, mesh),
        )
        group = along(mesh, dim).get_group()
        return PipelineRank(model, arguments, group, name, microbatches, stages, cuts, shards)

    return Recipe("pipeline", _alone, 0, None, staged)


def _on_mesh(apply: Apply, mesh: Any, module: Any) -> Any:
    return apply(module, mesh)


def _nothing(model: Any, mesh: Any) -> None:
    """What is done with stages that are not sharded."""


def _alone(model: Any, mesh: Any) -> Any:
    raise ShardingError("a pipeline is cut for the inputs that it is run with: give it to fxcost.analyze itself")
