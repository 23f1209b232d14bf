"""The backward pass of what moves and gathers elements: pools, padding, resampling, lookups, distances, alignments.

A gradient goes where its element came from. Where elements of several places meet in one gradient, each of them is
one addition, the first one included. Gradients with a product inside are in backward.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod

import torch

from ..records.cost import Cost
from ..records.recording import OpRecord
from . import formulas
from .common import argument, arithmetic, optional, with_bytes
from .formulas import places
from .interpolation import BILINEAR, NEAREST, coordinate_operations
from .loss import ctc_states
from .registry import OpKey, Rule

aten = torch.ops.aten


def scatter(op: OpRecord) -> Cost:
    """Every element of the gradient is added to where it came from: max pooling, padding, windows, lookups."""
    return arithmetic(op, op.args[0].numel)


def avg_pool(op: OpRecord) -> Cost:
    """Each output's gradient is divided by its window's size, then added to all of the window."""
    return arithmetic(op, op.args[0].numel * (1 + prod(argument(op, "kernel_size"))))


def adaptive_avg_pool(op: OpRecord) -> Cost:
    """As `avg_pool`, windows being what divides the map."""
    grad, x = op.args[:2]
    dims = 3 if "3d" in str(op.op) else 2
    spatial, out = x.shape[-dims:], grad.shape[-dims:]
    elements = prod(x.shape[:-dims]) * formulas.adaptive_window_elements(spatial, out)
    return arithmetic(op, grad.numel + elements)


def segment_reduce(op: OpRecord) -> Cost:
    """grad, output, data, reduce: for each element of data nothing (sum), a division by the segment's length (mean).

    For a product: times the segment's result, divided by the element. For an extreme: compared with it, and divided by
    how many are equal.
    """
    each = {"sum": 0, "mean": 1}.get(argument(op, "reduce"), 2)
    return arithmetic(op, each * argument(op, "data").numel)


# ------------------------------------------------------------------------------------------------------- resampling


def interpolate(taps: int) -> Callable[[OpRecord], Cost]:
    """Each gradient element is shared out over `taps` neighbours in each dimension."""

    def rule(op: OpRecord) -> Cost:
        grad = op.args[0]
        return arithmetic(op, *places.interpolate_backward(grad.numel, taps, len(grad.shape) - 2))

    return rule


def antialiased(width: int) -> Callable[[OpRecord], Cost]:
    """The transpose of the forward pass: as many products, and an addition for each."""

    def rule(op: OpRecord) -> Cost:
        grad, size = op.args[0], argument(op, "input_size")
        return arithmetic(op, *places.antialiased_backward(prod(grad.shape[:2]), size[2:], grad.shape[2:], width))

    return rule


def grid_sample(op: OpRecord) -> Cost:
    """(grad, input (n, c, *spatial), grid (n, *out, d), …): coordinates once more, then both gradients.

    A picked neighbour's gradient is added to it; its coordinates get none.
    """
    grad, _input, grid, mode, padding, corners = op.args[:6]
    of_x, of_grid = argument(op, "output_mask", (True, True))
    d = grid.shape[-1]
    positions = grid.numel // d
    coordinates = positions * d * coordinate_operations(padding, corners)
    if mode == NEAREST:
        return arithmetic(op, coordinates + grad.numel if of_x else 0)
    if mode == BILINEAR:
        flops, roots = places.linear_grid_backward(grad.numel, positions, d, of_x, of_grid)
    else:
        flops, roots = places.cubic_grid_backward(grad.numel, positions, of_x, of_grid)
    return arithmetic(op, coordinates + flops, roots)


# ---------------------------------------------------------------------------------- lookups, parts, pairs, sequences


def lookup(op: OpRecord) -> Cost:
    """(grad, indices, …): the gradient's row is added to the row of each index, which may be several to a bag."""
    grad, indices = op.args[:2]
    return arithmetic(op, indices.numel * grad.shape[-1])


_MEAN, _MAX = 1, 2  # modes of an embedding bag; 0 is the sum


def embedding_bag(op: OpRecord) -> Cost:
    """grad (bags, d) → (num_weights, d): a row for each index; weights and means scale rows, a maximum picks elements.

    The mean divides each bag's gradient once; weights of samples multiply each row.
    """
    grad, indices, mode = op.args[0], op.args[1], argument(op, "mode")
    if mode == _MAX:
        return arithmetic(op, grad.numel)
    weighted = argument(op, "per_sample_weights") is not None
    rows = indices.numel * grad.shape[-1] * (1 + weighted)
    return arithmetic(op, rows + (grad.numel if mode == _MEAN else 0))


def sample_weights(op: OpRecord) -> Cost:
    """grad (bags, d), weight, indices → (indices,): each row times its bag's gradient, summed up."""
    grad, indices = op.args[0], op.args[2]
    return arithmetic(op, indices.numel * max(2 * grad.shape[-1] - 1, 0))


def fill_part(op: OpRecord) -> Cost:
    """Zeros everywhere but in the part that the gradient is copied to."""
    return with_bytes(op, Cost(), op.args[0].stored_bytes)


def move(op: OpRecord) -> Cost:
    """Copies."""
    return Cost()


def distances(op: OpRecord) -> Cost:
    """(grad (*, p, r), x1 (*, p, d), x2, p, distances): the gradient of one side of each pair."""
    grad, x = op.args[:2]
    return arithmetic(op, *places.distances_backward(grad.numel, x.shape[-1], argument(op, "p"), both=False))


def distances_within(op: OpRecord) -> Cost:
    """(grad (n · (n − 1) / 2), x (n, d), p, distances): each pair's gradient goes to both of its rows."""
    grad, x = op.args[:2]
    return arithmetic(op, *places.distances_backward(grad.numel, x.shape[-1], argument(op, "p"), both=True))


def ctc(op: OpRecord) -> Cost:
    """(grad, log-probabilities (t, n, c), targets, input lengths, target lengths, …)."""
    return arithmetic(op, *places.ctc_backward(ctc_states(*op.args[1:5])[0], argument(op, "log_probs").numel))


_SCATTER = Rule("pooling", scatter)
_LOOKUP = Rule("indexing", lookup)
_PADDING = Rule("indexing", scatter)
_FILL = Rule("movement", fill_part, "copies into zeros, no arithmetic")

RULES: Mapping[OpKey, Rule] = {
    aten.max_pool2d_with_indices_backward: _SCATTER,
    aten.max_pool3d_with_indices_backward: _SCATTER,
    aten.max_pool2d_backward: _SCATTER,
    aten.mkldnn_max_pool2d_backward: _SCATTER,
    aten.mkldnn_max_pool3d_backward: _SCATTER,
    aten.adaptive_max_pool2d_backward: _SCATTER,
    aten.adaptive_max_pool3d_backward: _SCATTER,
    aten.fractional_max_pool2d_backward: _SCATTER,
    aten.fractional_max_pool3d_backward: _SCATTER,
    aten.avg_pool2d_backward: Rule("pooling", avg_pool),
    aten.avg_pool3d_backward: Rule("pooling", avg_pool),
    aten._adaptive_avg_pool2d_backward: Rule("pooling", adaptive_avg_pool),
    aten._adaptive_avg_pool3d_backward: Rule("pooling", adaptive_avg_pool),
    aten.mkldnn_adaptive_avg_pool2d_backward: Rule("pooling", adaptive_avg_pool),
    aten.upsample_nearest1d_backward: Rule("interpolation", scatter),
    aten.upsample_nearest2d_backward: Rule("interpolation", scatter),
    aten.upsample_nearest3d_backward: Rule("interpolation", scatter),
    aten._upsample_nearest_exact1d_backward: Rule("interpolation", scatter),
    aten._upsample_nearest_exact2d_backward: Rule("interpolation", scatter),
    aten._upsample_nearest_exact3d_backward: Rule("interpolation", scatter),
    aten.upsample_linear1d_backward: Rule("interpolation", interpolate(2)),
    aten.upsample_bilinear2d_backward: Rule("interpolation", interpolate(2)),
    aten.upsample_trilinear3d_backward: Rule("interpolation", interpolate(2)),
    aten.upsample_bicubic2d_backward: Rule("interpolation", interpolate(4)),
    aten._upsample_bilinear2d_aa_backward: Rule("interpolation", antialiased(2)),
    aten._upsample_bicubic2d_aa_backward: Rule("interpolation", antialiased(4)),
    **optional("_upsample_lanczos2d_aa_backward", Rule("interpolation", antialiased(6))),
    aten.grid_sampler_2d_backward: Rule("interpolation", grid_sample),
    aten.grid_sampler_3d_backward: Rule("interpolation", grid_sample),
    aten.embedding_dense_backward: _LOOKUP,
    aten._embedding_bag_backward: Rule("indexing", embedding_bag),
    aten._embedding_bag_dense_backward: _LOOKUP,
    aten._embedding_bag_per_sample_weights_backward: Rule("indexing", sample_weights),
    aten.unfold_backward: _PADDING,
    aten.reflection_pad1d_backward: _PADDING,
    aten.reflection_pad2d_backward: _PADDING,
    aten.reflection_pad3d_backward: _PADDING,
    aten.replication_pad1d_backward: _PADDING,
    aten.replication_pad2d_backward: _PADDING,
    aten.replication_pad3d_backward: _PADDING,
    aten.select_backward: _FILL,
    aten.slice_backward: _FILL,
    aten.diagonal_backward: _FILL,
    aten.masked_scatter_backward: Rule("movement", move, "moves data, no arithmetic"),
    aten._cdist_backward: Rule("linalg", distances),
    aten._pdist_backward: Rule("linalg", distances_within),
    aten._ctc_loss_backward: Rule("loss", ctc),
    aten._segment_reduce_backward: Rule("reduction", segment_reduce),
}
