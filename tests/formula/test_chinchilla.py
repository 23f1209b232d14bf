"""The parameters of the models of Hoffmann et al., Training Compute-Optimal Large Language Models (2022), table A9.

Decoders with relative positions (a projection of them in every layer), a vocabulary of 32,000 that input and output
share, and an inner width of 4·d. The table's millions come out of one formula, found on small members of the family.
"""

from __future__ import annotations

import sympy
import torch
from torch import Tensor, nn

import fxcost
from fxcost import Dim

VOCABULARY = 32_000
ROWS = (
    *((44, 512, 8), (57, 576, 9), (74, 640, 10), (90, 640, 13), (106, 640, 16), (117, 768, 12), (140, 768, 15)),
    *((163, 768, 18), (175, 896, 14), (196, 896, 16), (217, 896, 18), (251, 1024, 16), (278, 1024, 18)),
)
"""Millions of parameters, width, layers; heads of 64."""


class Block(nn.Module):
    """Attention with projected relative positions, and a perceptron, all without biases."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(d, 3 * d, bias=False), nn.Linear(d, d, bias=False)
        self.relative = nn.Linear(d, d, bias=False)
        self.up, self.down = nn.Linear(d, 4 * d, bias=False), nn.Linear(4 * d, d, bias=False)

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        b, s, d = x.shape
        q, k, v = self.qkv(x).view(b, s, 3, d // 64, 64).permute(2, 0, 3, 1, 4)
        r = self.relative(positions).view(s, d // 64, 64).permute(1, 2, 0)
        y = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=q @ r)
        x = x + self.out(y.transpose(1, 2).reshape(b, s, d))
        return x + self.down(self.up(x).relu())  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """Blocks between an embedding and the same as a classifier."""

    def __init__(self, d: int, layers: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, d)
        self.blocks = nn.ModuleList(Block(d) for _ in range(layers))

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        positions = x.new_zeros(x.shape[1:])
        for block in self.blocks:
            x = block(x, positions)
        return x @ self.embed.weight.T


def decoder(d: int, L: int) -> nn.Module:  # noqa: N803  as papers write it
    with torch.device("meta"):
        return Decoder(d, L).eval()


def test_the_table_comes_out_of_one_formula() -> None:
    """13·L·d² + V·d, which gives the table's millions; and the MACs of the paper's appendix F."""
    dims = {"d": Dim(64, 1024, multiple=64), "L": Dim(1, 18), "S": Dim(8, 64)}
    formula = fxcost.family(decoder, dims, fxcost.spec(2, "S", dtype="int64")).formula
    L, S, d = sympy.symbols("L S d", integer=True, positive=True)  # noqa: N806
    assert formula.params == 13 * L * d**2 + VOCABULARY * d
    found = [(round(formula.at(d=width, L=layers, S=8).params / 1e6), width, layers) for _, width, layers in ROWS]
    assert found == list(ROWS)
    b = 2
    dense = b * S * 12 * d**2 + S * d**2  # query, key, value, output, perceptron; positions once for all samples
    attention = 3 * b * S**2 * d  # logits, their part of relative positions, and the sum over values
    assert sympy.expand(formula.macs - (L * (dense + attention) + b * S * d * VOCABULARY)) == 0
