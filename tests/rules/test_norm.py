"""Normalization layers against their definitions."""

import numpy as np
import pytest
import torch
from oracle import filled, prove, rsqrt, sqrt, total
from recording import price
from strategies import drawn, flags, sizes, values

F = torch.nn.functional
aten = torch.ops.aten


def moments(row):
    """Mean, and variance around it: two passes."""
    m = total(row) / len(row)
    return m, total([(c := v - m) * c for v in row]) / len(row)


def affine(x, mean, rstd, weight, bias):
    """(x − mean) · rstd · weight + bias."""
    y = (x - mean) * rstd
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def layer_norm(x, shape, weight, bias, eps):
    out = filled(x.shape)
    rows = x.reshape(-1, int(np.prod(shape)))
    for r, row in enumerate(rows):
        mean, var = moments(list(row))
        rstd = rsqrt(var + eps)
        for i, v in enumerate(row):
            parameters = (None if p is None else p.flat[i] for p in (weight, bias))
            out.flat[r * len(row) + i] = affine(v, mean, rstd, *parameters)
    return out


@drawn(sizes, sizes, sizes, flags, flags)
def test_layer_norm(n, a, b, two_dims, with_affine):
    """Over one or two dimensions, with weight and bias or without."""
    shape = (a, b) if two_dims else (b,)
    weight, bias = (values(*shape), values(*shape, seed=1)) if with_affine else (None, None)
    prove(F.layer_norm, layer_norm, values(n, a, b), shape, weight, bias, 1e-5)


def test_layer_norm_without_bias():
    """LayerNorm(bias=False): a product an element, no addition."""
    prove(F.layer_norm, layer_norm, values(3, 5), (5,), values(5), None, 1e-5)


@drawn(sizes, sizes, sizes, sizes, flags)
def test_group_norm(n, groups, per_group, places, with_affine):
    """Rows of channels × places; the weight is the channel's."""
    c = groups * per_group
    weight, bias = (values(c), values(c, seed=1)) if with_affine else (None, None)

    def reference(x, g, w, b, eps):
        out = filled(x.shape)
        for i, j in np.ndindex(n, g):
            channels = range(j * per_group, (j + 1) * per_group)
            mean, var = moments([x[i, k, p] for k in channels for p in range(places)])
            rstd = rsqrt(var + eps)
            for k in channels:
                for p in range(places):
                    out[i, k, p] = affine(x[i, k, p], mean, rstd, *(None if q is None else q[k] for q in (w, b)))
        return out

    prove(torch.group_norm, reference, values(n, c, places), groups, weight, bias, 1e-5)


@drawn(sizes, sizes, flags)
def test_rms_norm(n, d, with_weight):
    """x · rsqrt(mean(x²) + eps) · weight, the fused operator."""
    weight = values(d, seed=1) if with_weight else None

    def reference(x, shape, w, eps):
        out = filled(x.shape)
        for i in range(n):
            scale = rsqrt(total([v * v for v in x[i]]) / d + eps)
            for j in range(d):
                y = x[i, j] * scale
                out[i, j] = y if w is None else y * w[j]
        return out

    call = lambda *a: aten._fused_rms_norm(*a)[0]  # noqa: E731
    prove(call, reference, values(n, d), (d,), weight, 1e-5)


def batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps):
    out = filled(x.shape)
    for c in range(x.shape[1]):
        mean, var = (None, None) if running_mean is None else (running_mean[c], running_var[c])
        if training:
            elements = list(x[:, c].reshape(-1))
            mean, var = moments(elements)
            if running_mean is not None:
                unbiased = var * (len(elements) / max(len(elements) - 1, 1))
                for new, kept in ((mean, running_mean), (unbiased, running_var)):
                    kept[c] = (1 - momentum) * kept[c] + momentum * new
        rstd = rsqrt(var + eps)
        for i in np.ndindex(x.shape[0], *x.shape[2:]):
            at = (i[0], c, *i[1:])
            out[at] = affine(x[at], mean, rstd, *(None if p is None else p[c] for p in (weight, bias)))
    return out


@drawn(sizes, sizes, sizes, flags, flags, flags)
def test_batch_norm(n, c, places, training, with_affine, tracked):
    """In training mean, variance and the running statistics' update come on top; without statistics it trains."""
    if training or not tracked:
        n += 1  # PyTorch wants more than one value per channel
    weight, bias = (values(c), values(c, seed=1)) if with_affine else (None, None)
    stats = (values(c, seed=2), values(c, low=0.5, seed=3)) if tracked else (None, None)
    copies = lambda x, m, v, *a: F.batch_norm(  # noqa: E731
        x, None if m is None else m.clone(), None if v is None else v.clone(), *a
    )
    args = values(n, c, places), *stats, weight, bias, training or not tracked, 0.1, 1e-5
    prove_batch_norm(copies, batch_norm, *args)


def prove_batch_norm(call, reference, *args):
    """As `prove`; the clones that keep PyTorch from writing the arguments count nothing."""
    cost = prove(call, reference, *args)
    assert cost.macs == 0


def test_training_writes_the_running_statistics():
    """Two vectors of c floats on top of the output and the saved statistics."""
    c = 4
    x, stats = torch.zeros(2, c, 3), [torch.zeros(c) for _ in range(4)]
    mean, var, weight, bias = stats
    cost = price(lambda *a: aten.native_batch_norm(*a, True, 0.1, 1e-5), x, weight, bias, mean, var)
    assert cost.bytes_written == 4 * (2 * c * 3) + 4 * 2 * c + 4 * 2 * c
    assert cost.bytes_read == 4 * (2 * c * 3) + 4 * 4 * c


def test_statistics_are_written_once_by_every_variant():
    """In place, unsaid by the schema, or returned: two vectors of c floats, and no more."""
    x, p = torch.zeros(2, 4, 3), [torch.zeros(4) for _ in range(4)]
    written = {
        price(lambda *a: aten._native_batch_norm_legit(*a, True, 0.1, 1e-5), x, *p).bytes_written,
        price(lambda *a: aten._native_batch_norm_legit_functional(*a, True, 0.1, 1e-5), x, *p).bytes_written,
        price(lambda *a: aten.native_batch_norm(*a, True, 0.1, 1e-5), x, *p).bytes_written,
    }
    assert written == {4 * (24 + 4 * 4)}


def test_all_inference_kernels_cost_the_same():
    """Batch norm by any of its operators."""
    x, p = values(2, 3, 4), [values(3, low=0.5, seed=i) for i in range(4)]
    costs = {
        price(lambda *a: aten.native_batch_norm(*a, False, 0.1, 1e-5), x, *p).flops,
        price(lambda *a: aten._native_batch_norm_legit_no_training(*a, 0.1, 1e-5), x, *p).flops,
        price(lambda *a: aten._native_batch_norm_legit(*a, False, 0.1, 1e-5), x, *p).flops,
        price(lambda *a: aten._batch_norm_no_update(*a, 0.1, 1e-5), x, *p).flops,
    }
    assert costs == {24 * 4 + 2 * 3}


def test_instance_norm_is_batch_norm_of_each_sample():
    """It runs as batch norm on (1, n·c, …): statistics of every row, and copies of weight and bias."""
    x, weight, bias = values(2, 3, 5), values(3), values(3, seed=1)

    def reference(x, w, b):
        out = filled(x.shape)
        for i, c in np.ndindex(2, 3):
            mean, var = moments(list(x[i, c]))
            rstd = rsqrt(var + 1e-5)
            for p in range(5):
                out[i, c, p] = affine(x[i, c, p], mean, rstd, w[c], b[c])
        return out

    prove(lambda x, w, b: F.instance_norm(x, weight=w, bias=b), reference, x, weight, bias)


@pytest.mark.parametrize("dim", [0, 1])
def test_weight_norm(dim):
    """v · (g / ‖v‖): a norm and a division for each slice, a product for each element."""
    v = values(3, 4)
    g = values(3, 1) if dim == 0 else values(1, 4)

    def reference(v, g):
        out = filled(v.shape)
        slices = v if dim == 0 else v.T
        for i, row in enumerate(slices):
            scale = g.reshape(-1)[i] / sqrt(total([a * a for a in row]))
            for j, a in enumerate(row):
                out[(i, j) if dim == 0 else (j, i)] = a * scale
        return out

    prove(lambda v, g: torch._weight_norm(v, g, dim), reference, v, g)


def test_renorm_scales_every_slice_as_if_it_exceeded():
    """Norm, compare, + eps, division for each slice, a product for each element."""

    def reference(x):
        out = filled(x.shape)
        for i, row in enumerate(x):
            norm = sqrt(total([a * a for a in row]))
            assert norm > 0.01
            scale = 0.01 / (norm + 1e-7)
            out[i] = [a * scale for a in row]
        return out

    prove(lambda x: torch.renorm(x, 2, 0, 0.01), reference, values(3, 4))
