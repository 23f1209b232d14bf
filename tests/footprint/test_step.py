"""Memory of training on a device: against two real steps on the CPU, every storage followed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from live import LiveStorages, base_of
from torch import nn

import fxcost
from fxcost.footprint.step import two_steps


class WithDimensions(LiveStorages):
    """Without numbers: losses, and counters of steps, which stay on the CPU where parameters are on CUDA."""

    def _add(self, storage: torch.UntypedStorage) -> None:
        if storage.nbytes() > 8:
            super()._add(storage)


def model(width: int = 64) -> nn.Module:
    """Layers of different sizes; most of what a step takes are parameters."""
    return nn.Sequential(nn.Linear(32, width), nn.GELU(), nn.Linear(width, 48), nn.LayerNorm(48), nn.Linear(48, 32))


def real_peak(optimizer: Any, batch: int) -> int:
    """Most bytes alive in two steps with gradients let go in between, parameters and input included."""
    net, x = model(), torch.randn(batch, 32)
    stepping = optimizer(net.parameters())
    base = base_of(net, x)
    with WithDimensions(base) as live:
        for _ in range(2):
            out = net(x)
            out.sum().backward()
            stepping.step()
            stepping.zero_grad()
            del out
    return live.peak + sum(t.untyped_storage().nbytes() for t in base)


def adamw(params: Any) -> torch.optim.Optimizer:
    """As on CUDA."""
    return torch.optim.AdamW(params, foreach=True)


def momentum(params: Any) -> torch.optim.Optimizer:
    """As on CUDA."""
    return torch.optim.SGD(params, lr=0.1, momentum=0.9, foreach=True)


@pytest.mark.parametrize("batch", [1, 40, 400])
@pytest.mark.parametrize(("name", "optimizer"), [("adamw", adamw), ("momentum", momentum)])
def test_two_steps_peak_where_real_ones_do(name: str, optimizer: Any, batch: int) -> None:
    """With little to save the optimizer's own step is the worst moment, with more the backward pass."""
    training = fxcost.analyze(model(), (batch, 32), training=True, optimizer=name).training
    assert training is not None
    resident, lives, _, _ = two_steps(training)
    last = max(died for _, died, _ in lives)
    peak = max(sum(n for born, died, n in lives if born <= t < died and n > 8) for t in range(last))
    assert sum(resident) + peak == real_peak(optimizer, batch)
    if name == "adamw" and batch == 1:
        assert sum(resident) + peak > training.peak_bytes  # which leaves the optimizer's own step out


def test_a_report_of_training() -> None:
    """What is requested is that of the two steps, rounded; the text says what the optimizer takes for a moment."""
    report = fxcost.analyze(model(4096), (8, 32), training=True, optimizer="adamw")
    assert report.training is not None
    found = report.memory_on("rtx4090")
    assert found.optimizer_temporaries_bytes == report.training.parameter_bytes
    assert found.requested_bytes >= 5 * report.training.parameter_bytes + found.workspace_bytes
    assert found.requested_bytes <= found.allocated_bytes <= found.reserved_bytes
    assert "Optimizer's step" in str(found)
    plain = fxcost.analyze(model(4096), (8, 32)).memory_on("rtx4090")
    assert plain.optimizer_temporaries_bytes == 0
    assert plain.requested_bytes < found.requested_bytes


def test_what_is_not_known() -> None:
    """Lion is none of PyTorch's; a report from a file has no lives, and says so."""
    report = fxcost.analyze(model(), (8, 32), training=True, optimizer="lion")
    assert any("the optimizer's own step takes" in what for what in report.memory_on("h100").not_known)
    with pytest.raises(fxcost.FxcostError, match="read from a file has no lives of storages"):
        fxcost.Report.from_json(report.to_json()).memory_on("h100")
