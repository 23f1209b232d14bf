"""What an optimizer's step takes for a moment, against PyTorch's optimizers run on the CPU with `foreach=True`."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from live import LiveStorages
from torch import Tensor, nn

from fxcost.memory.optimizer_step import optimizer_steps
from fxcost.memory.optimizers import state_bytes
from fxcost.records.recording import TensorSpec

SHAPES = [(100, 10), (100,), (30, 30), (5, 4, 3, 3)]
CLASSES: list[tuple[Any, dict[str, Any]]] = [
    (torch.optim.SGD, {"lr": 0.1}),
    (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}),
    (torch.optim.Adam, {}),
    (torch.optim.Adam, {"weight_decay": 0.1, "amsgrad": True}),
    (torch.optim.AdamW, {}),
    (torch.optim.AdamW, {"maximize": True}),
    (torch.optim.Adafactor, {"foreach": True}),
    (torch.optim.RMSprop, {"momentum": 0.9, "centered": True}),
    (torch.optim.NAdam, {}),
    (torch.optim.RAdam, {}),
    (torch.optim.Adadelta, {}),
    (torch.optim.Adamax, {}),
]


def parameters(device: str = "cpu") -> list[nn.Parameter]:
    """Parameters with gradients."""
    made = [nn.Parameter(torch.ones(shape, device=device)) for shape in SHAPES]
    for param in made:
        param.grad = torch.ones_like(param)
    return made


def peaks(optimizer: torch.optim.Optimizer) -> list[int]:
    """Most bytes of tensors with dimensions that two real steps take, beside what was there before each."""
    found = []
    for _ in range(2):
        state = [t for held in optimizer.state.values() for t in held.values() if isinstance(t, Tensor)]
        params = [p for group in optimizer.param_groups for p in group["params"]]
        with WithDimensions([*state, *params, *[p.grad for p in params]]) as live:
            optimizer.step()
        found.append(live.peak)
    return found


class WithDimensions(LiveStorages):
    """Without the counters of steps, which stay on the CPU where parameters are on CUDA."""

    def _add(self, storage: torch.UntypedStorage) -> None:
        if storage.nbytes() > 8:
            super()._add(storage)


@pytest.mark.parametrize(("cls", "options"), CLASSES, ids=lambda value: getattr(value, "__name__", None))
def test_it_is_what_a_real_step_takes(cls: Any, options: dict[str, Any]) -> None:
    """The first step with its new state, and the second, byte for byte."""
    really = peaks(cls(parameters(), **{"foreach": True, **options}))
    found = optimizer_steps(cls(parameters("meta"), **options), ())
    assert found is not None
    assert [step.peak_bytes for step in found] == really


@pytest.mark.parametrize("name", ["sgd", "momentum", "adam", "adamw", "adafactor"])
def test_names(name: str) -> None:
    """Those with a name keep the state that their first step makes; adamw takes one more copy, as `foreach` does."""
    trained = [TensorSpec(shape, torch.float32) for shape in SHAPES]
    found = optimizer_steps(name, trained)
    assert found is not None
    first, second = found
    assert sum(n for _, died, n in first.lives if died > first.ticks) == state_bytes(name, trained)
    assert not [n for _, died, n in second.lives if died > second.ticks]
    copy = sum(spec.stored_bytes for spec in trained)
    expected = {"sgd": 0, "momentum": 0, "adam": copy, "adamw": copy}
    assert second.peak_bytes == expected.get(name, second.peak_bytes)


def test_one_after_the_other() -> None:
    """Said so, or fused, a step takes little beside its state: as a real one."""
    really = peaks(torch.optim.AdamW(parameters(), foreach=False))
    found = optimizer_steps(torch.optim.AdamW(parameters("meta"), foreach=False), ())
    assert found is not None
    assert [step.peak_bytes for step in found] == really
    assert found[1].peak_bytes < sum(4 * p.numel() for p in parameters())


@pytest.mark.parametrize("optimizer", ["lion", 12, 0])
def test_what_is_not_known(optimizer: Any) -> None:
    """PyTorch has no such optimizer."""
    assert optimizer_steps(optimizer, [TensorSpec((3,), torch.float32)]) is None


def test_the_users_optimizer_is_as_it_was() -> None:
    """Its settings and state are its own."""
    optimizer = torch.optim.AdamW(parameters())
    optimizer_steps(optimizer, ())
    assert not optimizer.state
    assert optimizer.param_groups[0]["foreach"] is None
