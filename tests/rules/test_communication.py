"""Collectives read what a rank gives and write what it gets; FSDP's copies move each shard once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn

import fxcost
from fxcost.records.cost import OpCost
from tests.ranks.nets import HIDDEN, INNER, net, shard


class Sends(nn.Module):
    """A model that communicates by itself."""

    def __init__(self, run: Any) -> None:
        super().__init__()
        self.run = run

    def forward(self, x: torch.Tensor) -> Any:
        return self.run(x)


def operations(model: nn.Module, inputs: Any, recipe: Any, n: int = 4) -> list[OpCost]:
    report = fxcost.analyze(model, inputs, mesh={"dp": n}, parallelize=recipe)
    assert report.uncosted == {}
    return [op for node in report.nodes for op in node.operations]


def ready(model: nn.Module, mesh: Any) -> None:
    model.register_buffer("ready", torch.empty(0, device="meta"))


@pytest.mark.parametrize(
    ("run", "read", "written"),
    [
        (lambda x: dist.all_reduce(x), 48, 48),
        (lambda x: dist.all_gather_into_tensor(x.new_empty(48), x), 48, 192),
        (lambda x: dist.reduce_scatter_tensor(x.new_empty(3), x), 48, 12),
        (lambda x: dist.all_to_all_single(torch.empty_like(x), x), 48, 48),
        (lambda x: dist.all_gather([torch.empty_like(x) for _ in range(4)], x), 48, 192),
        (lambda x: dist.broadcast(x, 0), 48, 48),
    ],
)
def test_traffic_of_a_collective(run: Any, read: int, written: int) -> None:
    """Twelve numbers of four bytes on one of four ranks; no arithmetic."""
    [found] = [op for op in operations(Sends(run), (12,), ready) if op.family == "communication"]
    assert (found.cost.bytes_read, found.cost.bytes_written, found.cost.flops) == (read, written, 0)


def test_copies_of_fsdp() -> None:
    """Into the memory that is gathered into goes a rank's shard, out of it come the whole parameters of a block."""
    block = 4 * (4 * HIDDEN * HIDDEN + 3 * HIDDEN * INNER + 2 * HIDDEN)
    found = operations(net(layers=1), fxcost.spec(2, 16, dtype="int64"), shard)
    into = [op.cost for op in found if "all_gather_copy_in" in str(op.record.op)]
    out = [op.cost for op in found if "split_with_sizes_copy" in str(op.record.op)]
    assert [(c.bytes_read, c.bytes_written) for c in into][1] == (block // 4, block // 4)
    assert [(c.bytes_read, c.bytes_written) for c in out][1] == (block, block)
