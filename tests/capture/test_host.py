"""Calls that take values out, bring values in, or name a device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import fxcost

NOWHERE = "cuda:7"
"""A device that this machine does not have."""

DEVICES: dict[str, Callable[[Tensor], Any]] = {
    "to by name": lambda x: x.to(NOWHERE),
    "to by device": lambda x: x.to(torch.device(NOWHERE)),
    "to by keyword": lambda x: x.to(device=NOWHERE),
    "to with a dtype": lambda x: x.to(NOWHERE, torch.float32),
    "cuda": lambda x: x.cuda(),
    "cpu": lambda x: x.cpu(),
    "pin_memory": lambda x: x.pin_memory(),
    "non_blocking": lambda x: x.to(NOWHERE, non_blocking=True),
}


@pytest.mark.parametrize("name", DEVICES)
def test_moves_between_devices_cost_nothing(name: str) -> None:
    """On meta there is one device; a model that names another runs all the same."""
    report = fxcost.analyze(lambda x: DEVICES[name](x) * 2, (2, 8))
    assert (report.flops, report.bytes_read) == (16, 64)


FACTORIES: dict[str, Callable[[Tensor], Tensor]] = {
    "zeros": lambda x: torch.zeros(8, device=NOWHERE),
    "arange": lambda x: torch.arange(8, device=NOWHERE),
    "tensor": lambda x: torch.tensor([1.0] * 8, device=NOWHERE),
    "full": lambda x: torch.full((8,), 2.0, device=NOWHERE),
    "randn": lambda x: torch.randn(8, device=NOWHERE),
    "new_zeros": lambda x: x.new_zeros(8),
    "new_tensor": lambda x: x.new_tensor([1] * 8),
    "zeros_like": lambda x: torch.zeros_like(x, device=NOWHERE),
    "of the input's device": lambda x: torch.ones(8, device=x.device),
    "as_tensor": lambda x: torch.as_tensor(np.ones(8, dtype=np.float32), device=NOWHERE),
    "from_numpy": lambda x: torch.from_numpy(np.ones(8, dtype=np.float32)),
    "pinned": lambda x: torch.zeros(8, pin_memory=True),
}


@pytest.mark.parametrize("capture", ["auto", "concrete"])
@pytest.mark.parametrize("name", FACTORIES)
def test_tensors_made_on_any_device_are_on_meta(name: str, capture: str) -> None:
    """A factory's device need not exist; its result meets the input on meta."""
    report = fxcost.analyze(lambda x: x + FACTORIES[name](x), (2, 8), capture=capture)
    assert report.nodes[-1].outputs[0].shape == (2, 8)
    assert report.uncosted == {}


VALUES: dict[str, Callable[[Tensor], int]] = {
    "tolist": lambda t: sum(t.tolist()),
    "numpy": lambda t: int(t.numpy().sum()),
    "np.asarray": lambda t: int(np.asarray(t).sum()),
    "item": lambda t: t.sum().item(),
    "format": lambda t: int(f"{t.sum()}"),
    "iteration": lambda t: sum(int(i) for i in t),
    "min and max": lambda t: int(t.max() + t.min()) + 2,
    "a Python list as index": lambda t: int(t[[0, 1, 2]].sum()),
    "in": lambda t: 6 if 3 in t else 0,
    "__index__": lambda t: range(10)[t.sum()],
}


@pytest.mark.parametrize("name", VALUES)
def test_known_values_reach_python(name: str) -> None:
    """1 + 2 + 3 by whatever road."""
    report = fxcost.analyze(lambda x, t: x.repeat(VALUES[name](t), 1), [(1, 8), torch.tensor([1, 2, 3])])
    assert report.nodes[-1].outputs[0].shape == (6, 8)
    assert report.assumptions == ()


def test_printing_a_tensor_is_no_obstacle() -> None:
    """A forward that formats its input runs; there is nothing to see in it."""
    report = fxcost.analyze(lambda x: (str(x), f"{x}", x * 2)[2], (2, 8), capture="concrete")
    assert report.flops == 16


def test_what_is_taken_out_is_the_callers_own() -> None:
    """Writing into an array taken from a buffer does not change what the model knows of it."""

    def forward(x: Tensor, t: Tensor) -> Tensor:
        t.numpy()[:] = 100
        return x[:, : t.sum()]

    report = fxcost.analyze(forward, [(2, 8), torch.tensor([1, 2])])
    assert report.nodes[-1].outputs[0].shape == (2, 3)


def test_a_tensor_made_of_tensors_has_their_values() -> None:
    """`torch.tensor([a, b])` reads both; what follows from them is known."""

    def sized(lengths: Tensor) -> Tensor:
        return torch.ones(torch.tensor([lengths[0], lengths[1] * 2]).tolist()) @ torch.ones(8, 2)

    assert fxcost.analyze(sized, torch.tensor([3, 4])).macs == 3 * 8 * 2


def test_autocast_by_the_device_of_a_tensor() -> None:
    """`torch.autocast(x.device.type)` is what it is on the CPU: PyTorch knows no autocast for meta."""

    def cast(x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, torch.bfloat16):
            return x @ x

    assert fxcost.analyze(cast, (4, 4)).nodes[-1].outputs[0].dtype == torch.bfloat16


MANY = 24
FEW = 8


QUESTIONS: dict[str, tuple[Callable[[Tensor], Any], Callable[[Tensor], Any]]] = {
    "the address of a view": (lambda x: x.data_ptr(), lambda x: x.view(-1).data_ptr()),
    "the address of a part": (lambda x: x.data_ptr() + 16, lambda x: x[1].data_ptr()),
    "the address of a copy": (lambda x: x.data_ptr(), lambda x: x.clone().data_ptr()),
    "whether there is an address": (lambda x: bool(x.data_ptr()), lambda x: True),
    "alignment": (lambda x: x.data_ptr() % 64, lambda x: 0),
    "no elements, no address": (lambda x: x[:0].clone().data_ptr(), lambda x: 0),
    "the storage of a part": (lambda x: x.untyped_storage().data_ptr(), lambda x: x[1:].untyped_storage().data_ptr()),
    "the storage of a copy": (
        lambda x: x.untyped_storage().data_ptr(),
        lambda x: x.clone().untyped_storage().data_ptr(),
    ),
    "the version of an input": (lambda x: x._version, lambda x: 0),
    "the version after a write": (lambda x: x.clone().add_(1)._version, lambda x: 1),
    "the version after writes to parts": (lambda x: _written(x)._version, lambda x: 2),
}


def _written(x: Tensor) -> Tensor:
    y = x.clone()
    y[0], y[:, 1] = 1.0, 2
    return y


@pytest.mark.parametrize("capture", ["auto", "concrete"])
@pytest.mark.parametrize("name", QUESTIONS)
def test_questions_about_memory_are_answered_as_in_a_run(name: str, capture: str) -> None:
    """Which tensors share memory, and how often one was written to; where a tensor is, is nobody's business."""
    a, b = QUESTIONS[name]
    x = torch.ones(2, 4)
    expected = FEW if a(x) == b(x) else MANY
    model: Callable[[Tensor], Tensor] = lambda x: x.relu() if a(x) == b(x) else x.tanh().tanh().tanh()  # noqa: E731
    ran = fxcost.analyze(model, x, capture=capture)
    assert ran.cost.other_flops - _in_the_questions(ran) == expected


def _in_the_questions(report: Any) -> int:
    """Operations that asking itself took: the writes."""
    return sum(node.cost.other_flops for node in report.nodes if node.record.name.startswith("add_"))


def test_parameters_have_the_versions_of_the_user_s() -> None:
    """A layer's weight has been written to when it was initialized."""
    layer = torch.nn.Linear(4, 4)
    versions: list[int] = []

    def forward(x: Tensor) -> Tensor:
        versions[:] = [layer.weight._version]
        return layer(x) if layer.weight._version == 1 else x

    assert layer.weight._version == 1
    assert fxcost.analyze(forward, (2, 4)).macs == 32
