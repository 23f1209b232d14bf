"""Published figures of memory: what a layer of a GPT saves with tensor parallel, and what that makes of whole models.

V. A. Korthikanti et al., "Reducing activation recomputation in large transformer models", 2022: equation 2, figure 1.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.tensor import Replicate
from torch.distributed.tensor.parallel import ColwiseParallel, PrepareModuleInput, RowwiseParallel, parallelize_module

import fxcost

LENGTH, RANKS = 2048, 8
SIZES = {
    "22B": {"h": 6144, "a": 64, "b": 4, "layers": 48, "p": 1, "m": 1, "gib": 59.25},
    "175B": {"h": 12288, "a": 96, "b": 1, "layers": 96, "p": 8, "m": 3, "gib": 66.84375},
    "530B": {"h": 20480, "a": 128, "b": 1, "layers": 105, "p": 35, "m": 3, "gib": 114.0234375},
    "1T": {"h": 25600, "a": 160, "b": 1, "layers": 128, "p": 64, "m": 1, "gib": 131.25},
}
"""Hidden size, heads, microbatch, layers, pipeline and interleaved stages, and figure 1's activations per device."""


class Attention(nn.Module):
    """As the paper has it: softmax and dropout on the whole matrix of scores."""

    def __init__(self, h: int, a: int) -> None:
        super().__init__()
        self.size = h // a
        self.q, self.k, self.v, self.proj = (nn.Linear(h, h) for _ in range(4))
        self.drop = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        b, n, _ = x.shape
        q, k, v = (w(x).view(b, n, -1, self.size).transpose(1, 2) for w in (self.q, self.k, self.v))
        out = self.drop(torch.softmax(torch.matmul(q, k.transpose(2, 3)), -1)) @ v
        return self.proj(out.transpose(1, 2).reshape(b, n, -1))


class FeedForward(nn.Module):
    def __init__(self, h: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(h, 4 * h), nn.Linear(4 * h, h)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(nn.functional.gelu(self.fc1(x)))


class Layer(nn.Module):
    def __init__(self, h: int, a: int) -> None:
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(h), nn.LayerNorm(h)
        self.attn, self.mlp = Attention(h, a), FeedForward(h)
        self.d1, self.d2 = nn.Dropout(0.1), nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.d1(self.attn(self.ln1(x)))
        return x + self.d2(self.mlp(self.ln2(x)))


def megatron(model: nn.Module, mesh: Any) -> None:
    """Megatron's plan: at the entry of each half one all-reduce of the gradient."""
    whole = {"input_layouts": (Replicate(),), "desired_input_layouts": (Replicate(),)}
    plan: dict[str, Any] = {f"attn.{name}": ColwiseParallel() for name in "qkv"}
    plan |= {"attn.proj": RowwiseParallel(), "mlp.fc1": ColwiseParallel(), "mlp.fc2": RowwiseParallel()}
    plan |= {"attn": PrepareModuleInput(**whole), "mlp": PrepareModuleInput(**whole)}
    for layer in model:
        parallelize_module(layer, mesh, plan)


def step(h: int, a: int, b: int, layers: int) -> Any:
    with torch.device("meta"):
        model = nn.Sequential(*(Layer(h, a) for _ in range(layers))).half()
    x = torch.empty(b, LENGTH, h, dtype=torch.half, device="meta", requires_grad=True)
    return fxcost.analyze(model, x, training=True, mesh={"tp": RANKS}, parallelize=megatron).training


@pytest.mark.parametrize("name", ["175B", *(pytest.param(n, marks=pytest.mark.zoo) for n in SIZES if n != "175B")])
def test_activations_of_a_layer(name: str) -> None:
    """s·b·h·(10 + 24/t + 5·a·s/(h·t)) bytes: what is above it are the statistics of two LayerNorms, 16 bytes a token.

    A layer is the third one of three; figure 1 is that times the layers, and what interleaving adds to the first stage.
    """
    given = SIZES[name]
    h, a, b = int(given["h"]), int(given["a"]), int(given["b"])
    three, two = (step(h, a, b, layers) for layers in (3, 2))
    one = three.saved_bytes - two.saved_bytes
    tokens = LENGTH * b
    formula = tokens * (10 * h + 24 * h // RANKS + 5 * a * LENGTH // RANKS)
    assert one == formula + 16 * tokens
    more = 1 + (given["p"] - 1) / (given["p"] * given["m"]) if given["m"] > 1 else 1
    assert one * given["layers"] * more / 2**30 == pytest.approx(given["gib"], rel=2e-4)
    macs = three.forward.macs - two.forward.macs
    assert macs * RANKS == 12 * tokens * h * h + 2 * tokens * LENGTH * h
    sent = [t.by_kind()["all_reduce"].count for t in (three.communication, two.communication)]
    assert sent[0] - sent[1] == 4
