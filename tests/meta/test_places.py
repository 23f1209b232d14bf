"""Places that a mask leaves, against masks that are written out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import fxcost
from fxcost.errors import UnknownNameError


class Net(nn.Module):
    """Attention with a mask that its code makes of positions."""

    def __init__(self, window: int, floating: bool = False) -> None:
        super().__init__()
        self.window, self.floating, self.qkv = window, floating, nn.Linear(8, 24)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).view(*x.shape[:2], 3, 2, 4).permute(2, 0, 3, 1, 4)
        made: Tensor = F.scaled_dot_product_attention(q, k, v, self.mask(x.shape[1]))
        return made

    def mask(self, length: int) -> Tensor:
        i, j = torch.arange(length)[:, None], torch.arange(length)
        mask = (j <= i) & (j > i - self.window)
        return torch.zeros(mask.shape).masked_fill(~mask, float("-inf")) if self.floating else mask


@pytest.mark.parametrize("floating", [False, True])
@pytest.mark.parametrize("capture", ["auto", "concrete"])
def test_a_mask_of_positions_is_counted(floating: bool, capture: str) -> None:
    """Forward and backward, of 3 samples and 2 heads that share it: what the mask itself says, written out."""
    net, length = Net(3, floating), 7
    left = int((net.mask(length) > (-1 if floating else 0)).sum())
    skipped = 3 * 2 * (length**2 - left)
    report = fxcost.analyze(net, (3, length, 8), capture=capture)
    assert report.cost.skipped_macs == skipped * (4 + 4)
    assert report.macs == 3 * length * 8 * 24 + 3 * 2 * length**2 * (4 + 4)
    assert report.roofline("h100", dtype="float32").latency_s > 0
    training = fxcost.analyze(net, (3, length, 8), training=True).training
    assert training is not None
    assert training.backward.skipped_macs == 2 * training.forward.skipped_macs == 2 * skipped * (4 + 4)


def test_a_mask_that_hangs_on_data_is_dense() -> None:
    """Nobody knows which paddings there are; with a mask that is given as it is, they are known."""

    class Padded(nn.Module):
        def forward(self, x: Tensor, real: Any) -> Tensor:
            made: Tensor = F.scaled_dot_product_attention(x, x, x, real > 0)
            return made

    shape = fxcost.spec(1, 2, 4, 8)
    unknown = fxcost.analyze(Padded(), [shape, fxcost.spec(4, 4)])
    assert unknown.cost.skipped_macs == 0
    known = fxcost.analyze(Padded(), [shape, torch.tensor([[1, 0, 0, 0]])])
    assert known.cost.skipped_macs == 2 * 4 * 3 * (8 + 8)


def test_formulas_stay_polynomials() -> None:
    """A window's count is no polynomial: it is left out, and said to be; the report's own numbers have it."""
    net = Net(3)
    found = fxcost.analyze(net, ("B", "S", 8), dims={"B": (1, 4), "S": (2, 64)})
    point = dict(zip("BS", found.nodes[0].outputs[0].shape, strict=False))
    formula, fresh = found.formula, fxcost.analyze(net, (point["B"], point["S"], 8))
    assert str(formula.macs) == "16*B*S**2 + 192*B*S"
    assert found.cost == fresh.cost
    assert fresh.cost.skipped_macs > 0
    assert "skipped_macs and skipped_flops are left out" in str(formula.domain)
    costs = formula.at(**point)
    assert costs.macs == fresh.macs
    assert "skipped_macs" not in costs.numbers
    assert "skipped_macs" not in formula.of("").numbers
    with pytest.raises(UnknownNameError, match="skipped_macs"):
        formula.expression("skipped_macs")
    again = fxcost.Report.from_json(found.to_json()).formula
    assert set(again.numbers) == set(formula.numbers)


def test_formulas_know_what_a_causal_flag_throws_away() -> None:
    """Without a tensor as mask the count is a polynomial, and stays."""

    class Causal(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            made: Tensor = F.scaled_dot_product_attention(x, x, x, is_causal=True)
            return made

    formula = fxcost.analyze(Causal(), ("B", 2, "S", 4), dims={"B": (1, 4), "S": (2, 64)}).formula
    assert str(formula.expression("skipped_macs")) == "8*B*S**2 - 8*B*S"
