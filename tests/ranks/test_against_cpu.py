"""What is said of one rank is what happens on real tensors: byte for byte, for seven ways to shard.

Here the real run's collectives send nothing (PyTorch's fake process group), so what remains is meta against CPU.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.distributed.device_mesh import init_device_mesh

import fxcost
from tests.ranks.nets import BATCH, LENGTH, RECIPES, VOCAB, Net, net
from tests.ranks.reference import measured


def total(out: Any) -> torch.Tensor:
    return (out.to_local() if hasattr(out, "to_local") else out).float().sum()


def on_cpu(name: str) -> dict[str, Any]:
    """The step on real tensors."""
    sizes, recipe = RECIPES[name]
    with fxcost.fake_world(4):
        mesh = init_device_mesh("cpu", tuple(sizes.values()), mesh_dim_names=tuple(sizes))
        torch.manual_seed(0)
        model: Any = Net()
        model = recipe(model, mesh) or model
        return measured(model, torch.randint(0, VOCAB, (BATCH, LENGTH)), total)


def on_meta(name: str) -> dict[str, Any]:
    """The same, from a report."""
    sizes, recipe = RECIPES[name]
    tokens = fxcost.spec(BATCH, LENGTH, dtype="int64")
    report = fxcost.analyze(net(), tokens, training=True, mesh=sizes, parallelize=recipe, loss=total, optimizer="sgd")
    step = report.training
    assert step is not None
    collectives: dict[tuple[str, str], int] = {}
    for c in step.communication.collectives:
        collectives[c.phase, c.op] = collectives.get((c.phase, c.op), 0) + 1
    return {
        "macs": {"forward": step.forward.macs, "backward": step.backward.macs},
        "collectives": collectives,
        "parameter_bytes": step.parameter_bytes,
        "gradient_bytes": step.gradient_bytes,
        "peak": step.peak_bytes,
    }


@pytest.mark.parametrize("name", RECIPES)
def test_a_rank_is_what_runs_on_real_tensors(name: str) -> None:
    """MACs, collectives, parameters, gradients and the peak of memory are equal."""
    real = on_cpu(name)
    real.pop("left")
    assert on_meta(name) == real
