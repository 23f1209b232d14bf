"""What is around an analysis: inference mode, fake tensors; and tensors that were made there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode

import fxcost


@contextmanager
def fake() -> Iterator[None]:
    with FakeTensorMode():
        yield


AROUND: dict[str, Callable[[], Any]] = {"inference mode": torch.inference_mode, "fake tensors": fake}


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU(inplace=True), nn.Linear(4, 4))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("given", [(2, 4), "tensor"], ids=["shape", "tensor"])
@pytest.mark.parametrize("name", AROUND)
def test_an_analysis_within_is_the_same(name: str, given: Any, training: bool) -> None:
    """The model was made outside; the mode is active again afterwards."""
    model = net()
    plain = fxcost.analyze(model, (2, 4), training=training)
    with AROUND[name]():
        before = torch.is_inference_mode_enabled()
        inputs = given if given != "tensor" else torch.ones(2, 4)
        if training and name == "inference mode" and given == "tensor":
            inputs = inputs.clone().detach() if not inputs.is_inference() else (2, 4)
        report = fxcost.analyze(model, inputs, training=training)
        assert torch.is_inference_mode_enabled() == before
    assert report.cost == plain.cost
    if training:
        assert report.training is not None
        assert plain.training is not None
        assert report.training.total == plain.training.total


def test_a_model_of_fake_tensors_trains() -> None:
    """Inside its mode and outside, given a shape or a fake tensor."""
    with FakeTensorMode():
        model, x = net(), torch.ones(2, 4)
        inside = fxcost.analyze(model, x, training=True)
    wanted = fxcost.analyze(net(), (2, 4), training=True).training
    for report in (inside, fxcost.analyze(model, x, training=True), fxcost.analyze(model, (2, 4), training=True)):
        assert report.training is not None
        assert wanted is not None
        assert (report.training.total, report.training.peak_bytes) == (wanted.total, wanted.peak_bytes)


def saves_input(x: Tensor) -> None:
    net()(x).sum().backward()


def test_inference_tensors_are_refused_where_they_would_be_saved() -> None:
    """As PyTorch refuses them; where nothing needs them for a gradient, both go on."""
    with torch.inference_mode():
        x = torch.ones(2, 4)
    with pytest.raises(RuntimeError, match="Inference tensors cannot be saved for backward"):
        saves_input(x)
    with pytest.raises(fxcost.FxcostError, match="Inference tensors cannot be saved for backward"):
        fxcost.analyze(net(), x, training=True)
    assert fxcost.analyze(net(), x).macs == 64

    class Adds(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, y: Tensor, offset: Tensor) -> Tensor:
            return self.layer(y) + offset

    Adds()(torch.ones(2, 4), x).sum().backward()
    step = fxcost.analyze(Adds(), (torch.ones(2, 4), x), training=True).training
    assert step is not None
    assert step.total.macs == 64


@pytest.mark.parametrize("around", ["torch.inference_mode()", "torch._subclasses.FakeTensorMode()"])
def test_the_first_analysis_of_a_process_may_be_within(around: str) -> None:
    """What is loaded then must not make tensors that remember it."""
    code = f"""
import torch
from torch import nn
import fxcost
model = nn.Linear(4, 4)
with {around}:
    fxcost.analyze(model, (2, 4), training=True)
print(fxcost.analyze(model, (2, 4), training=True).training.total.macs)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert out.stdout.strip() == "64", out.stderr
