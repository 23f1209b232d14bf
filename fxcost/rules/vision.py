"""torchvision's own operators. They exist once torchvision is imported, so they are named here, not looked up.

Regions of interest sample maps bilinearly: four products and three additions a sample and channel. What depends on
boxes' values counts at its most: every pair of boxes is compared, a pooled region covers the whole map.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..records.cost import Cost
from ..records.recording import OpRecord
from . import formulas
from .common import argument, arithmetic
from .formulas import places
from .quantized import DEQUANTIZE, REQUANTIZE
from .registry import Rule

_ASSUMED_SAMPLES = 2
"""Samples per bin and dimension where `sampling_ratio` ≤ 0 lets the box's size decide: torchvision's own default."""


def nms(op: OpRecord) -> Cost:
    """boxes (n, 4): areas (three operations), a sort by score, and 13 for each pair.

    A pair: two max, two min, two subtractions, two max with zero, a product; the union's addition and subtraction;
    a division and a compare.
    """
    n = op.args[0].shape[0]
    return arithmetic(op, 3 * n + formulas.sort(1, n)[0] + 13 * (n * max(n - 1, 0) // 2))


def quantized_nms(op: OpRecord) -> Cost:
    """As `nms` on quantized boxes: areas, overlaps and the sort are of integers; a division and a compare a pair."""
    n = op.args[0].shape[0]
    return Cost(other_flops=n * max(n - 1, 0))


def box_iou_rotated(op: OpRecord) -> Cost:
    """boxes (n, 5) and (m, 5) as centre, size and angle → (n, m): one rectangle clipped by the four sides of another.

    Source: Sutherland & Hodgman 1974, at its most: 4, 5, 6 and 7 corners meet a side, 8 are left. For each box the
    angle in radians, sine and cosine, half sizes, four products of them, 16 operations for its corners, and its area.
    For each pair and side a vector (2), a cross product (5) and a compare for each corner, two new corners of eight
    operations each; then the area of eight corners (33), the union (2), the ratio.
    """
    n, m = op.args[0].shape[0], op.args[1].shape[0]
    sides = sum(2 + 6 * corners + 16 for corners in (4, 5, 6, 7))
    return arithmetic(op, 26 * (n + m) + (sides + 33 + 3) * n * m, 2 * (n + m))


def _samples(op: OpRecord) -> int:
    """Samples of a bin, along both dimensions."""
    ratio: int = argument(op, "sampling_ratio")
    return (ratio if ratio > 0 else _ASSUMED_SAMPLES) ** 2


def roi_align(op: OpRecord) -> Cost:
    """input (n, c, h, w), rois (k, 5) → (k, c, ph, pw): the mean of s × s samples in each bin.

    For each box twelve operations at most: scaling four coordinates, shifting them by half a pixel (`aligned`), two
    sizes, two bins. For each sample two coordinates of two, then ten for the four weights.
    """
    return arithmetic(op, _roi_align(op))


def _roi_align(op: OpRecord) -> int:
    samples, outputs = _samples(op), op.out.numel
    boxes, _, height, width = op.out.shape
    positions = boxes * height * width * samples
    per_box = 12 if argument(op, "aligned", True) else 8
    return outputs * (7 * samples + samples - 1 + 1) + 14 * positions + boxes * per_box


def quantized_roi_align(op: OpRecord) -> Cost:
    """As `roi_align`; coordinates of boxes are dequantized first (two operations), outputs requantized (five)."""
    return Cost(other_flops=_roi_align(op) + DEQUANTIZE * op.args[1].numel + REQUANTIZE * op.out.numel)


def roi_pool(op: OpRecord) -> Cost:
    """input (n, c, h, w), rois (k, 5) → (k, c, ph, pw): the maximum of each bin, the box covering the whole map."""
    x, out = op.args[0].shape, op.out.shape
    return arithmetic(op, *formulas.window_sums(op.out.numel, out[0] * out[1] * x[2] * x[3]))


def ps_roi_pool(op: OpRecord) -> Cost:
    """As roi_pool with means: an addition for each element but a bin's first, and a division."""
    x, out = op.args[0].shape, op.out.shape
    return arithmetic(op, out[0] * out[1] * x[2] * x[3])


def deform_conv2d(op: OpRecord) -> Cost:
    """input (n, c_in, h, w), weight (c_out, c_in/g, kh, kw), offset, mask → (n, c_out, h', w').

    A convolution whose inputs are sampled bilinearly at shifted places: two additions and ten for the weights at each
    place and offset group, seven for each channel's sample, a product with the mask if there is one.
    """
    x, weight, out = op.args[0].shape, op.args[1].shape, op.out.shape
    groups, offset_groups, masked = op.args[11:14]
    taps = weight[2] * weight[3] * out[2] * out[3] * x[0]
    macs = formulas.conv_macs(x[0], x[1], out[1], groups, weight[2:], out[2:])
    sampling = arithmetic(op, taps * (12 * offset_groups + x[1] * (7 + bool(masked))))
    return Cost(macs=macs) + sampling


def roi_align_backward(op: OpRecord) -> Cost:
    """grad (k, c, ph, pw), rois → (n, c, h, w): each bin's gradient goes to four corners of each of its samples."""
    samples = _samples(op)
    boxes, _, height, width = op.args[0].shape
    per_box = 12 if argument(op, "aligned", True) else 8
    positions = boxes * height * width
    return arithmetic(op, *places.region_means_backward(op.args[0].numel, positions, boxes, samples, per_box))


def roi_pool_backward(op: OpRecord) -> Cost:
    """grad (k, c, ph, pw): each element is added to where the maximum was."""
    return arithmetic(op, op.args[0].numel)


def ps_roi_pool_backward(op: OpRecord) -> Cost:
    """As roi_pool with means: a division for each bin, an addition for each element, the box covering the whole map."""
    grad, height, width = op.args[0], argument(op, "height"), argument(op, "width")
    return arithmetic(op, grad.numel + grad.shape[0] * grad.shape[1] * height * width)


def deform_conv2d_backward(op: OpRecord) -> Cost:
    """grad (n, c_out, h', w'), input, weight, offset, mask, bias → all five gradients, as the kernels compute them.

    The convolution twice, for the weights and for the sampled columns; then what brings columns to input and offsets.
    """
    grad, x, weight = (spec.shape for spec in op.args[:3])
    groups, offset_groups, masked = op.args[12:15]
    taps = weight[2] * weight[3] * grad[2] * grad[3] * x[0]
    macs = formulas.conv_macs(x[0], x[1], grad[1], groups, weight[2:], grad[2:])
    sampling = arithmetic(op, *places.deformable_backward(taps * offset_groups, taps * x[1], bool(masked)))
    fresh = op.args[2].numel + taps * x[1]
    return Cost(macs=2 * macs, zero_accumulators=fresh) + sampling + arithmetic(op, op.args[0].numel - grad[1])


LATE_RULES: Mapping[str, Rule] = {
    "torchvision::nms": Rule("vision", nms),
    "torchvision::qnms": Rule("vision", quantized_nms),
    "torchvision::box_iou_rotated": Rule("vision", box_iou_rotated),
    "torchvision::qroi_align": Rule("vision", quantized_roi_align),
    "torchvision::roi_align": Rule("vision", roi_align),
    "torchvision::ps_roi_align": Rule("vision", roi_align),
    "torchvision::roi_pool": Rule("vision", roi_pool),
    "torchvision::ps_roi_pool": Rule("vision", ps_roi_pool),
    "torchvision::deform_conv2d": Rule("vision", deform_conv2d),
    "torchvision::_roi_align_backward": Rule("vision", roi_align_backward),
    "torchvision::_ps_roi_align_backward": Rule("vision", roi_align_backward),
    "torchvision::_roi_pool_backward": Rule("vision", roi_pool_backward),
    "torchvision::_ps_roi_pool_backward": Rule("vision", ps_roi_pool_backward),
    "torchvision::_deform_conv2d_backward": Rule("vision", deform_conv2d_backward),
}
"""By qualified name, as torchvision may not be imported (yet)."""
