"""Convolutions against their definition, with padding as real zeros."""

import numpy as np
import torch
from oracle import Accumulator, Number, counts, filled, prove
from recording import price
from strategies import convolutions, drawn, sizes, values
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import fxcost
from tests.differential.observer import forward

F = torch.nn.functional


def convolved(x, w, b, stride, padding, dilation, groups):
    """Each output: the window of the zero-padded input under the dilated kernel, from the bias or from zero."""
    dims = x.ndim - 2
    padded = np.empty((*x.shape[:2], *(s + 2 * p for s, p in zip(x.shape[2:], padding, strict=True))), dtype=object)
    padded.fill(Number(0.0))
    padded[(slice(None), slice(None), *(slice(p, p + s) for p, s in zip(padding, x.shape[2:], strict=True)))] = x
    kernel = w.shape[2:]
    places = [(padded.shape[2 + i] - dilation[i] * (kernel[i] - 1) - 1) // stride[i] + 1 for i in range(dims)]
    out = filled((x.shape[0], w.shape[0], *places))
    per_group, outs_per_group = w.shape[1], w.shape[0] // groups
    for n, o, *place in np.ndindex(out.shape):
        accumulator = Accumulator(None if b is None else b[o])
        for c, *tap in np.ndindex(per_group, *kernel):
            at = tuple(p * s + t * d for p, s, t, d in zip(place, stride, tap, dilation, strict=True))
            accumulator.add(padded[(n, o // outs_per_group * per_group + c, *at)], w[(o, c, *tap)])
        out[(n, o, *place)] = accumulator.result
    return out


def transposed(x, w, b, stride, padding, output_padding, groups, dilation):
    """Each input element meets each tap; products that fall off the cropped output are computed all the same."""
    kernel, outs = w.shape[2:], w.shape[1]
    per_dim = list(zip(x.shape[2:], kernel, stride, padding, output_padding, dilation, strict=True))
    places = [(s - 1) * st - 2 * p + d * (k - 1) + op + 1 for s, k, st, p, op, d in per_dim]
    out = filled((x.shape[0], outs * groups, *places))
    for i in np.ndindex(out.shape):
        out[i] = Accumulator(None if b is None else b[i[1]])
    scratch = Accumulator(0.0)
    for n, c, *place in np.ndindex(x.shape):
        for o, *tap in np.ndindex(outs, *kernel):
            at = [q * st + t * d - p for q, t, (_, _, st, p, _, d) in zip(place, tap, per_dim, strict=True)]
            inside = all(0 <= a < limit for a, limit in zip(at, places, strict=True))
            group = c // (x.shape[1] // groups)
            target = out[(n, group * outs + o, *at)] if inside else scratch
            target.add(x[(n, c, *place)], w[(c, o, *tap)])
    for i in np.ndindex(out.shape):
        out[i] = out[i].result
    return out


def tensors(a, transpose=False):
    """input, weight, bias of drawn arguments."""
    first, second = (a["c_in"], a["c_out"]) if transpose else (a["c_out"], a["c_in"])
    x = values(a["n"], a["c_in"], *a["spatial"])
    w = values(first, second // a["groups"], *a["kernel"], seed=1)
    return x, w, values(a["c_out"], seed=2) if a["bias"] else None


@drawn(convolutions(transposed=False), examples=60)
def test_convolution_is_its_definition(a):
    """Any stride, padding, dilation, groups, bias; an empty batch too."""
    call = {1: F.conv1d, 2: F.conv2d}[len(a["kernel"])]
    options = a["stride"], a["padding"], a["dilation"], a["groups"]
    prove(call, convolved, *tensors(a), *options)


@drawn(convolutions(transposed=True), examples=60)
def test_transposed_convolution_is_its_definition(a):
    """Any stride, padding, output padding, dilation, groups, bias."""
    call = {1: F.conv_transpose1d, 2: F.conv_transpose2d}[len(a["kernel"])]
    options = a["stride"], a["padding"], a["output_padding"], a["groups"], a["dilation"]
    prove(call, transposed, *tensors(a, transpose=True), *options)


@drawn(convolutions(transposed=False))
def test_macs_are_half_of_what_torch_counts(a):
    """torch.utils.flop_counter agrees on forward convolutions of any arguments."""
    call = {1: F.conv1d, 2: F.conv2d}[len(a["kernel"])]
    args = (*tensors(a), a["stride"], a["padding"], a["dilation"], a["groups"])
    with FlopCounterMode(display=False) as counter:
        call(*args)
    assert 2 * price(call, *args).macs == counter.get_total_flops()


@drawn(convolutions(transposed=False))
def test_a_grouped_convolution_is_its_split_convolutions(a):
    """g groups cost as much as g convolutions of a g-th of the channels each."""
    x, w, b = tensors(a)
    call = {1: F.conv1d, 2: F.conv2d}[len(a["kernel"])]
    options = a["stride"], a["padding"], a["dilation"]
    parts = [
        price(call, xi, wi, bi, *options, 1)
        for xi, wi, bi in zip(
            x.chunk(a["groups"], 1),
            w.chunk(a["groups"], 0),
            b.chunk(a["groups"]) if b is not None else [None] * a["groups"],
            strict=True,
        )
    ]
    assert counts(price(call, x, w, b, *options, a["groups"])) == counts(sum(parts[1:], parts[0]))


@drawn(convolutions(transposed=False), sizes)
def test_cost_is_linear_in_the_batch(a, times):
    """A batch of k times n costs k times a batch of n."""
    _, w, b = tensors(a)
    x = values(max(a["n"], 1), a["c_in"], *a["spatial"])
    call = {1: F.conv1d, 2: F.conv2d}[len(a["kernel"])]
    options = a["stride"], a["padding"], a["dilation"], a["groups"]
    one, many = price(call, x, w, b, *options), price(call, torch.cat([x] * times), w, b, *options)
    assert counts(many) == counts(one * times)


def test_unbatched_and_three_dimensional():
    """conv3d: 2·3 channels, a kernel of 8 taps, 2·3·4 places; without a batch dimension."""
    cost = price(F.conv3d, values(2, 3, 4, 5), values(3, 2, 2, 2, 2))
    assert (cost.macs, cost.zero_accumulators) == (3 * 2 * 8 * (2 * 3 * 4), 3 * (2 * 3 * 4))


def test_complex_convolution_is_four_real_ones():
    """Complex channels: four times the MACs, however PyTorch decomposes it."""
    x, w = torch.zeros(1, 2, 5, dtype=torch.complex64), torch.zeros(3, 2, 3, dtype=torch.complex64)
    assert price(F.conv1d, x, w).macs in (4 * 3 * 2 * 3 * 3, 3 * 3 * 2 * 3 * 3)


def test_a_complex_convolution_is_three_real_ones():
    """PyTorch makes it of three real convolutions (Gauss), before any operator runs: that is what is counted."""
    layer, x = nn.Conv2d(3, 4, 3, dtype=torch.cfloat), torch.ones(1, 3, 8, 8, dtype=torch.cfloat)
    report = fxcost.analyze(layer, x)
    assert report.macs == forward(layer, (x,)).cost.macs == 3 * (36 * 4 * 27)
