"""Normalization: batch, instance, group, layer, RMS, weight norm.

Reference algorithm: mean, then variance around it (two passes), then (x − mean) · rstd · weight + bias. Kernels that
fuse the passes differ in rounding, not in kind. Instance norm runs as batch norm on (1, n·c, *spatial).
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import torch

from ..records.cost import Cost
from ..records.recording import OpRecord, TensorSpec
from . import formulas
from .common import argument, arithmetic, bytes_of, bytes_written, optional, with_bytes
from .registry import OpKey, Rule

aten = torch.ops.aten


def _channels(x: TensorSpec) -> tuple[int, int]:
    """Number of channels of (n, c, *spatial), and elements of each."""
    c = x.shape[1] if len(x.shape) > 1 else 1
    return c, x.shape[0] * prod(x.shape[2:])


def _batch_norm(op: OpRecord, training: bool, updates: bool) -> Cost:
    x, weight, bias = op.args[:3]
    c, n = _channels(x)
    flops, roots = formulas.batch_norm(c, n, training, weight is not None, bias is not None)
    if updates:
        flops += formulas.running_stats(c)[0]
    return arithmetic(op, flops, roots)


def batch_norm(op: OpRecord) -> Cost:
    """input (n, c, *spatial), weight, bias, running_mean, running_var (c): `training` says whose statistics.

    In training the running statistics are written in place, which some schemas don't say.
    """
    training = bool(argument(op, "training"))
    mean = argument(op, "running_mean")
    var = argument(op, "running_var")
    updates = training and mean is not None and var is not None
    cost = _batch_norm(op, training, updates)
    if not updates or mean in op.written or len(op.outputs) == 5:  # the functional variant returns them
        return cost
    return with_bytes(op, cost, bytes_of(*op.inputs), bytes_written(op) + bytes_of(mean, var))


def batch_norm_inference(op: OpRecord) -> Cost:
    """With the running statistics."""
    return _batch_norm(op, training=False, updates=False)


def batch_norm_update(op: OpRecord) -> Cost:
    """With the batch's statistics, updating the running ones."""
    return _batch_norm(op, training=True, updates=True)


def batch_norm_stats(op: OpRecord) -> Cost:
    """Mean and rsqrt(variance + eps) of each channel."""
    c, n = _channels(op.args[0])
    return arithmetic(op, formulas.variance(c, n)[0] + 2 * c, c)


def batch_norm_elemt(op: OpRecord) -> Cost:
    """(x − mean) · invstd · weight + bias with statistics that are given."""
    x, weight, bias = op.args[:3]
    return arithmetic(op, formulas.normalize(x.numel, weight is not None, bias is not None)[0])


def layer_norm(op: OpRecord) -> Cost:
    """input (*, *normalized_shape), normalized over the last dimensions."""
    x, shape, weight, bias = op.args[:4]
    n = prod(shape)
    rows = prod(x.shape[: len(x.shape) - len(shape)])
    return arithmetic(op, *formulas.layer_norm(rows, n, weight is not None, bias is not None))


def group_norm(op: OpRecord) -> Cost:
    """input (n, c, *spatial), normalized over the channels and places of each group."""
    _x, weight, bias, n, c, places, groups = op.args[:7]
    return arithmetic(op, *formulas.layer_norm(n * groups, c // groups * places, weight is not None, bias is not None))


def rms_norm(op: OpRecord) -> Cost:
    """input (*, *normalized_shape): x · rsqrt(mean(x²) + eps) · weight."""
    x, shape, weight = op.args[:3]
    rows = prod(x.shape[: len(x.shape) - len(shape)])
    return arithmetic(op, *formulas.rms_norm(rows, prod(shape), weight is not None))


def weight_norm(op: OpRecord) -> Cost:
    """v · (g / ‖v‖), a norm for each slice along `dim`."""
    v, g = op.args[:2]
    slices = g.numel
    flops, roots = formulas.vector_norm(slices, v.numel // max(slices, 1), 2)
    return arithmetic(op, flops + slices + v.numel, roots)


def renorm(op: OpRecord) -> Cost:
    """Slices along `dim` whose norm exceeds `maxnorm` are scaled to it; all count as scaled.

    For each slice the norm, a compare, + 1e-7, a division, and a product for each element.
    """
    x, order, dim = op.args[:3]
    slices = x.shape[dim]
    flops, roots = formulas.vector_norm(slices, x.numel // max(slices, 1), order)
    return arithmetic(op, flops + 3 * slices + x.numel, roots)


_BATCH = Rule("normalization", batch_norm)
_INFERENCE = Rule("normalization", batch_norm_inference)

RULES: Mapping[OpKey, Rule] = {
    aten.native_batch_norm: _BATCH,
    aten._native_batch_norm_legit: _BATCH,
    aten._native_batch_norm_legit_functional: _BATCH,
    aten.cudnn_batch_norm: _BATCH,
    aten.miopen_batch_norm: _BATCH,
    aten._native_batch_norm_legit_no_training: _INFERENCE,
    aten._batch_norm_no_update: _INFERENCE,
    aten.quantized_batch_norm: _INFERENCE,
    aten._batch_norm_with_update: Rule("normalization", batch_norm_update),
    aten._batch_norm_with_update_functional: Rule("normalization", batch_norm_update),
    aten.batch_norm_stats: Rule("normalization", batch_norm_stats),
    aten.batch_norm_elemt: Rule("normalization", batch_norm_elemt),
    aten.native_layer_norm: Rule("normalization", layer_norm),
    aten.native_group_norm: Rule("normalization", group_norm),
    **optional("_fused_rms_norm", Rule("normalization", rms_norm)),
    aten._weight_norm_interface: Rule("normalization", weight_norm),
    aten.renorm: Rule("normalization", renorm),
}
