"""The numbers and formulas of articles on counting: docs/articles.md states each verdict that is proven here.

Printed numbers are reproduced by the conventions of the tools that the articles used. Formulas are compared with what
a plain Python implementation does, on numbers that count their operations, or with PyTorch itself.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product
from math import prod
from typing import Any

import numpy as np
import pytest
import torch
from oracle import Number, counting, numbers
from peer_cases import build, network
from torch import nn

import fxcost
from fxcost.compat.thop import clever_format
from fxcost.report import Report

# What the articles print ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def alexnet() -> Report:
    """The article's AlexNet at 224 × 224: five convolutions without bias, three linear layers with."""
    model, inputs = build("article_alexnet")
    return fxcost.analyze(model, inputs)


def test_alexnet_under_torchsummary(alexnet: Report) -> None:
    """20 rows, 61,264,904 parameters, 0.57 / 9.96 / 233.71 / 244.24 MB."""
    found = alexnet.counts("torchsummary")
    assert (found["rows"], found["Total params"]) == (20, 61264904)
    sizes = ("Input size (MB)", "Forward/backward pass size (MB)", "Params size (MB)", "Estimated Total Size (MB)")
    assert [found[size] for size in sizes] == ["0.57", "9.96", "233.71", "244.24"]


@pytest.mark.parametrize("version", ["thop", "thop-0.0.31"])
def test_alexnet_under_thop(alexnet: Report, version: str) -> None:
    """861301280.0 and 61264904.0 in both versions: convolutions and linear layers, no bias, no pools."""
    assert alexnet.counts(version) == {"total_ops": 861301280, "total_params": 61264904}
    assert alexnet.count("macs") == 861301280 == 802_679_328 + 58_621_952


def test_alexnet_under_torchstat(alexnet: Report) -> None:
    """4.98 MB, 1.72 G MAdd, 862.36 M Flops, 244.14 MB of memory traffic; and what they are made of."""
    found = alexnet.counts("torchstat")
    printed = [found[name] for name in ("Total memory", "Total MAdd", "Total Flops", "Total MemR+W")]
    assert printed == ["4.98MB", "1.72GMAdd", "862.36MFlops", "244.14MB"]
    relu, pool = 589_984, 473_632
    assert (found["MAdd"], found["Flops"]) == (1_723_494_744, 861_301_280 + relu + pool)
    assert found["MemR"] + found["MemW"] == 255_998_656


def test_resnet50_at_batch_four() -> None:
    """16.446058496G and 25.557032M are thop 0.0.31's; 0.1.1 counts batch norm at 4 per element instead of 2."""
    model, _ = build("resnet50")
    report = fxcost.analyze(model, (4, 3, 224, 224))
    old, new = report.counts("thop-0.0.31"), report.counts("thop")
    assert clever_format([old["total_ops"], old["total_params"]], "%.9f")[0] == "16.446058496G"
    assert clever_format(old["total_params"], "%.6f") == "25.557032M"
    assert clever_format(new["total_ops"], "%.9f") == "16.534970368G"
    batch_norm, pool = 2 * 11_113_984, 50 * 2048
    assert old["total_ops"] == 4 * (fxcost.analyze(model, (1, 3, 224, 224)).macs + batch_norm + pool)
    assert report.params == sum(np.prod(p.shape) for p in model.parameters())


def test_resnet18_conv1_under_mmengine() -> None:
    """9,408 parameters, 118,013,952 flops (MACs) and 802,816 activations."""
    report = fxcost.analyze(network("resnet18")()[0].eval(), (1, 3, 224, 224))
    conv = report.cost_of("conv1")
    assert (report.modules["conv1"].parameters.params, conv.macs, conv.activations) == (9408, 118013952, 802816)


def accesses(model: nn.Module, *shape: int) -> int:
    """Memory accesses under the articles' model of no reuse."""
    return fxcost.analyze(model.eval(), shape).count("memory-accesses")


def test_accesses_of_one_layer() -> None:
    """A 3×3 convolution of 256 channels to 512 at 28 × 28, and its depthwise-separable replacement."""
    parts = (28 * 28 * 256 * 9 * 512, 28 * 28 * 512, 9 * 256 * 512 + 512)
    assert parts == (924_844_032, 401_408, 1_180_160)
    assert accesses(nn.Conv2d(256, 512, 3, padding=1), 1, 256, 28, 28) == sum(parts) == 926_425_600
    depthwise = accesses(nn.Conv2d(256, 256, 3, padding=1, groups=256), 1, 256, 28, 28)
    pointwise = accesses(nn.Conv2d(256, 512, 1), 1, 256, 28, 28)
    assert (depthwise, pointwise, depthwise + pointwise) == (2_009_600, 103_293_440, 105_303_040)


class MobileNet(nn.Module):
    """Folded batch norm (a bias each) and stride-2 convolutions that halve sizes rounding down, as the article has it.

    Without padding an odd size is halved so; an even one is with one position at its start.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size, self.layers = size, nn.ModuleList()

    def add(self, c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        """Append a convolution."""
        padding = tuple(1 - n % 2 for n in self.size) if stride == 2 else kernel // 2
        self.layers.append(nn.Conv2d(c_in, c_out, kernel, stride, padding, groups=groups))
        self.size = (self.size[0] // stride, self.size[1] // stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


def mobilenet_v1(size: tuple[int, int] = (126, 224)) -> MobileNet:
    """V1 1.0, cut after the fifth block of 512 channels."""
    model, c = MobileNet(size), 32
    model.add(3, c, 3, 2)
    for c_out, stride in [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5]:
        model.add(c, c, 3, stride, c)
        model.add(c, c_out, 1)
        c = c_out
    return model


def mobilenet_v2(width: float, size: tuple[int, int] = (126, 224)) -> MobileNet:
    """V2 up to the end of the 96-channel stage; channels rounded to multiples of 8. Additions are not counted."""

    def rounded(channels: float) -> int:
        nearest = max(8, int(channels + 4) // 8 * 8)
        return nearest + 8 if nearest < 0.9 * channels else nearest

    model, c = MobileNet(size), rounded(32 * width)
    model.add(3, c, 3, 2)
    for expansion, channels, blocks, first in [
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
    ]:
        for stride in [first] + [1] * (blocks - 1):
            hidden = c * expansion
            if expansion != 1:
                model.add(c, hidden, 1)
            model.add(hidden, hidden, 3, stride, hidden)
            c = rounded(channels * width)
            model.add(hidden, c, 1)
    return model


@pytest.mark.parametrize(
    ("make", "params", "macs", "memory"),
    [
        (mobilenet_v1, 1_605_760, 254_761_472, 282_612_864),
        (partial(mobilenet_v2, 1.0), 534_464, 111_053_376, 140_080_192),
        (partial(mobilenet_v2, 1.4), 1_031_600, 214_212_096, 257_487_072),
    ],
    ids=["V1 1.0", "V2 1.0", "V2 1.4"],
)
def test_mobilenets(make: Callable[[], MobileNet], params: int, macs: int, memory: int) -> None:
    """V1's 1.6 M, 255 M and 283 M, V2's parameters and MACs come out; V2's accesses (159 M, 286 M) do not."""
    model = make()
    report = fxcost.analyze(model.eval(), (1, 3, 126, 224))
    assert (report.params, report.macs, report.count("memory-accesses")) == (params, macs, memory)
    assert model.size == (7, 14)


# Formulas, against counted arithmetic ---------------------------------------------------------------------------------


def array(*shape: int) -> Any:
    """Numbers that count."""
    return numbers(torch.linspace(0.5, 1.5, prod(shape), dtype=torch.float64).reshape(shape))


def dot(a: Any, b: Any, start: Any = None) -> Any:
    """Sum of products, starting from `start` or from the first product."""
    for x, y in zip(a, b, strict=True):
        start = x * y if start is None else start + x * y
    return start


def convolve(c_in: int, c_out: int, k: int, h: int, w: int, groups: int = 1, bias: bool = False, batch: int = 1) -> int:
    """FLOPs of a k × k convolution with same padding, written out; zeros of the padding are multiplied too."""
    x, weight, r = array(batch, c_in, h, w), array(c_out, c_in // groups, k, k), k // 2
    biases, zero = array(c_out), Number(0.0)
    with counting() as tally:
        for n, o, i, j in product(range(batch), range(c_out), range(h), range(w)):
            first = o // (c_out // groups) * (c_in // groups)
            taps = [
                (x[n, first + c, i + a - r, j + b - r] if 0 <= i + a - r < h and 0 <= j + b - r < w else zero)
                for c, a, b in product(range(c_in // groups), range(k), range(k))
            ]
            dot(taps, weight[o].ravel(), biases[o] if bias else None)
    return tally.flops


def linear(rows: int, c_in: int, c_out: int, bias: bool) -> int:
    """FLOPs of a linear layer, written out."""
    x, weight, biases = array(rows, c_in), array(c_out, c_in), array(c_out)
    with counting() as tally:
        for row, o in product(range(rows), range(c_out)):
            dot(x[row], weight[o], biases[o] if bias else None)
    return tally.flops


SIZES = [(3, 4, 3, 4, 5), (2, 6, 1, 3, 3), (4, 2, 3, 2, 3)]


@pytest.mark.parametrize(("c_in", "c_out", "k", "h", "w"), SIZES)
def test_right_convolution(c_in: int, c_out: int, k: int, h: int, w: int) -> None:
    """(2·Ci·K² − 1)·H·W·Co, and without the −1 if biased; `exact` says so too, and a MAC is two FLOPs."""
    for bias in (False, True):
        counted = convolve(c_in, c_out, k, h, w, bias=bias)
        assert counted == (2 * c_in * k**2 - (not bias)) * h * w * c_out
        report = fxcost.analyze(nn.Conv2d(c_in, c_out, k, padding=k // 2, bias=bias), (1, c_in, h, w))
        assert report.count("exact") == counted
        assert report.macs == c_in * k**2 * h * w * c_out == convolve(c_in, c_out, k, h, w, bias=True) // 2
    two_terms = (c_in * k**2 + (c_in * k**2 - 1) + 1) * h * w * c_out
    assert two_terms == 2 * c_in * k**2 * h * w * c_out == convolve(c_in, c_out, k, h, w, bias=True)


def test_general_convolution() -> None:
    """B·Co·Po·(2·(Ci/g)·K − 1 + [b]): batch and groups."""
    for groups, bias in product((1, 2, 4), (False, True)):
        counted = convolve(4, 8, 3, 3, 2, groups, bias, batch=2)
        assert counted == 2 * 8 * 6 * (2 * (4 // groups) * 9 - 1 + bias)
        assert fxcost.analyze(nn.Conv2d(4, 8, 3, 1, 1, 1, groups, bias), (2, 4, 3, 2)).count("exact") == counted


@pytest.mark.parametrize(("rows", "c_in", "c_out"), [(1, 5, 3), (4, 3, 6)])
def test_linear_layers(rows: int, c_in: int, c_out: int) -> None:
    """(2I − 1)·O per row, 2·I·O if biased. `F·Cin·Cout + Cout` is wrong: a MAC is two FLOPs, each row has the bias."""
    assert linear(rows, c_in, c_out, False) == rows * (2 * c_in - 1) * c_out
    assert linear(rows, c_in, c_out, True) == 2 * rows * c_in * c_out != rows * c_in * c_out + c_out
    report = fxcost.analyze(nn.Linear(c_in, c_out), (rows, c_in))
    assert (report.macs, report.count("exact"), report.params) == (
        rows * c_in * c_out,
        linear(rows, c_in, c_out, True),
        (c_in + 1) * c_out,
    )


def test_conv1d_formula() -> None:
    """`Cin·K·Fout·Cout + Cout` is wrong in the same two ways: 2·Cin·K·Fout·Cout with bias."""
    c_in, k, c_out, length = 3, 5, 4, 7
    report = fxcost.analyze(nn.Conv1d(c_in, c_out, k, padding=k // 2), (1, c_in, length))
    assert report.flops == 2 * c_in * k * length * c_out != c_in * k * length * c_out + c_out
    assert report.params == k * c_in * c_out + c_out


def test_parameters_of_convolutions() -> None:
    """Cout·((Cin/g)·K² + [b]); `C_in·(C_out·K² + 1)` has the names the wrong way round."""
    for groups, bias in product((1, 2, 3), (False, True)):
        layer = nn.Conv2d(6, 12, 3, groups=groups, bias=bias)
        assert sum(p.numel() for p in layer.parameters()) == 12 * ((6 // groups) * 9 + bias)
    assert sum(p.numel() for p in nn.Conv2d(6, 12, 3).parameters()) != 6 * (12 * 9 + 1)
    assert sum(p.numel() for p in nn.Linear(6, 12).parameters()) == 6 * 12 + 12 != 6 * 12


def test_output_size() -> None:
    """floor((n + 2p − d·(k − 1) − 1) / s) + 1."""
    for n, k, p, d, s in product((7, 10), (1, 3), (0, 2), (1, 2), (1, 3)):
        if n + 2 * p >= d * (k - 1) + 1:
            out = nn.Conv1d(1, 1, k, s, p, d)(torch.empty(1, 1, n)).shape[-1]
            assert out == (n + 2 * p - d * (k - 1) - 1) // s + 1


def test_reads_of_a_convolution_with_stride() -> None:
    """`Hin·Win·Cin·K²·Cout` counts reads at input positions: s² too many for stride s; full reuse reads each once."""
    c_in, c_out, k, s, n = 4, 8, 2, 2, 12
    report = fxcost.analyze(nn.Conv2d(c_in, c_out, k, s, bias=False), (1, c_in, n, n))
    stated = n * n * c_in * k * k * c_out
    assert stated == s * s * report.macs, "no reuse: one read per multiply-accumulate"
    assert report.bytes_read == 4 * (c_in * n * n + c_in * c_out * k * k)


def test_grouped_convolution_divides_by_the_groups() -> None:
    """Parameters and MACs, without bias."""
    plain, grouped = (fxcost.analyze(nn.Conv2d(8, 16, 3, groups=g, bias=False), (1, 8, 6, 6)) for g in (1, 4))
    assert (plain.params, plain.macs) == (4 * grouped.params, 4 * grouped.macs)


def separable(c_in: int, c_out: int, k: int) -> nn.Module:
    """A depthwise and a pointwise convolution."""
    depthwise = nn.Conv2d(c_in, c_in, k, padding=k // 2, groups=c_in, bias=False)
    return nn.Sequential(depthwise, nn.Conv2d(c_in, c_out, 1, bias=False))


def test_depthwise_separable_formula() -> None:
    """The depthwise term has Cin, not Cout: right as one article has it, wrong in another unless Cin = Cout."""
    c_in, c_out, k, h, w = 8, 20, 3, 5, 6
    report = fxcost.analyze(separable(c_in, c_out, k), (1, c_in, h, w))
    assert report.macs == c_in * h * w * (k * k + c_out) == h * w * (k * k * c_in + c_in * c_out)
    assert report.params == k * k * c_in + c_in * c_out != k * k * c_out + c_in * c_out
    assert report.macs != h * w * (k * k * c_out + c_in * c_out)


def test_lstm_parameters() -> None:
    """4·Cin·h + 4·h² leaves out two biases of 4h; later layers take h·D, a projection changes the recurrent part."""
    c, h = 5, 7

    def params(**options: Any) -> int:
        return sum(p.numel() for p in nn.LSTM(c, h, **options).parameters())

    assert params() == 4 * c * h + 4 * h * h + 8 * h
    assert params(bias=False) == 4 * c * h + 4 * h * h
    assert params(num_layers=2) == params() + 4 * h * h + 4 * h * h + 8 * h
    assert params(bidirectional=True, num_layers=2) == 2 * params() + 2 * (4 * 2 * h * h + 4 * h * h + 8 * h)
    assert params(proj_size=3) == 4 * c * h + 4 * h * 3 + 8 * h + 3 * h


def test_lstm_step() -> None:
    """A step is 4h·(Cin + h) MACs; beside them 8h bias additions, 5h nonlinearities, 3h products and h additions.

    `… + h²` counts the element-wise part as if it were a product of matrices.
    """
    c, h = 3, 4
    x, state, cell = array(c), array(h), array(h)
    w_ih, w_hh, b_ih, b_hh = array(4 * h, c), array(4 * h, h), array(4 * h), array(4 * h)
    with counting() as products:
        rows = [dot(w_hh[r], state, dot(w_ih[r], x, Number(0.0))) for r in range(4 * h)]
    assert products.flops == 2 * 4 * h * (c + h)
    report = fxcost.analyze(nn.LSTMCell(c, h), [(1, c), [(1, h), (1, h)]])
    assert report.macs == 4 * h * (c + h) != 4 * h * (c + h) + h * h
    with counting() as biases:
        gates = [row + b_ih[r] + b_hh[r] for r, row in enumerate(rows)]
    assert biases.flops == 8 * h
    with counting() as rest:
        for i in range(h):
            new = gates[h + i] * cell[i] + gates[i] * gates[2 * h + i]
            gates[3 * h + i] * new
    assert rest.flops == 3 * h + h


def test_layer_norm() -> None:
    """2·dim parameters whatever the tokens; 2·N·dim FLOPs are the affine step alone, mean and variance come on top."""
    tokens, dim = 5, 8
    assert sum(p.numel() for p in nn.LayerNorm(dim).parameters()) == 2 * dim != 2 * tokens
    assert sum(p.numel() for p in nn.LayerNorm(dim, bias=False).parameters()) == dim
    x, weight, bias = array(dim), array(dim), array(dim)
    with counting() as tally:
        mean = sum(x[1:], x[0]) / dim
        centred = [v - mean for v in x]
        squares = [v * v for v in centred]
        scale = sum(squares[1:], squares[0]) / dim + 1e-5
        normal = [v / scale for v in centred]
    with counting() as affine:
        [v * w + b for v, w, b in zip(normal, weight, bias, strict=True)]
    assert affine.flops == 2 * dim
    assert tally.flops > 4 * dim, "statistics and scaling cost more than twice the affine step"
    report = fxcost.analyze(nn.LayerNorm(dim), (tokens, dim))
    assert report.flops > 6 * tokens * dim
    assert fxcost.analyze(nn.Sequential(nn.LayerNorm(dim)), (tokens, dim)).count("fvcore") == 5 * tokens * dim


def test_batch_norm_in_eval_is_two_per_element() -> None:
    """What the articles say of batch norm holds in eval mode: a product and a sum, by statistics that are known."""
    report = fxcost.analyze(nn.Sequential(nn.BatchNorm2d(4)).eval(), (2, 4, 5, 5))
    assert report.count("fvcore") == 2 * 2 * 4 * 25


class Block(nn.Module):
    """Self-attention with output projection, and a feed-forward network, without anything else."""

    def __init__(self, dim: int, heads: int, ratio: int) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.up, self.down, self.heads = nn.Linear(dim, ratio * dim), nn.Linear(ratio * dim, dim), heads

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, n, dim = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        x = (q @ k.transpose(-2, -1)).softmax(-1) @ v
        return self.down(self.up(self.out(x.transpose(1, 2).reshape(b, n, dim))))


def test_transformer_block() -> None:
    """Q/K/V + QKᵀ + AV + FFN lacks the output projection, N·dim²: 4·N·dim² + 2·N²·dim + 2·ratio·N·dim² in all."""
    n, dim, heads, ratio = 6, 16, 4, 4
    report = fxcost.analyze(Block(dim, heads, ratio), (1, n, dim))
    one_product = heads * n * (dim // heads) * n
    stated = 3 * n * dim * dim + 2 * one_product + 2 * n * dim * dim * ratio
    assert report.macs == stated + n * dim * dim == 4 * n * dim**2 + 2 * n**2 * dim + 2 * ratio * n * dim**2


def test_pooling_has_no_parameters_and_max_pooling_no_macs() -> None:
    """But mmengine counts adaptive average pooling at one per input element, and a downsample branch has both."""
    pools = nn.Sequential(nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1))
    report = fxcost.analyze(pools, (1, 3, 8, 8))
    assert (report.params, report.macs, report.count("mmengine")) == (0, 0, 3 * 4 * 4)
    resnet = fxcost.analyze(network("resnet18")()[0].eval(), (1, 3, 224, 224))
    assert resnet.cost_of("layer2.0.downsample").macs == 64 * 128 * 28 * 28
    assert resnet.modules["layer2.0.downsample"].parameters.params == 64 * 128 + 2 * 128


def test_model_size_is_four_bytes_per_parameter_in_float32() -> None:
    """And FLOPs are about twice the MACs."""
    model = network("resnet18")()[0].eval()
    report = fxcost.analyze(model, (1, 3, 224, 224))
    assert report.param_bytes == 4 * report.params
    assert 2 * report.macs < report.flops < 2.02 * report.macs
    assert fxcost.analyze(model, (1, 3, 224, 224), dtype="float16").param_bytes == 2 * report.params


# Advice, as comparisons -----------------------------------------------------------------------------------------------


def macs(layers: nn.Module, *shape: int) -> int:
    """MACs of layers on one input."""
    return fxcost.analyze(layers, (1, *shape)).macs


def test_depthwise_separable_factor() -> None:
    """K²·Cout / (K² + Cout): 8.84 for 3 × 3 and 512 outputs; the accesses above differ by 8.80."""
    plain = macs(nn.Conv2d(256, 512, 3, padding=1, bias=False), 256, 28, 28)
    split = macs(separable(256, 512, 3), 256, 28, 28)
    assert plain * (9 + 512) == split * 9 * 512
    assert round(plain / split, 2) == 8.84
    assert round(926_425_600 / 105_303_040, 2) == 8.80


def test_reduction_before_a_large_kernel() -> None:
    """Inception: a 1×1 convolution to 16 channels before 5×5 takes 12.4 M MACs instead of 120.4 M."""
    plain = macs(nn.Conv2d(192, 32, 5, padding=2, bias=False), 192, 28, 28)
    reduced = nn.Sequential(nn.Conv2d(192, 16, 1, bias=False), nn.Conv2d(16, 32, 5, padding=2, bias=False))
    assert (plain, macs(reduced, 192, 28, 28)) == (120_422_400, 12_443_648)


def chain(channels: int, *kernels: tuple[int, int]) -> nn.Module:
    """Convolutions of equal width."""
    pads = [tuple(k // 2 for k in kernel) for kernel in kernels]
    convs = [nn.Conv2d(channels, channels, k, padding=p, bias=False) for k, p in zip(kernels, pads, strict=True)]
    return nn.Sequential(*convs)


def test_small_kernels_for_a_large_one() -> None:
    """Two 3×3 cost 18/25 of a 5×5, three 27/49 of a 7×7; N×1 with 1×N costs 2/N of N×N. All see the same field."""
    large = {k: macs(chain(8, (k, k)), 8, 14, 14) for k in (3, 5, 7)}
    assert macs(chain(8, (3, 3), (3, 3)), 8, 14, 14) * 25 == large[5] * 18
    assert macs(chain(8, *[(3, 3)] * 3), 8, 14, 14) * 49 == large[7] * 27
    for k, plain in large.items():
        assert macs(chain(8, (k, 1), (1, k)), 8, 14, 14) * k == plain * 2
    x = torch.zeros(1, 8, 15, 15, requires_grad=True)
    for layers in (chain(8, (5, 5)), chain(8, (3, 3), (3, 3)), chain(8, (5, 1), (1, 5))):
        (field,) = torch.autograd.grad(layers(x)[0, :, 7, 7].sum(), x)
        assert prod(n.unique().numel() for n in field[0].abs().sum(0).nonzero().T) == 25
