"""Tiny models whose costs are known in closed form, and blocks from which random ones are put together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Lambda(nn.Module):
    """A module that calls a function; modules given by name are its children."""

    def __init__(self, function: Callable[..., Any], **children: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, child in children.items():
            self.add_module(name, child)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(self, *args, **kwargs)


class Buffered(nn.Module):
    """`function(x, buffer)`: how models use masks, lengths and position tables that they carry along."""

    def __init__(self, function: Callable[[Tensor, Tensor], Any], buffer: Tensor) -> None:
        super().__init__()
        self.function = function
        self.register_buffer("table", buffer)

    def forward(self, x: Tensor) -> Any:
        return self.function(x, self.table)


class Residual(nn.Module):
    """x + body(x), the sum written into the body's result if `in_place`."""

    def __init__(self, body: nn.Module, in_place: bool) -> None:
        super().__init__()
        self.body, self.in_place = body, in_place

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        if not self.in_place:
            return x + y
        y += x
        return y


class Repeated(nn.Module):
    """One module used several times over."""

    def __init__(self, body: nn.Module, times: int) -> None:
        super().__init__()
        self.body, self.times = body, times

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(self.times):
            x = self.body(x)
        return x


class ViewsOfViews(nn.Module):
    """Halves the channels, writes into views of a view, and puts them together again: (N, C, H, W) as it was."""

    def forward(self, x: Tensor) -> Tensor:
        x = x.clone()
        left, right = x.chunk(2, 1)
        corner = right[:, :, :2].transpose(2, 3)
        corner.mul_(2.0)
        left.add_(right)
        return torch.cat([right, left], 1)


class Transposed(nn.Module):
    """A product between transposed in place and back: t_, views and contiguous copies."""

    def forward(self, x: Tensor) -> Tensor:
        rows = x.flatten(1).clone()
        rows.t_()
        return (rows * 0.5).t().contiguous().view(x.shape)


class MixtureOfExperts(nn.Module):
    """Top-k routing as transformers writes it: (tokens, width) → (tokens, width)."""

    def __init__(self, width: int, experts: int, k: int) -> None:
        super().__init__()
        self.gate, self.k = nn.Linear(width, experts, bias=False), k
        self.experts = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(experts))

    def forward(self, x: Tensor) -> Tensor:
        weights, chosen = self.gate(x).softmax(-1).topk(self.k, -1)
        out = torch.zeros_like(x)
        mask = F.one_hot(chosen, len(self.experts)).permute(2, 1, 0)
        for expert, module in enumerate(self.experts):
            slot, token = torch.where(mask[expert])
            out.index_add_(0, token, module(x[token]) * weights[token, slot, None])
        return out


@dataclass(frozen=True)
class Known:
    """A model with its answer, worked out by hand."""

    name: str
    make: Callable[[], nn.Module]
    inputs: Any
    macs: int
    params: int


KNOWN = (
    Known("linear", lambda: nn.Linear(3, 4), (2, 3), 24, 16),
    Known("linear over tokens", lambda: nn.Linear(3, 4, bias=False), (2, 5, 3), 120, 12),
    # 8 filters of 27 weights at each of 4 × 4 places
    Known("convolution", lambda: nn.Conv2d(3, 8, 3), (1, 3, 6, 6), 3456, 224),
    # one filter of 9 weights for each of 4 channels at 36 places
    Known("depthwise", lambda: nn.Conv2d(4, 4, 3, padding=1, groups=4), (1, 4, 6, 6), 1296, 40),
    # each of 3 · 4 input places meets 2 filters of 4 weights per channel
    Known("transposed", lambda: nn.ConvTranspose2d(3, 2, 2, stride=2), (1, 3, 2, 2), 96, 26),
    Known("mlp", lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2)), (3, 8), 480, 178),
    Known("residual", lambda: Residual(nn.Linear(4, 4), in_place=True), (2, 4), 32, 20),
    Known("shared", lambda: Repeated(nn.Linear(4, 4), 3), (2, 4), 96, 20),
    # steps · batch · 4 gates · (input + hidden) · hidden
    Known("lstm", lambda: nn.LSTM(3, 2), (5, 7, 3), 1400, 56),
    # in-projection 5·24·8, scores 2·5·5·4, weighted values 2·5·5·4, out-projection 5·8·8, for one sequence
    Known("attention", lambda: nn.MultiheadAttention(8, 2, batch_first=True), [(1, 5, 8)] * 3, 1680, 288),
    Known("nothing", nn.Identity, (2, 3), 0, 0),
)
