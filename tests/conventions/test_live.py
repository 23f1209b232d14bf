"""Conventions against the tools themselves, on models that are not among the recorded ones."""

from __future__ import annotations

import pytest
import torch
from tools import TOOLS
from torch import nn

import fxcost


class Mixed(nn.Module):
    """A bit of everything that the tools disagree on, batch above one."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2))
        self.up = nn.ConvTranspose2d(8, 12, 3, stride=2, groups=4)
        self.norm, self.act = nn.GroupNorm(3, 12), nn.GELU()
        self.pool, self.head = nn.AdaptiveAvgPool2d((3, 2)), nn.Linear(12, 16)
        self.layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
        self.last = nn.Linear(16, 5, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.act(self.norm(self.up(self.stem(x))))
        x = torch.mul(self.pool(x), 2.0).flatten(2).transpose(1, 2)
        x = self.layer(self.head(x))
        scores = torch.matmul(x, x.transpose(1, 2)).softmax(-1)
        return self.last(scores @ x) + 1


class BatchFirstGru(nn.Module):
    """A recurrent layer whose input is transposed inside."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.head = nn.GRU(6, 8, 2, batch_first=True, bidirectional=True), nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out, _ = self.rnn(x)
        return self.head(out[:, -1])


MODELS = {"mixed": (Mixed, (3, 3, 16, 20)), "gru": (BatchFirstGru, (3, 5, 6))}


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.filterwarnings("ignore")
def test_the_tool_itself_prints_the_same(tool: str, name: str) -> None:
    """Every figure that the tool returns."""
    package, run = TOOLS[tool]
    pytest.importorskip(package)
    kind, shape = MODELS[name]
    torch.manual_seed(0)
    model, x = kind().eval(), torch.randn(shape)
    found = fxcost.analyze(model, (x,)).counts(tool)
    expected = run(model, (x,))
    assert {figure: found[figure] for figure in expected} == expected


@pytest.mark.zoo
@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("name", ["resnet34", "mobilenet_v3_large", "regnet_x_400mf", "vit_b_32", "mnasnet0_5"])
@pytest.mark.filterwarnings("ignore")
def test_networks_of_torchvision(tool: str, name: str) -> None:
    """Networks at batch 2."""
    package, run = TOOLS[tool]
    pytest.importorskip(package)
    models = pytest.importorskip("torchvision").models
    model, x = getattr(models, name)().eval(), torch.randn(2, 3, 224, 224)
    found = fxcost.analyze(model, (x,)).counts(tool)
    expected = run(model, (x,))
    assert {figure: found[figure] for figure in expected} == expected
