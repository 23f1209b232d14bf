"""Pooling. Padded positions count as dense, windows that `ceil_mode` lets hang over the border too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import torch

from ..records.cost import Cost
from ..records.recording import OpRecord
from . import formulas
from .common import arithmetic, with_bytes
from .registry import OpKey, Rule

aten = torch.ops.aten


def _kernel(kernel: int | Sequence[int], dims: int) -> tuple[int, ...]:
    """The kernel's extents; one number stands for all dimensions."""
    sizes = (kernel,) if isinstance(kernel, int) else tuple(kernel)
    return sizes * dims if len(sizes) == 1 else sizes


def avg_pool(dims: int) -> Rule:
    """(*, *spatial) → (*, *out): the mean of each window over the last `dims` dimensions."""

    def rule(op: OpRecord) -> Cost:
        return arithmetic(op, *formulas.avg_pool(op.out.numel, _kernel(op.args[1], dims)))

    return Rule("pooling", rule)


def max_pool(dims: int) -> Rule:
    """(*, *spatial) → (*, *out): the maximum of each window, and where it was."""

    def rule(op: OpRecord) -> Cost:
        return arithmetic(op, *formulas.max_pool(op.out.numel, _kernel(op.args[1], dims)))

    return Rule("pooling", rule)


def _adaptive_elements(op: OpRecord, dims: int) -> int:
    """Elements in all windows of an adaptive pooling over the last `dims` dimensions, for all channels."""
    x: tuple[int, ...] = op.args[0].shape
    out = op.out.shape
    return prod(x[:-dims]) * formulas.adaptive_window_elements(x[-dims:], out[-dims:])


def adaptive_avg_pool(dims: int) -> Rule:
    """Windows of varying size: one addition less than elements in each, and a division."""

    def rule(op: OpRecord) -> Cost:
        return arithmetic(op, _adaptive_elements(op, dims))

    return Rule("pooling", rule)


def adaptive_max_pool(dims: int) -> Rule:
    """Windows of varying size: one compare less than elements in each."""

    def rule(op: OpRecord) -> Cost:
        return arithmetic(op, *formulas.window_sums(op.out.numel, _adaptive_elements(op, dims)))

    return Rule("pooling", rule)


def max_unpool(op: OpRecord) -> Cost:
    """Writes each value where its maximum was, zeros elsewhere: movement alone."""
    values, indices = op.args[:2]
    return with_bytes(op, Cost(), values.stored_bytes + indices.stored_bytes)


_MAX_1D, _MAX_2D, _MAX_3D = (max_pool(dims) for dims in (1, 2, 3))
_ADAPTIVE_2D, _ADAPTIVE_3D = (adaptive_avg_pool(dims) for dims in (2, 3))

RULES: Mapping[OpKey, Rule] = {
    aten.avg_pool1d: avg_pool(1),
    aten.avg_pool2d: avg_pool(2),
    aten.avg_pool3d: avg_pool(3),
    aten.max_pool1d: _MAX_1D,
    aten.max_pool2d_with_indices: _MAX_2D,
    aten.max_pool3d_with_indices: _MAX_3D,
    aten.mkldnn_max_pool2d: _MAX_2D,
    aten.mkldnn_max_pool3d: _MAX_3D,
    aten.quantized_max_pool1d: _MAX_1D,
    aten.quantized_max_pool2d: _MAX_2D,
    aten.quantized_max_pool3d: _MAX_3D,
    aten.fractional_max_pool2d: _MAX_2D,
    aten.fractional_max_pool3d: _MAX_3D,
    aten.adaptive_avg_pool1d: adaptive_avg_pool(1),
    aten.adaptive_avg_pool2d: _ADAPTIVE_2D,
    aten.adaptive_avg_pool3d: _ADAPTIVE_3D,
    aten._adaptive_avg_pool2d: _ADAPTIVE_2D,
    aten._adaptive_avg_pool3d: _ADAPTIVE_3D,
    aten.mkldnn_adaptive_avg_pool2d: _ADAPTIVE_2D,
    aten.adaptive_max_pool2d: adaptive_max_pool(2),
    aten.adaptive_max_pool3d: adaptive_max_pool(3),
    aten.max_unpool2d: Rule("pooling", max_unpool),
    aten.max_unpool3d: Rule("pooling", max_unpool),
}
