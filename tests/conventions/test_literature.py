"""The conventions of papers and articles, on layers small enough to count by hand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from oracle import Number, counting
from torch import nn

import fxcost


class Attention(nn.Module):
    """Scaled dot-product attention, causal or not."""

    def __init__(self, causal: bool) -> None:
        super().__init__()
        self.causal = causal

    def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)


@pytest.mark.parametrize(("length", "keys"), [(4, 4), (3, 6), (6, 3), (1, 1)])
def test_causal_counts_the_pairs_that_the_mask_allows(length: int, keys: int) -> None:
    """As many products as PyTorch's own causal mask (aligned at the top left) has ones; dense without causality."""
    batch, d, d_v = 2, 5, 7
    shapes = [(batch, 3, length, d), (batch, 3, keys, d), (batch, 3, keys, d_v)]
    allowed = int(torch.ones(length, keys).tril().sum())
    causal, dense = (fxcost.analyze(Attention(flag), shapes) for flag in (True, False))
    assert causal.count("causal") == batch * 3 * allowed * (d + d_v)
    assert causal.macs == dense.macs == dense.count("causal") == batch * 3 * length * keys * (d + d_v)


def test_exact_counts_a_dot_product_as_it_is_done() -> None:
    """n products and n − 1 sums without bias, one sum more with; other operations as always."""
    x = [Number(v) for v in range(1, 6)]
    with counting() as plain:
        total = x[0] * x[0]
        for v in x[1:]:
            total = total + v * v
    report = fxcost.analyze(nn.Linear(5, 1, bias=False), (1, 5))
    assert report.count("exact") == plain.flops == 9
    assert fxcost.analyze(nn.Linear(5, 1), (1, 5)).count("exact") == 10 == report.count("flops")
    relu = fxcost.analyze(nn.Sequential(nn.Linear(5, 3), nn.ReLU()), (2, 5))
    assert relu.count("exact") == 2 * 5 * 3 * 2 + 3 * 2


def test_our_own_numbers_are_conventions_too() -> None:
    """`macs`, the default, and `flops` are the report's."""
    report = fxcost.analyze(nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU()), (2, 3, 6, 6))
    assert (report.count(), report.count("flops")) == (report.macs, report.flops)


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (nn.Linear(5, 7), (3, 5), 3 * 5 * 7 + 3 * 7 + 5 * 7 + 7),
        (nn.Linear(5, 7, bias=False), (3, 5), 3 * 5 * 7 + 3 * 7 + 5 * 7),
        (nn.Conv2d(4, 6, 3, padding=1, groups=2), (1, 4, 5, 5), 100 * 9 * 3 + 150 + 6 * 2 * 9 + 6),
        (nn.ConvTranspose2d(4, 6, 2, stride=2), (1, 4, 5, 5), 100 * 4 * 6 + 600 + 4 * 6 * 4 + 6),
        (nn.ReLU(), (3, 5), 0),
    ],
    ids=["linear", "without bias", "grouped", "transposed", "relu"],
)
def test_memory_accesses(layer: nn.Module, shape: tuple[int, ...], expected: int) -> None:
    """Inputs once for each product at their place, outputs, weights, biases; nothing else is a layer here."""
    assert fxcost.analyze(layer, shape).count("memory-accesses") == expected
