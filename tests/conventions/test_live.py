"""Conventions against the tools themselves, on models that are not among the recorded ones."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fxcost
from tests.conventions.tools import TOOLS, runner


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


class Shared(nn.Module):
    """A block with two parents, a tied weight, a layer that never runs, and layers in a list."""

    def __init__(self) -> None:
        super().__init__()
        block = nn.Sequential(nn.Linear(8, 8), nn.ReLU())
        self.left = nn.Sequential(nn.LayerNorm(8), block)
        self.right = nn.ModuleList([block, nn.Sequential(nn.Linear(8, 8), block)])
        self.idle = nn.Linear(8, 30)
        self.last = nn.Linear(8, 8)
        self.last.weight = block[0].weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.left(x)
        for layer in self.right:
            x = layer(x)
        return self.last(x)


class Upsampled(nn.Module):
    """A function under its old name, which calls the one of the new name, and a module that calls it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.up = nn.Conv2d(3, 4, 3), nn.Upsample(scale_factor=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.upsample(self.conv(x), scale_factor=2, mode="bilinear")
        return F.interpolate(self.up(x), size=(7, 5))


MODELS = {
    "mixed": (Mixed, (3, 3, 16, 20)),
    "gru": (BatchFirstGru, (3, 5, 6)),
    "shared": (Shared, (2, 8)),
    "upsampled": (Upsampled, (2, 3, 9, 8)),
}


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.filterwarnings("ignore")
def test_the_tool_itself_prints_the_same(tool: str, name: str) -> None:
    """Every figure that the tool returns."""
    run = runner(tool)
    kind, shape = MODELS[name]
    if tool == "torchstat":
        pytest.skip("takes one image, and fails on models of anything else")
    torch.manual_seed(0)
    model, x = kind().eval(), torch.randn(shape)
    report = fxcost.analyze(model, (x,))
    try:
        found = report.counts(tool)
    except fxcost.ConventionError:
        assert (tool, name) == ("torchsummary", "mixed")  # attention returns None beside its result
        with pytest.raises(AttributeError, match="size"):
            run(model, (x,))
        return
    expected = run(model, (x,))
    assert {figure: found[figure] for figure in expected} == expected


@pytest.mark.filterwarnings("ignore")
def test_ptflops_on_classes_of_other_libraries() -> None:
    """It lists torchvision's deformable convolution and timm's attention."""
    pytest.importorskip("ptflops")
    ops, timm = pytest.importorskip("torchvision.ops"), pytest.importorskip("timm")

    class Deformed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.where, self.conv = nn.Conv2d(4, 18, 3, padding=1), ops.DeformConv2d(4, 6, 3, padding=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(x, self.where(x))

    run = TOOLS["ptflops"][1]
    for model, shape in ((Deformed(), (2, 4, 8, 8)), (timm.create_model("vit_tiny_patch16_224"), (2, 3, 224, 224))):
        x = torch.randn(shape)
        assert fxcost.analyze(model.eval(), (x,)).counts("ptflops") == run(model.eval(), (x,))


@pytest.mark.zoo
@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("name", ["resnet34", "mobilenet_v3_large", "regnet_x_400mf", "vit_b_32", "mnasnet0_5"])
@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.filterwarnings("ignore")
def test_networks_of_torchvision(tool: str, name: str, batch: int) -> None:
    """Further networks than the recorded ones; benchmarks/live_agreement.py runs all of them."""
    run = runner(tool)
    models = pytest.importorskip("torchvision").models
    if tool == "torchstat" and batch > 1:
        pytest.skip("takes one image")
    model, x = getattr(models, name)().eval(), torch.randn(batch, 3, 224, 224)
    found = fxcost.analyze(model, (x,)).counts(tool)
    expected = run(model, (x,))
    assert {figure: found[figure] for figure in expected} == expected
