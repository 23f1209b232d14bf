"""Flex attention in a training step: one operator each way, whatever `score_mod` captures, and nothing left behind."""

import pytest
import torch
from torch import nn

import fxcost

flex = pytest.importorskip("torch.nn.attention.flex_attention")
HEADS, LENGTH, DIM = 4, 16, 2


def heads(x):
    return x.view(2, LENGTH, HEADS, DIM).transpose(1, 2)


class Attention(nn.Module):
    """Attention whose scores are moved by what `score_mod` says."""

    def __init__(self, score_mod=None, block_mask=None):
        super().__init__()
        self.qkv = nn.Linear(8, 3 * HEADS * DIM)
        self.bias = nn.Parameter(torch.zeros(HEADS))
        self.score_mod, self.block_mask = score_mod, block_mask

    def forward(self, x):
        q, k, v = map(heads, self.qkv(x).chunk(3, -1))
        modify = None if self.score_mod is None else lambda s, b, h, i, j: self.score_mod(self, s, b, h, i, j)
        return flex.flex_attention(q, k, v, score_mod=modify, block_mask=self.block_mask)


class Plain(Attention):
    """The same by PyTorch's attention."""

    def forward(self, x):
        q, k, v = map(heads, self.qkv(x).chunk(3, -1))
        return nn.functional.scaled_dot_product_attention(q, k, v)


def step(model):
    return fxcost.analyze(model, (2, LENGTH, 8), training=True, strict=True).training


def test_the_products_are_those_of_plain_attention():
    """Four of them on the way back, each as large as one of the two on the way there."""
    ours, plain = step(Attention()), step(Plain())
    assert (ours.forward.macs, ours.backward.macs) == (plain.forward.macs, plain.backward.macs)
    (node,) = [n for n in ours.nodes if n.name.startswith("flex_attention")]
    assert node.cost.backward.macs == 4 * 2 * HEADS * LENGTH * LENGTH * DIM


def test_a_captured_parameter_gets_its_gradient():
    """`score_mod` adds a learned bias: each score's gradient is added to it, and it is among the gradients."""
    learned, without = step(Attention(lambda m, s, b, h, i, j: s + m.bias[h])), step(Attention())
    assert learned.gradient_bytes == without.gradient_bytes + 4 * HEADS
    scores = 2 * HEADS * LENGTH * LENGTH
    assert learned.backward.other_flops - without.backward.other_flops == scores


def test_a_computed_capture_is_differentiated_further():
    """What `score_mod` captures may itself depend on parameters."""

    class Computed(Attention):
        def forward(self, x):
            q, k, v = map(heads, self.qkv(x).chunk(3, -1))
            bias = self.bias * 2
            return flex.flex_attention(q, k, v, score_mod=lambda s, b, h, i, j: s * bias[h] + bias[0])

    assert step(Computed()).gradient_bytes == 4 * sum(p.numel() for p in Computed().parameters())


def test_block_masks():
    """A mask of blocks is no parameter: the cost is dense, and says what PyTorch saves of it."""
    mask = flex.create_block_mask(lambda b, h, i, j: i >= j, None, None, LENGTH, LENGTH, device="cpu")
    masked, plain = step(Attention(block_mask=mask)), step(Attention())
    assert masked.backward.macs == plain.backward.macs


def test_nothing_is_left_behind():
    """PyTorch's own gradient, validation and compilation are back afterwards."""
    kernels = flex.flex_attention_hop.py_kernels
    before = kernels[torch._C.DispatchKey.Autograd], flex._validate_device, flex._FLEX_ATTENTION_DISABLE_COMPILE_DEBUG
    step(Attention())
    after = kernels[torch._C.DispatchKey.Autograd], flex._validate_device, flex._FLEX_ATTENTION_DISABLE_COMPILE_DEBUG
    assert after == before
