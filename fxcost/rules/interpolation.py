"""Resampling: upsampling by fixed factors, sampling at a grid of positions, affine grids.

Weights that depend on sizes alone (all of `F.interpolate`) are tables and not counted. A sampling grid is data: its
coordinates and weights are computed once for each position and serve all channels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod

import torch

from ..records.cost import Cost
from ..records.recording import OpRecord
from . import formulas
from .common import argument, arithmetic, contraction, optional, with_bytes
from .registry import OpKey, Rule

aten = torch.ops.aten

BILINEAR, NEAREST = 0, 1  # interpolation_mode; 2 is bicubic
_ZEROS, _BORDER = 0, 1  # padding_mode; 2 is reflection


def nearest(op: OpRecord) -> Cost:
    """Picks elements; where the map shrinks, not all are read."""
    x = op.args[0]
    return with_bytes(op, Cost(), min(x.numel, op.out.numel) * x.dtype.itemsize)


def separable(taps: int, dims: int) -> Rule:
    """(n, c, *spatial) → (n, c, *out) from `taps` neighbours in each of `dims` dimensions."""

    def rule(op: OpRecord) -> Cost:
        return arithmetic(op, *formulas.interpolate(op.out.numel, taps, dims))

    return Rule("interpolation", rule)


def antialiased(width: int) -> Rule:
    """(n, c, h, w) → (n, c, h', w') with a filter of `width` taps, stretched where the map shrinks."""

    def rule(op: OpRecord) -> Cost:
        x, out = op.args[0].shape, op.out.shape
        return arithmetic(op, *formulas.antialiased(prod(x[:-2]), x[-2:], out[-2:], width))

    return Rule("interpolation", rule)


def coordinate_operations(padding: int, corners: bool) -> int:
    """Operations that turn one coordinate of a grid into a place in the map, as :func:`grid_sampler` has them."""
    return (3 if corners else 4) + 1 + (0 if padding == _ZEROS else 2 if padding == _BORDER else 11)


def grid_sampler(op: OpRecord) -> Cost:
    """input (n, c, *spatial), grid (n, *out, d) → (n, c, *out), d = 2 or 3 coordinates in [−1, 1].

    For each coordinate: unnormalizing (three operations with align_corners, else four), clipping to the border two
    compares or reflecting at it nine more, rounding one. For each position, the products of weights; for each
    channel, a product for each neighbour and the sum of them. cuDNN has bilinear sampling with align_corners alone.
    """
    grid, corners = op.args[1], argument(op, "align_corners", True)
    mode, padding = argument(op, "interpolation_mode", BILINEAR), argument(op, "padding_mode", 0)
    d = grid.shape[-1]
    positions = grid.numel // d
    coordinates = coordinate_operations(padding, corners)
    if mode == NEAREST:
        return arithmetic(op, positions * d * coordinates)
    if mode == BILINEAR:
        neighbours = 2**d
        weights = neighbours * (d + d - 1)  # each is a product of d differences
        per_channel = 2 * neighbours - 1
    else:
        weights = formulas.cubic_coefficients(d)[0] + d  # and the d fractions that they are functions of
        per_channel = formulas.interpolate(1, 4, d)[0]
    return arithmetic(op, positions * (d * coordinates + weights) + op.out.numel * per_channel)


def affine_grid(op: OpRecord) -> Cost:
    """theta (n, d, d + 1), size (n, c, *spatial) → (n, *spatial, d): products with homogeneous coordinates."""
    d_in = op.args[0].shape[-1]
    return contraction(op, op.out.numel * d_in, op.out.numel)


_NEAREST_RULE = Rule("interpolation", nearest, "picks elements, no arithmetic")


def _rule(function: Callable[[OpRecord], Cost]) -> Rule:
    return Rule("interpolation", function)


RULES: Mapping[OpKey, Rule] = {
    aten.upsample_nearest1d: _NEAREST_RULE,
    aten.upsample_nearest2d: _NEAREST_RULE,
    aten.upsample_nearest3d: _NEAREST_RULE,
    aten._upsample_nearest_exact1d: _NEAREST_RULE,
    aten._upsample_nearest_exact2d: _NEAREST_RULE,
    aten._upsample_nearest_exact3d: _NEAREST_RULE,
    aten.upsample_linear1d: separable(2, 1),
    aten.upsample_bilinear2d: separable(2, 2),
    aten.upsample_trilinear3d: separable(2, 3),
    aten.upsample_bicubic2d: separable(4, 2),
    aten._upsample_bilinear2d_aa: antialiased(2),
    aten._upsample_bicubic2d_aa: antialiased(4),
    **optional("_upsample_lanczos2d_aa", antialiased(6)),
    aten.grid_sampler_2d: _rule(grid_sampler),
    aten.grid_sampler_3d: _rule(grid_sampler),
    aten._grid_sampler_2d_cpu_fallback: _rule(grid_sampler),
    aten.cudnn_grid_sampler: _rule(grid_sampler),
    aten.affine_grid_generator: _rule(affine_grid),
}
