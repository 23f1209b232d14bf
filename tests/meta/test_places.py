"""Places that a mask leaves, against masks that are written out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import fxcost


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
    """In open sizes masks are not counted: a window's count is none."""
    found = fxcost.analyze(Net(3), ("B", "S", 8), dims={"B": (1, 4), "S": (2, 64)})
    assert str(found.formula.macs) == "16*B*S**2 + 192*B*S"
    assert found.cost.skipped_macs == 0
