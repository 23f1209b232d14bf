"""Eager-mode quantization: MACs as of the float layer, and what (de)quantizing adds."""

import warnings

import pytest
import torch
from torch import nn

import fxcost
from fxcost.records.recording import OpRecord, TensorSpec
from fxcost.rules.quantized import RULES

quantized = torch.ops.quantized


def spec(*shape, dtype=torch.quint8):
    """A quantized tensor's record."""
    return TensorSpec(shape, dtype)


def price(op, *args, out):
    """What one run costs by its rule."""
    key = op if op in RULES else op.overloadpacket
    return RULES[key].function(OpRecord(op, args, (out,)))


@pytest.mark.parametrize(
    ("op", "x", "weight", "out", "macs"),
    [
        (quantized.conv2d.new, (2, 6, 8, 8), (4, 3, 3, 3), (2, 4, 6, 6), 2 * 4 * 6 * 6 * 3 * 9),
        (quantized.conv2d_relu.new, (1, 4, 5, 5), (4, 1, 3, 3), (1, 4, 5, 5), 4 * 25 * 9),
        (quantized.conv1d.default, (2, 3, 10), (5, 3, 4), (2, 5, 7), 2 * 5 * 7 * 12),
        (quantized.conv_transpose2d.default, (1, 6, 4, 4), (6, 2, 3, 3), (1, 2, 6, 6), 6 * 16 * 2 * 9),
        (quantized.linear.default, (2, 3, 7), (5, 7), (2, 3, 5), 2 * 3 * 5 * 7),
        (quantized.linear_relu.default, (4, 7), (5, 7), (4, 5), 4 * 5 * 7),
    ],
    ids=["conv2d", "depthwise", "conv1d", "transposed", "linear", "linear_relu"],
)
def test_contractions(op, x, weight, out, macs):
    """As the float layer's, with five operations to requantize each output."""
    cost = price(op, spec(*x), spec(*weight, dtype=torch.qint8), 1.0, 0, out=spec(*out))
    assert cost.macs == macs
    assert cost.other_flops == 5 * spec(*out).numel


def test_a_fused_addition_dequantizes_what_it_adds():
    """Two operations to dequantize, one to add, five to requantize."""
    x, weight, out = spec(1, 3, 4, 4), spec(2, 3, 1, 1, dtype=torch.qint8), spec(1, 2, 4, 4)
    cost = price(quantized.conv2d_add_relu.default, x, out, weight, 1.0, 0, out=out)
    assert (cost.macs, cost.other_flops) == (32 * 3, 32 * 8)


@pytest.mark.parametrize(
    ("op", "args", "flops", "transcendentals"),
    [
        (quantized.add.default, (spec(6), spec(6), 1.0, 0), 6 * (2 + 2 + 1 + 5), 0),
        (quantized.mul.default, (spec(6), spec(6), 1.0, 0), 6 * (2 + 2 + 1 + 5), 0),
        (quantized.add_scalar.default, (spec(6), 1.0), 6 * (2 + 1 + 5), 0),
        (quantized.hardswish.default, (spec(6), 1.0, 0), 6 * (2 + 5 + 5), 0),
        (quantized.sigmoid.default, (spec(6), 1.0, 0), 6 * (2 + 4 + 5), 6),
        (quantized.cat.default, ((spec(2), spec(4)), 0, 1.0, 0), 6 * (2 + 5), 0),
    ],
    ids=["add", "mul", "add_scalar", "hardswish", "sigmoid", "cat"],
)
def test_elementwise(op, args, flops, transcendentals):
    """Operands are dequantized, the result requantized."""
    cost = price(op, *args, out=spec(6))
    assert (cost.other_flops, cost.transcendentals) == (flops, transcendentals)


def test_dynamic_linear():
    """The float input's range and its quantization, then one scaling for each output."""
    x, weight = spec(4, 7, dtype=torch.float32), spec(5, 7, dtype=torch.qint8)
    cost = price(quantized.linear_dynamic.default, x, weight, False, out=spec(4, 5, dtype=torch.float32))
    assert (cost.macs, cost.other_flops) == (4 * 5 * 7, 28 * 7 + 20)
    half = price(quantized.linear_dynamic_fp16.default, x, weight, out=spec(4, 5, dtype=torch.float32))
    assert (half.macs, half.other_flops) == (4 * 5 * 7, 0)


def test_a_quantized_model_has_the_float_models_macs():
    """A small network, statically quantized, recorded on real tensors: nothing is uncosted."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.quant, self.dequant = torch.ao.quantization.QuantStub(), torch.ao.quantization.DeQuantStub()
            self.conv, self.relu, self.linear = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Linear(4 * 36, 5)

        def forward(self, x):
            return self.dequant(self.linear(self.relu(self.conv(self.quant(x))).flatten(1)))

    if torch.backends.quantized.engine in ("none", None):
        pytest.skip("this PyTorch has no quantization engine")
    net, x = Net().eval(), torch.rand(2, 3, 8, 8)
    plain = fxcost.analyze(net, x)
    net.qconfig = torch.ao.quantization.get_default_qconfig(torch.backends.quantized.engine)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prepared = torch.ao.quantization.prepare(torch.ao.quantization.fuse_modules(net, [["conv", "relu"]]))
        prepared(x)
        converted = torch.ao.quantization.convert(prepared)
        report = fxcost.analyze(converted, x)
    assert report.macs == plain.macs == 2 * 4 * 36 * 27 + 2 * 5 * 144
    assert report.uncosted == {}
    assert report.capture == "real"
