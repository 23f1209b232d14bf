"""ultralytics-thop: what it sees that thop does not, on figures that it printed (2.2.3); and itself, where it is."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from peer_cases import Function
from torch import nn

import fxcost
from tests.conventions.tools import TOOLS, installed

R = torch.randn


class Doubled(nn.Linear):
    """A subclass whose own product the rule of its parent stands for."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + x @ self.weight.T


class Attending(nn.Module):
    """Attention as a function, with keys added, and a product in a module without a rule."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.m, self.options = nn.MultiheadAttention(16, 4, add_bias_kv=True), options

    def forward(self, x: torch.Tensor) -> Any:
        m = self.m
        weights = m.in_proj_weight, m.in_proj_bias, m.bias_k, m.bias_v, True, 0.0, m.out_proj.weight, m.out_proj.bias
        y, _ = F.multi_head_attention_forward(x, x, x, 16, 4, *weights, **self.options)
        return y @ y.transpose(-1, -2)


class Packed(nn.Module):
    """Sequences of two lengths: 6 + 3 steps."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(4, 6, 2, proj_size=3, bidirectional=True)

    def forward(self, x: torch.Tensor) -> Any:
        lengths = torch.tensor([6, 3])
        return self.rnn(nn.utils.rnn.pack_padded_sequence(x, lengths))[0].data


def norms() -> nn.Module:
    """Classes that are listed by one that they inherit from, and softmax in its four kinds."""
    kinds = nn.LogSoftmax(1), nn.Softmin(2), nn.Softmax2d(), nn.Softmax(None), nn.Dropout2d(), nn.ReflectionPad2d(1)
    return nn.Sequential(nn.SyncBatchNorm(4), nn.InstanceNorm2d(4, affine=True), *kinds, nn.RMSNorm(7))


def pools() -> nn.Module:
    """Windows that reach over the edge, with padding averaged and without, and those that overlap."""
    first = nn.AvgPool2d(3, 2, 1, ceil_mode=True), nn.AvgPool2d((2, 3), 1, (1, 1), count_include_pad=False)
    return nn.Sequential(*first, nn.AdaptiveAvgPool2d((3, None)), nn.Upsample(scale_factor=2, mode="bicubic"))


def products(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Products that count (bmm, einsum with an ellipsis, a broadcast or a summed index), and that do not (mm)."""
    c = torch.einsum("...ij,...jk->...ik", a, b) + torch.bmm(a, b)
    c = c + torch.einsum("bij,bjk", a, b).sum() + torch.einsum("bij,bjk,bkl->bil", a, b, c.mT).sum()
    return c + torch.einsum("bij,jk->bk", a, b[0]).sum() + torch.mm(a[0], b[0]) + torch.einsum("bij->b", a).sum()


def attentions(q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    """One kernel, with heads shared and a value of its own width."""
    return F.scaled_dot_product_attention(q, k, k[..., :3], enable_gqa=True)


CASES: dict[str, tuple[Any, tuple[torch.Tensor, ...], int]] = {
    "subclass": (lambda: Doubled(8, 8), (R(2, 8),), 128),
    "attention as a function": (Attending, (R(5, 2, 16),), 13600),
    "attention without weights": (lambda: Attending(need_weights=False), (R(5, 2, 16),), 13600),
    "attention without a batch": (Attending, (R(5, 16),), 7040),
    "packed": (Packed, (R(6, 2, 4),), 11016),
    "norms": (norms, (R(2, 4, 5, 5),), 5628),
    "pools": (pools, (R(2, 4, 9, 8),), 127840),
    "products": (lambda: Function(products), (R(2, 3, 4), R(2, 4, 5)), 400),
    "attention in one kernel": (lambda: Function(attentions), (R(2, 4, 5, 8), R(2, 2, 6, 8)), 2640),
    "functions": (lambda: Function(lambda x: F.linear(x, x) + F.conv1d(x[None], x[:, :, None])), (R(6, 6),), 216),
}
"""How to make a model, its inputs, and the total that the tool printed."""


@pytest.mark.parametrize("capture", ["auto", "concrete"])
@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore")
def test_what_it_printed(name: str, capture: Any) -> None:
    """The total, and the parameters of the whole model."""
    make, inputs, printed = CASES[name]
    model = make().eval()
    found = fxcost.analyze(model, inputs, capture=capture).counts("ultralytics-thop")
    assert found == {"total_ops": printed, "total_params": sum(p.numel() for p in model.parameters())}
    if installed("ultralytics-thop"):
        assert TOOLS["ultralytics-thop"][1](model, inputs) == found
