"""Tools in the mode in which they run a model: eval or training, gradients or none, and PyTorch's fast path.

The tools themselves are run, where they are installed, on the model as it is handed over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tools import TOOLS
from torch import nn

import fxcost


def encoder(**options: Any) -> nn.TransformerEncoder:
    options = {"batch_first": True, **options}
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 4, 24, **options), 2, enable_nested_tensor=False)


class Attention(nn.Module):
    """Attention on one tensor, with the weights or without."""

    def __init__(self, weights: bool = False, **options: Any) -> None:
        super().__init__()
        self.attend, self.weights = nn.MultiheadAttention(16, 4, **{"batch_first": True, **options}), weights
        self.last = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.attend(x, x, x, need_weights=self.weights)[0])


class Cross(nn.Module):
    """Attention on two tensors, which has no fast path."""

    def __init__(self) -> None:
        super().__init__()
        self.attend = nn.MultiheadAttention(16, 4, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x + 1
        return self.attend(x, y, y)[0]


class Stacked(nn.Module):
    """Layers between a stem and a head; some are not the model's own children."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.body, self.head = nn.Linear(16, 16), encoder(), nn.Linear(16, 4)
        self.own = nn.TransformerEncoderLayer(16, 4, 24, batch_first=True, activation="gelu", norm_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.own(self.body(self.stem(x))).mean(1))


class Pictures(nn.Module):
    """Batch norm, dropout and their like."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.PReLU(), nn.Dropout(0.3))
        self.b = nn.Sequential(nn.BatchNorm2d(8, track_running_stats=False), nn.BatchNorm2d(8, affine=False))
        self.c = nn.Sequential(nn.InstanceNorm2d(8, affine=True, track_running_stats=True), nn.AlphaDropout(), nn.RReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.dropout(self.c(self.b(self.a(x))), 0.2, training=self.training)
        return F.dropout2d(x, 0.1, self.training).mean((2, 3))


class Handmade(nn.Module):
    """Attention by hand, with dropout while training."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.last, self.p = nn.Linear(16, 48), nn.Linear(16, 16), 0.1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, 2, 8)).permute(2, 0, 3, 1, 4)
        x = F.scaled_dot_product_attention(q, k, v, dropout_p=self.p if self.training else 0.0)
        return self.last(x.transpose(1, 2).flatten(2))


class Recurrent(nn.Module):
    """Recurrent layers with dropout between them."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.LSTM(16, 8, 2, dropout=0.2, batch_first=True), nn.GRU(8, 5, 2, dropout=0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(self.a(x)[0])[0]


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "encoder": (encoder, (2, 5, 16)),
    "layer": (lambda: nn.TransformerEncoderLayer(16, 4, 24, batch_first=True), (2, 5, 16)),
    "sequence first": (lambda: encoder(batch_first=False), (5, 2, 16)),
    "odd heads": (lambda: nn.TransformerEncoderLayer(15, 3, 24, batch_first=True), (2, 5, 15)),
    "without bias": (lambda: encoder(bias=False), (2, 5, 16)),
    "other activation": (lambda: encoder(activation=F.silu), (2, 5, 16)),
    "unbatched": (encoder, (5, 16)),
    "attention": (Attention, (2, 5, 16)),
    "attention with weights": (lambda: Attention(True), (2, 5, 16)),
    "attention, sequence first": (lambda: Attention(batch_first=False), (5, 2, 16)),
    "attention without bias": (lambda: Attention(bias=False), (2, 5, 16)),
    "attention with more keys": (lambda: Attention(add_bias_kv=True, add_zero_attn=True), (2, 5, 16)),
    "cross attention": (Cross, (2, 5, 16)),
    "stacked": (Stacked, (2, 5, 16)),
    "pictures": (Pictures, (2, 3, 9, 9)),
    "by hand": (Handmade, (2, 5, 16)),
    "recurrent": (Recurrent, (2, 5, 16)),
}


def frozen(model: nn.Module, names: tuple[str, ...] = ("",)) -> nn.Module:
    """The model, with the parameters below some modules frozen."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not name.startswith(names))
    return model


STATES: dict[str, Callable[[nn.Module], nn.Module]] = {
    "eval": lambda m: m.eval(),
    "eval, frozen": lambda m: frozen(m).eval(),
    "training": lambda m: m.train(),
    "training, frozen": lambda m: frozen(m).train(),
    "eval, but for the last": lambda m: frozen(m, ("stem", "body", "own", "layers.0", "attend", "qkv", "a")).eval(),
    "eval, but for the first": lambda m: frozen(m, ("body", "own", "layers.1", "last", "b")).eval(),
    "mixed modes": lambda m: list(m.train().children())[0].eval() and m,
}


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.filterwarnings("ignore")
def test_the_tool_prints_the_same_in_every_state(tool: str, name: str) -> None:
    """Every figure, of a model frozen or not, in training mode or not; what the tool raises on is refused."""
    package, run = TOOLS[tool]
    pytest.importorskip(package)
    if tool == "torchstat":
        pytest.skip("takes one image")
    kind, shape = MODELS[name]
    for state, prepared in STATES.items():
        torch.manual_seed(0)
        model, x = prepared(kind()), torch.randn(shape)
        report = fxcost.analyze(model, (x,))
        try:
            expected = run(model, (x,))
        except Exception:
            with pytest.raises(fxcost.ConventionError):
                report.counts(tool)
            continue
        found = report.counts(tool)
        assert {figure: found[figure] for figure in expected} == expected, state
