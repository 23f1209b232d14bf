"""Families: formulas in width, depth, heads and vocabulary come out by themselves."""

from __future__ import annotations

import pytest
import sympy
import torch
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel

import fxcost
from fxcost import Dim
from tests.formula.fresh import agree


def gpt2(d: int, L: int, V: int) -> nn.Module:  # noqa: N803  as papers write it
    config = GPT2Config(
        n_embd=d, n_layer=L, n_head=4, vocab_size=V, n_positions=512, use_cache=False, bos_token_id=0, eos_token_id=0
    )
    with torch.device("meta"):
        return GPT2LMHeadModel(config).eval()


def test_gpt2_comes_out_in_closed_form() -> None:
    """MACs = 12·B·L·S·d² + 2·B·L·S²·d + B·S·V·d and params = 12·L·d² + 13·L·d + V·d + (positions + 2)·d."""
    dims = {"d": Dim(16, 512, multiple=4), "L": Dim(1, 12), "V": Dim(16, 5000), "B": Dim(2, 64), "S": Dim(8, 512)}
    inputs = {"input_ids": fxcost.spec("B", "S", dtype="int64")}
    report = fxcost.family(gpt2, dims, inputs)
    B, L, S, V, d = sympy.symbols("B L S V d", integer=True, positive=True)  # noqa: N806
    formula = report.formula
    assert formula.macs == 12 * B * L * S * d**2 + 2 * B * L * S**2 * d + B * S * V * d
    assert formula.params == 12 * L * d**2 + 13 * L * d + V * d + 514 * d
    assert formula.domain["L"].high == 12
    assert formula.of("transformer.h").macs == 12 * B * L * S * d**2 + 2 * B * L * S**2 * d
    assert formula.of("transformer.h.0.attn").macs == formula.of("transformer.h.*.attn").macs
    point = {"d": 96, "L": 3, "V": 777, "B": 5, "S": 77}
    fresh = fxcost.analyze(gpt2(96, 3, 777), {"input_ids": fxcost.spec(5, 77, dtype="int64")})
    from fxcost.formula.numbers import reported

    assert dict(formula.at(**point).numbers) == reported(fresh)


class Heads(nn.Module):
    """Attention with a width that is heads × size."""

    def __init__(self, h: int, k: int) -> None:
        super().__init__()
        self.h, self.k = h, k
        self.qkv, self.out = nn.Linear(h * k, 3 * h * k), nn.Linear(h * k, h * k)

    def forward(self, x: Tensor) -> Tensor:
        b, s, _ = x.shape
        q, k, v = self.qkv(x).view(b, s, 3, self.h, self.k).permute(2, 0, 3, 1, 4)
        y = torch.nn.functional.scaled_dot_product_attention(q, k, v)
        return self.out(y.transpose(1, 2).reshape(b, s, -1))  # type: ignore[no-any-return]


class Wide(nn.Module):
    """A perceptron of width d."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(8, d), nn.Linear(d, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.up(x).relu())  # type: ignore[no-any-return]


def test_width_and_training() -> None:
    """The optimizer's state and the gradients grow with the width too."""
    dims = {"d": Dim(8, 512), "B": Dim(1, 64)}
    report = fxcost.family(Wide, dims, ("B", 8), training=True)
    agree(report, lambda point: Wide(point["d"]), ("B", 8), points=3, training=True)
    B, d = sympy.symbols("B d", integer=True, positive=True)  # noqa: N806
    assert report.formula.params == 17 * d + 8
    assert report.formula.training.total.macs == 16 * B * d + 8 * B * d + 16 * B * d
    assert report.formula.training.optimizer_bytes == 8 * (17 * d + 8)


def test_heads_and_their_size() -> None:
    """Width is a product of two dims; inputs that depend on it are given by a dim of their own."""

    def make(h: int) -> nn.Module:
        return Heads(h, 16)

    class Embedded(nn.Module):
        def __init__(self, h: int) -> None:
            super().__init__()
            self.embed, self.body = nn.Linear(8, 16 * h), make(h)

        def forward(self, x: Tensor) -> Tensor:
            return self.body(self.embed(x))  # type: ignore[no-any-return]

    dims = {"h": Dim(2, 16), "B": Dim(2, 16), "S": Dim(8, 128)}
    report = fxcost.family(Embedded, dims, ("B", "S", 8))
    agree(report, lambda point: Embedded(point["h"]), ("B", "S", 8), points=3)
    B, S, h = sympy.symbols("B S h", integer=True, positive=True)  # noqa: N806
    assert report.formula.macs == 128 * B * S * h + 4 * 256 * B * S * h**2 + 32 * B * S**2 * h


def test_an_argument_that_makes_no_difference_is_named() -> None:
    """Nothing depends on it."""

    def make(d: int, seed: int) -> nn.Module:
        return Wide(d)

    report = fxcost.family(make, {"d": (8, 64), "seed": (1, 9)}, (2, 8))
    assert "nothing depends on seed" in report.formula.domain.notes


def test_a_dim_must_be_somewhere() -> None:
    """Neither a parameter of the factory nor in a shape."""
    with pytest.raises(fxcost.FxcostError, match="'L': neither a parameter"):
        fxcost.family(Wide, {"d": (8, 64), "L": (1, 9)}, (2, 8))
