"""torchvision's operators: found once torchvision is imported, never imported by us."""

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from oracle import (
    FUNCTIONS,
    Accumulator,
    Number,
    counting,
    counts,
    filled,
    floor,
    maximum,
    minimum,
    numbers,
    prove,
    tensor,
    total,
)
from recording import price, price_of
from strategies import drawn, flags, sizes, values

import fxcost

torchvision = pytest.importorskip("torchvision")


def test_rules_wait_for_torchvision():
    """Without torchvision no operator of its is known; importing it later makes the next registry know them."""
    program = """
import sys
from fxcost.rules import default_registry, late, vision
assert 'torchvision' not in sys.modules and not late.registered()
before = default_registry()
import torchvision, torch
assert set(vision.LATE_RULES) <= set(late.registered())
op = torch.ops.torchvision.nms.default
assert before.find(op) is None and default_registry().find(op).family == 'vision'
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def bilinear(plane, y, x):
    """Four weights of the position (ten operations with the floors), and the value that they give."""
    (h, w), (y0, x0) = plane.shape, (floor(y), floor(x))
    ly, lx = y - y0, x - x0
    hy, hx = 1 - ly, 1 - lx
    weights = [hy * hx, hy * lx, ly * hx, ly * lx]
    places = [(int(y0.value) + i, int(x0.value) + j) for i, j in itertools.product((0, 1), repeat=2)]
    inside = [(min(i, h - 1), min(j, w - 1)) for i, j in places]
    return weights, inside


def test_roi_align_counts_its_samples():
    """Two boxes, two samples a bin and dimension: positions once, values for each channel."""
    x, rois = values(1, 3, 8, 8), torch.tensor([[0, 1.0, 1.5, 6.0, 7.0], [0, 0.5, 1.0, 5.0, 6.5]], dtype=torch.float64)
    ph, pw, s = 2, 3, 2

    def reference(x, rois):
        out = filled((2, 3, ph, pw))
        for k in range(2):
            x1, y1, x2, y2 = (c * 1.0 - 0.5 for c in rois[k, 1:])
            width, height = x2 - x1, y2 - y1
            bin_w, bin_h = width / pw, height / ph
            for i, j in itertools.product(range(ph), range(pw)):
                samples = []
                for a, b in itertools.product(range(s), repeat=2):
                    y, xx = y1 + bin_h * (i + (a + 0.5) / s), x1 + bin_w * (j + (b + 0.5) / s)
                    samples.append(bilinear(x[0, 0], y, xx))
                for c in range(3):
                    taken = [total([w * x[0, c][p] for w, p in zip(*sample, strict=True)]) for sample in samples]
                    out[k, c, i, j] = total(taken) / len(taken)
        return out

    call = lambda x, r: torchvision.ops.roi_align(x, r, (ph, pw), 1.0, s, aligned=True)  # noqa: E731
    prove(call, reference, x, rois)


def test_adaptive_sampling_counts_as_two():
    """sampling_ratio ≤ 0 lets the box decide; it counts as torchvision's usual two."""
    x, rois = values(1, 3, 8, 8), torch.zeros(2, 5, dtype=torch.float64)
    fixed, adaptive = (price(lambda x, r, s=s: torchvision.ops.roi_align(x, r, 2, 1.0, s), x, rois) for s in (2, -1))
    assert fixed.flops == adaptive.flops


@drawn(sizes, sizes, flags, flags, examples=8)
def test_deformable_convolution(n, groups, masked, biased):
    """A convolution of bilinear samples; positions serve all channels of their offset group."""
    c_in, c_out, k, h = 2 * groups, groups, 2, 3
    x, weight = values(n, c_in, h, h), values(c_out, 2, k, k, seed=1)
    out = h - k + 1
    offset = values(n, 2 * k * k, out, out, low=0.1, high=0.4)
    mask = values(n, k * k, out, out) if masked else None
    bias = values(c_out) if biased else None

    def reference(x, offset, weight, bias, mask):
        result = filled((n, c_out, out, out))
        for b, i, j in np.ndindex(n, out, out):
            column = {}
            for tap, (p, q) in enumerate(itertools.product(range(k), repeat=2)):
                dy, dx = offset[b, 2 * tap, i, j], offset[b, 2 * tap + 1, i, j]
                padded = np.full((c_in, h + 1, h + 1), Number(0.0), dtype=object)
                padded[:, :h, :h] = x[b]
                weights, places = bilinear(padded[0], (i + p) + dy, (j + q) + dx)
                for c in range(c_in):
                    sample = total([w * padded[c][at] for w, at in zip(weights, places, strict=True)])
                    column[c, p, q] = sample if mask is None else sample * mask[b, tap, i, j]
            for o in range(c_out):
                accumulator = Accumulator(0.0 if bias is None else bias[o])  # the operator always takes a bias
                for c, p, q in np.ndindex(2, k, k):
                    accumulator.add(column[2 * o + c, p, q], weight[o, c, p, q])
                result[b, o, i, j] = accumulator.result
        return result

    call = lambda x, o, w, b, m: torchvision.ops.deform_conv2d(x, o, w, b, mask=m)  # noqa: E731
    prove(call, reference, x, offset, weight, bias, mask)


def test_suppression_compares_every_pair():
    """Areas, a sort, and thirteen operations for each pair: disjoint boxes, none of which is dropped."""
    n = 8
    corners = torch.arange(n, dtype=torch.float64) * 10
    boxes = torch.stack([corners, corners, corners + 5, corners + 5], 1)
    with counting() as tally:
        b = numbers(boxes)
        areas = [(q[2] - q[0]) * (q[3] - q[1]) for q in b]
        overlapping = 0
        for i, j in itertools.combinations(range(n), 2):
            width = maximum(minimum(b[i, 2], b[j, 2]) - maximum(b[i, 0], b[j, 0]), 0)
            height = maximum(minimum(b[i, 3], b[j, 3]) - maximum(b[i, 1], b[j, 1]), 0)
            inter = width * height
            overlapping += inter / (areas[i] + areas[j] - inter) > 0.5
    kept = torchvision.ops.nms(boxes, torch.rand(n, dtype=torch.float64), 0.5)
    assert len(kept) == n - overlapping
    cost = price_of(torch.ops.torchvision.nms.default, boxes, boxes[:, 0], 0.5, outputs=kept)
    assert cost.other_flops == tally.flops + n * 3


def corners_of(box):
    """A rectangle's corners, counterclockwise, and its area: 26 operations."""
    x, y, w, h, angle = box
    theta = angle * (math.pi / 180)
    cos, sin, half_w, half_h = FUNCTIONS["cos"](theta), FUNCTIONS["sin"](theta), w / 2, h / 2
    wx, wy, hx, hy = cos * half_w, sin * half_w, sin * half_h, cos * half_h
    corners = [(x + wx - hx, y + wy + hy), (x - wx - hx, y - wy + hy)]
    return [*corners, (x - wx + hx, y - wy - hy), (x + wx + hx, y + wy - hy)], w * h


def clipped(polygon, start, end):
    """What of a polygon lies left of a line (Sutherland & Hodgman 1974)."""
    ex, ey = end[0] - start[0], end[1] - start[1]
    sides = [ex * (y - start[1]) - ey * (x - start[0]) for x, y in polygon]
    inside, kept = [side >= 0 for side in sides], []
    for i in range(len(polygon)):
        j = (i + 1) % len(polygon)
        if inside[i]:
            kept.append(polygon[i])
        if inside[i] != inside[j]:
            t = sides[i] / (sides[i] - sides[j])
            kept.append(tuple(a + t * (b - a) for a, b in zip(polygon[i], polygon[j], strict=True)))
    return kept


def test_rotated_boxes_clip_each_other():
    """Squares turned by 45 degrees leave an octagon: no two rectangles leave more."""
    boxes = torch.tensor([[0, 0, 2, 2, 0], [0, 0, 2.1, 2.1, 0]], dtype=torch.float64)
    others = torch.tensor([[0, 0, 2, 2, 45], [0.1, 0, 2.1, 2.1, 45], [0, 0.1, 2, 2, 45]], dtype=torch.float64)
    with counting() as tally:
        ones, twos = ([corners_of(box) for box in numbers(given)] for given in (boxes, others))
        overlaps = filled((2, 3))
        for (i, (polygon, area)), (j, (sides, other)) in itertools.product(enumerate(ones), enumerate(twos)):
            for k in range(4):
                polygon = clipped(polygon, sides[k], sides[(k + 1) % 4])
            assert len(polygon) == 8
            around = zip(polygon, polygon[1:] + polygon[:1], strict=True)
            inter = abs(total([a[0] * b[1] - b[0] * a[1] for a, b in around])) / 2
            overlaps[i, j] = inter / (area + other - inter)
    theirs = torchvision.ops.box_iou(boxes, others, fmt="cxcywhr")
    torch.testing.assert_close(tensor(overlaps), theirs.double(), rtol=1e-5, atol=1e-6)
    cost = price_of(torch.ops.torchvision.box_iou_rotated.default, boxes, others, outputs=theirs)
    assert counts(cost) == tally.cost


def test_quantized_boxes():
    """Samples are those of floats, boxes dequantized, results requantized; a division and a compare a pair."""
    x, rois, ops = values(1, 3, 8, 8), torch.zeros(2, 5, dtype=torch.float64), torch.ops.torchvision
    out = values(2, 3, 2, 2)
    plain = price_of(ops.roi_align.default, x, rois, 1.0, 2, 2, 2, True, outputs=out)
    cost = price_of(ops.qroi_align.default, x, rois, 1.0, 0, 1.0, 0, 1.0, 2, 2, 2, True, outputs=out)
    assert cost.flops == plain.flops + 2 * 10 + 5 * 24
    kept = torch.zeros(4, dtype=torch.int64)
    assert price_of(ops.qnms.default, x[0, 0, :4, :4], x[0, 0, 0, :4], 0.5, outputs=kept).flops == 2 * 6


def test_pooled_regions_cover_the_map_at_most():
    """Maxima take one compare less than elements, means a division more."""
    x, rois = values(1, 8, 6, 6), torch.zeros(3, 5, dtype=torch.float64)
    assert price(lambda x, r: torchvision.ops.roi_pool(x, r, 2), x, rois).flops == 3 * 8 * (36 - 4)
    assert price(lambda x, r: torchvision.ops.ps_roi_pool(x, r, 2), x, rois).flops == 3 * 2 * 36
    assert counts(price(lambda x, r: torchvision.ops.ps_roi_align(x, r, 2, 1.0, 2), x, rois)).flops > 0


# -------------------------------------------------------------------------------------------------- the backward pass


def zeros(shape):
    out = filled(shape)
    for at in np.ndindex(out.shape):
        out[at] = Number(0.0)
    return out


def test_roi_align_backward():
    """Each bin's share goes to four corners of each of its samples; positions serve all channels."""
    rois = torch.tensor([[0, 1.0, 1.5, 6.0, 7.0], [0, 0.5, 1.0, 5.0, 6.5]], dtype=torch.float64)
    ph, pw, s = 2, 3, 2

    def reference(g, rois):
        into = zeros((1, 3, 8, 8))
        for k in range(2):
            x1, y1, x2, y2 = (c * 1.0 - 0.5 for c in rois[k, 1:])
            width, height = x2 - x1, y2 - y1
            bin_w, bin_h = width / pw, height / ph
            for i, j in itertools.product(range(ph), range(pw)):
                samples = []
                for a, b in itertools.product(range(s), repeat=2):
                    y, xx = y1 + bin_h * (i + (a + 0.5) / s), x1 + bin_w * (j + (b + 0.5) / s)
                    samples.append(bilinear(np.empty((8, 8)), y, xx))
                for c in range(3):
                    share = g[k, c, i, j] / len(samples)
                    for weights, places in samples:
                        for w, p in zip(weights, places, strict=True):
                            into[0, c][p] = into[0, c][p] + w * share
        return into

    def call(g, rois):
        sizes = (ph, pw, 1, 3, 8, 8)
        return torch.ops.torchvision._roi_align_backward(g, rois, 1.0, *sizes, s, True)

    prove(call, reference, values(2, 3, ph, pw, seed=1), rois)


def test_what_is_pooled_goes_back():
    """A maximum's gradient is one addition, a mean's is divided and added to the whole region, at most the map."""
    x, rois = values(1, 8, 6, 6).requires_grad_(), torch.zeros(3, 5, dtype=torch.float64)
    ops = torchvision.ops
    backward = lambda call: gradient_cost(lambda x, r: call(x, r, 2), x, rois)  # noqa: E731
    assert backward(ops.roi_pool).flops == 3 * 8 * 4
    assert backward(ops.ps_roi_pool).flops == 3 * 2 * (4 + 36)
    aligned = gradient_cost(lambda x, r: ops.ps_roi_align(x, r, 2, 1.0, 2), x, rois)
    assert aligned.flops == 3 * 2 * 4 * (1 + 8 * 4) + 14 * 3 * 4 * 4 + 3 * 12


def gradient_cost(call, x, *rest):
    """The backward pass of a call, its first argument needing a gradient."""
    return fxcost.analyze(lambda x: call(x, *rest), [x], training=True, strict=True).training.backward


@drawn(sizes, sizes, flags, examples=6)
def test_deformable_convolution_backward(n, groups, masked):
    """All five gradients: two convolutions' products, samples once more, and what moves them."""
    c_in, c_out, k, h = 2 * groups, groups, 2, 3
    out = h - k + 1
    x, weight, bias = values(n, c_in, h, h), values(c_out, 2, k, k, seed=1), values(c_out)
    offset = values(n, 2 * k * k, out, out, low=0.1, high=0.4)
    mask = values(n, k * k, out, out) if masked else torch.zeros(n, 1, dtype=torch.float64)

    def reference(g, x, weight, offset, mask, bias):
        into, of_w, of_b = zeros(x.shape), filled(weight.shape), filled((c_out,))
        of_offset, of_mask = filled(offset.shape), filled(mask.shape)
        accumulators = {at: Accumulator() for at in np.ndindex(weight.shape)}
        for b, i, j, (tap, (p, q)) in itertools.product(
            range(n), range(out), range(out), enumerate(itertools.product(range(k), repeat=2))
        ):
            y, xx = (i + p) + offset[b, 2 * tap, i, j], (j + q) + offset[b, 2 * tap + 1, i, j]
            padded = np.full((c_in, h + 1, h + 1), Number(0.0), dtype=object)
            padded[:, :h, :h] = x[b]
            weights, places = bilinear(padded[0], y, xx)
            ly, lx = (Number(float(v) % 1) for v in (y, xx))
            hy, hx = Number(1 - float(ly)), Number(1 - float(lx))  # as the weights had them
            by_mask, by_y, by_x = [], [], []
            for c in range(c_in):
                group, inner = divmod(c, 2)
                corners = [padded[c][at] for at in places]
                sample = total([w * v for w, v in zip(weights, corners, strict=True)])
                column = sample * mask[b, tap, i, j] if masked else sample
                accumulators[group, inner, p, q].add(column, g[b, group, i, j])
                of_column = Accumulator()
                of_column.add(weight[group, inner, p, q], g[b, group, i, j])
                of_sample = of_column.result
                if masked:
                    by_mask.append(of_sample * sample)
                    of_sample = of_sample * mask[b, tap, i, j]
                for w, at in zip(weights, places, strict=True):
                    share = w * of_sample
                    if max(at) < h:
                        into[b, c][at] = into[b, c][at] + share
                    else:
                        _ = share + 0.0  # over the border, counted as dense
                slope_y = hx * (corners[2] - corners[0]) + lx * (corners[3] - corners[1])
                slope_x = hy * (corners[1] - corners[0]) + ly * (corners[3] - corners[2])
                by_y.append(slope_y * of_sample)
                by_x.append(slope_x * of_sample)
            of_offset[b, 2 * tap, i, j], of_offset[b, 2 * tap + 1, i, j] = total(by_y), total(by_x)
            if masked:
                of_mask[b, tap, i, j] = total(by_mask)
        for at, accumulator in accumulators.items():
            of_w[at] = accumulator.result
        for o in range(c_out):
            of_b[o] = total([g[b, o, i, j] for b, i, j in np.ndindex(n, out, out)])
        return into, of_w, of_offset, of_mask if masked else zeros(mask.shape), of_b

    def call(g, x, weight, offset, mask, bias):
        rest = (1, 1, 0, 0, 1, 1, groups, 1, masked)
        found = torch.ops.torchvision._deform_conv2d_backward(g, x, weight, offset, mask, bias, *rest)
        return found if masked else (*found[:3], torch.zeros_like(mask), found[4])

    prove(call, reference, values(n, c_out, out, out, seed=3), x, weight, offset, mask, bias)
