"""torch.profiler's own FLOPs on what it counts oddly; test_live.py and test_running.py run it on models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from peer_cases import Function
from torch import nn

import fxcost
from tests.conventions.tools import profiler

R, S = torch.randn, F.scaled_dot_product_attention
QKV = (4, 8), (6, 8), (6, 8)
IMAGES, GROUPS = ((2, 3, 4, 8), (2, 3, 6, 8), (2, 3, 6, 8)), ((2, 4, 4, 8), (2, 2, 4, 8), (2, 2, 4, 6))


def packed(kind: Callable[..., nn.Module], **options: Any) -> nn.Module:
    """A recurrent layer on sequences of 6 and 3 steps."""
    layer = kind(4, 5, **options)

    def run(x: torch.Tensor) -> torch.Tensor:
        return layer(nn.utils.rnn.pack_padded_sequence(x, torch.tensor([6, 3])))[0].data

    made = Function(run)
    made.layer = layer
    return made


CALLS: dict[str, tuple[Callable[..., Any], tuple[tuple[int, ...], ...]]] = {
    "attention on matrices": (lambda q, k, v: S(q, k, v, scale=1.0), QKV),
    "attention with a mask": (lambda q, k, v: S(q, k, v, attn_mask=q @ k.T), QKV),
    "attention in five dimensions": (lambda *t: S(*(x[None] for x in t), is_causal=True), IMAGES),
    "attention in one kernel": (lambda q, k, v: S(q, k, v, attn_mask=q[0, 0] @ k[0, 0].T), IMAGES),
    "attention with a mask for each head": (lambda q, k, v: S(q, k, v, attn_mask=q[0] @ k[0].mT), IMAGES),
    "attention on rows that are apart": (lambda q, k, v: S(q, k.mT.contiguous().mT, v), IMAGES),
    "attention with dropout": (lambda q, k, v: S(q, k, v, dropout_p=0.5), IMAGES),
    "attention with shared heads": (lambda q, k, v: S(q, k, v, enable_gqa=True), GROUPS),
    "operands of unlike size": (lambda a, b: (a + b) * b + 1 - b.add_(a) + torch.add(a, b), ((3, 1), (4, 3, 5))),
    "whole numbers": (lambda x: x[torch.arange(3) * 2 + 1] + torch.tensor(1.0) * 3, ((6, 2),)),
    "copies": (lambda x: x.repeat(2, 1, 3), ((3, 4),)),
    "string padding": (
        lambda x, w: F.conv2d(x, w, padding="same") + F.conv2d(x, w, padding=1),
        ((1, 3, 5, 5), (3, 3, 3, 3)),
    ),
    "a linear layer on a transposed input": (
        lambda x, w, b: F.linear(x.transpose(0, 1), w, b) + b,
        ((4, 3, 8), (5, 8), (5,)),
    ),
}
MODULES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "packed lstm": (lambda: packed(nn.LSTM), (6, 2, 4)),
    "packed gru": (lambda: packed(nn.GRU, bidirectional=True), (6, 2, 4)),
    "projected": (lambda: nn.LSTM(4, 5, 2, proj_size=3, bidirectional=True), (6, 2, 4)),
    "lstm": (lambda: nn.LSTM(4, 5, 2, dropout=0.3, bidirectional=True), (6, 2, 4)),
    "gru": (lambda: nn.GRU(4, 5, 2, dropout=0.3, batch_first=True), (6, 2, 4)),
    "drops": (lambda: nn.Sequential(nn.Dropout(), nn.Dropout2d(), nn.AlphaDropout()), (2, 3, 4, 5)),
}


@pytest.mark.parametrize("name", CALLS)
def test_functions(name: str) -> None:
    """On tensors that ask for no gradient."""
    function, shapes = CALLS[name]
    model, inputs = Function(function).requires_grad_(False), tuple(R(*shape) for shape in shapes)
    assert fxcost.analyze(model, inputs).counts("torch-profiler") == profiler(model, inputs)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", MODULES)
@pytest.mark.filterwarnings("ignore:LSTM with projections")
def test_modules(name: str, training: bool) -> None:
    """In both modes: dropout multiplies."""
    make, shape = MODULES[name]
    model, x = make().train(training), R(*shape)
    assert fxcost.analyze(model, (x,)).counts("torch-profiler") == profiler(model, (x,))


def test_a_mask_that_is_trained() -> None:
    """PyTorch has no kernel for its gradient, and takes the products one by one."""

    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mask = nn.Parameter(R(4, 6))

        def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
            return S(q, k, v, attn_mask=self.mask * 2)

    model, inputs = Masked(), tuple(R(*shape) for shape in IMAGES)
    printed = profiler(model, inputs)
    assert printed == fxcost.analyze(model, inputs).counts("torch-profiler")
    frozen = Masked().requires_grad_(False)
    assert profiler(frozen, inputs) == fxcost.analyze(frozen, inputs).counts("torch-profiler") != printed


@pytest.mark.parametrize("function", [torch.linalg.det, torch.linalg.matrix_exp, lambda x: torch.cdist(x, x)])
def test_what_runs_operators_inside_is_refused(function: Callable[..., Any]) -> None:
    """The profiler counts them, and no record has them."""
    x = R(30, 30)
    assert profiler(Function(function), (x,))["flops"] > 0
    with pytest.raises(fxcost.ConventionError, match="runs inside"):
        fxcost.analyze(Function(function), (x,)).count("torch-profiler")
