"""Pointwise fusion: which operators join which kernel, and what need not be moved any more."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

import fxcost
from fxcost.speed.fusion import kernels

X = 4 * 2 * 3 * 8 * 8
"""Bytes of an image of shape (2, 3, 8, 8)."""


def moved(function, *shapes):
    """(bytes unfused, bytes fused, kernels fused) of a function."""
    report = fxcost.analyze(function, list(shapes or [(2, 3, 8, 8)]))
    alone, together = kernels(report.nodes, "none"), kernels(report.nodes, "pointwise")
    assert sum(k.bytes_moved for k in alone) == report.cost.bytes_moved
    assert sum(len(k.operations) for k in together) == len(alone)
    return report.cost.bytes_moved, sum(k.bytes_moved for k in together), len(together)


def test_a_chain_reads_and_writes_once():
    """Three operators on elements: in place of three reads and writes, one of each."""
    assert moved(lambda x: x.relu().exp().neg()) == (6 * X, 2 * X, 1)


def test_what_others_read_is_written():
    """y is needed by the matrix product too: it is written, though the addition need not read it."""

    def function(x):
        y = x.relu()
        return y + 1, y @ y

    assert moved(function) == (2 * X + 2 * X + 2 * X, 2 * X + X + 2 * X, 2)


def test_results_of_the_model_are_written():
    """An intermediate that the model returns stays in memory."""

    def function(x):
        y = x.relu()
        return y, y.exp()

    assert moved(function) == (4 * X, 3 * X, 1)


def test_in_place_writes_count_once():
    """relu_ and add_ on what a convolution just made: only the last state is written."""
    conv = nn.Conv2d(3, 3, 1, bias=False)
    assert moved(lambda x: conv(x).relu_().add_(1))[:2] == (2 * X + 36 + 4 * X, 2 * X + 36)


def test_batch_norm_fuses_if_its_statistics_are_fixed():
    """In eval mode it works element by element; in training mode it first needs all of them, and counts batches."""
    block = nn.Sequential(nn.Conv2d(3, 3, 1, bias=False), nn.BatchNorm2d(3), nn.ReLU())
    evaluated = moved(block.eval())
    assert evaluated[2] == 1
    assert evaluated[1] == evaluated[0] - 4 * X
    assert moved(block.train())[2] == 3  # convolution, counter, batch norm with ReLU


def test_a_residual_joins_the_later_of_its_inputs():
    """The skip connection is read from memory, the convolution's result is not."""
    conv = nn.Conv2d(3, 3, 1, bias=False)
    assert moved(lambda x: (conv(x) + x).relu()) == (2 * X + 36 + 3 * X + 2 * X, 2 * X + 36 + X, 1)


def test_a_broadcast_needs_a_kernel_of_its_own():
    """A gate per channel has fewer elements than what it scales, so the scaling can't join it."""
    assert moved(lambda x: x * x.mean((2, 3), keepdim=True).sigmoid())[2] == 2


def test_an_overwritten_tensor_is_read_first():
    """The product reads y before relu_ changes it: relu_ can't go back to where y was made."""

    def function(x):
        y = x.exp()
        z = y @ y
        return y.relu_(), z

    assert moved(function)[2] == 3


def test_a_part_that_is_overwritten_keeps_the_rest():
    """Writing one row does not make the other rows needless."""

    def function(x):
        y = x.exp()
        y[0].relu_()
        return y.sum()

    report = fxcost.analyze(function, (4, 5))
    assert sum(k.bytes_moved for k in kernels(report.nodes, "pointwise")) == report.cost.bytes_moved


CHOICES = {
    "relu": F.relu,
    "relu_": lambda x: x.relu_(),
    "add": lambda x: x + x,
    "t": lambda x: x.transpose(0, 1),
    "matmul": lambda x: x @ x,
    "clone": lambda x: x.clone(),
    "softmax": lambda x: x.softmax(-1),
    "half": lambda x: x.to(torch.float16).to(torch.float32),
}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(sorted(CHOICES)), min_size=1, max_size=8), st.booleans())
def test_fusion_never_moves_more_and_never_less_than_it_must(names, keep):
    """Whatever the operators: between the unfused traffic and the model's own inputs and outputs."""

    def function(x):
        x = x.clone()
        first = x
        for name in names:
            x = CHOICES[name](x)
        return (x, first) if keep else x

    report = fxcost.analyze(function, (6, 6))
    together = sum(k.bytes_moved for k in kernels(report.nodes, "pointwise"))
    assert 2 * 144 <= together <= report.cost.bytes_moved


@pytest.mark.parametrize("fusion", ["none", "pointwise"])
def test_nothing_is_lost(fusion):
    """Each operator that works is in exactly one kernel, in its own order."""
    report = fxcost.analyze(nn.Sequential(nn.Linear(4, 4), nn.GELU(), nn.LayerNorm(4)), (2, 4))
    found = [op for kernel in kernels(report.nodes, fusion) for _, op in kernel.operations]
    assert [str(op.record.op) for op in found] == [
        "aten.addmm.default",
        "aten.gelu.default",
        "aten.native_layer_norm.default",
    ]


@pytest.mark.parametrize("dtype", [None, "float16"])
@pytest.mark.parametrize("fusion", ["none", "pointwise"])
def test_a_norm_that_pytorch_takes_apart_is_one_kernel(dtype, fusion):
    """GPUs run `_fused_rms_norm`: each element is read and written once. Written by hand it stays in parts."""

    def by_hand(x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)

    size = 2 if dtype else 4
    (whole,) = kernels(fxcost.analyze(nn.RMSNorm(64), (8, 64), dtype=dtype).nodes, fusion)
    assert whole.bytes_moved == size * (2 * 8 * 64 + 64)
    apart = kernels(fxcost.analyze(by_hand, (8, 64), dtype=dtype).nodes, fusion)
    assert sum(kernel.bytes_moved for kernel in apart) > whole.bytes_moved


def test_what_follows_a_norm_still_sees_its_result():
    """Additions after a norm can join it, as compilers do: one pass over memory for all."""

    def model(x):
        return F.rms_norm(x, (64,)) + 1.0 + 2.0

    (whole,) = kernels(fxcost.analyze(model, (8, 64)).nodes, "pointwise")
    assert whole.bytes_moved == 4 * 2 * 8 * 64
