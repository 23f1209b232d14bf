"""Gradients of what brings elements to other places: resampling, distances, alignments, regions of interest.

Where a gradient element is shared out over several places, each share is one addition there, the first one included.
"""

from __future__ import annotations

from collections.abc import Sequence

from .reduction import Pair
from .window import cubic_coefficients


def interpolate_backward(outputs: int, taps: int, dims: int) -> Pair:
    """Separable interpolation transposed: a product with each weight of each dimension in turn, then the additions.

    The first dimension's taps take one product each, those of the next one for each of these, and so on.

    >>> interpolate_backward(1, 2, 1), interpolate_backward(1, 2, 2), interpolate_backward(1, 4, 2)
    ((4, 0), (10, 0), (36, 0))
    """
    return outputs * (sum(taps**i for i in range(1, dims + 1)) + taps**dims), 0


def antialiased_backward(batch: int, spatial: Sequence[int], out: Sequence[int], width: int) -> Pair:
    """Resampling with antialiasing transposed: its two passes in the opposite order, a product and an addition a tap.

    Sizes as in :func:`~fxcost.rules.formulas.window.antialiased`.

    >>> antialiased_backward(1, (8, 8), (4, 4), 2)
    (384, 0)
    """
    (h, w), (out_h, out_w) = spatial, out
    taps_h, taps_w = (max(-(-width * a // max(b, 1)), width) for a, b in ((h, out_h), (w, out_w)))
    return 2 * batch * out_w * (out_h * taps_h + h * taps_w), 0


def linear_grid_backward(outputs: int, positions: int, dims: int, of_x: bool, of_grid: bool) -> Pair:
    """Linear sampling at a grid, once its coordinates are known; `outputs` is positions × channels.

    Each of the 2^dims corner weights is a product of dims differences, at each position. For each channel and corner:
    into the map a product and an addition; into each coordinate the pixel times the other differences times the
    gradient, and an addition. A coordinate's gradient is then scaled to the map.

    >>> linear_grid_backward(3, 1, 2, True, True)
    (110, 0)
    """
    corners = 2**dims
    each = corners * (2 * of_x + dims * (dims + 1) * of_grid)
    return positions * (corners * (2 * dims - 1) + dims * of_grid) + outputs * each, 0


def cubic_grid_backward(outputs: int, positions: int, of_x: bool, of_grid: bool) -> Pair:
    """Bicubic sampling at a grid, once its coordinates are known.

    At each position two fractions and the weights of both; for the grid also their derivatives: two quadratics
    ((−3a·x − 10a)·x − 8a) of four operations, two ((3(a+2)x − 2(a+3))x) of three, and four shifted arguments. For each
    channel and each of 16 neighbours: into the map two products and an addition, into each of two coordinates three
    products and a subtraction.

    >>> cubic_grid_backward(3, 1, True, True)
    (618, 0)
    """
    at_position = 2 + cubic_coefficients(2)[0] + (2 * 18 + 2) * of_grid
    return positions * at_position + outputs * 16 * (3 * of_x + 8 * of_grid), 0


def distances_backward(pairs: int, d: int, p: float, both: bool) -> Pair:
    """Gradient of p-norms of differences of `d` coordinates, for one side of each pair or for both.

    ∂‖x − y‖ / ∂x: sign(x − y) for p = 1; (x − y) / ‖x − y‖ for p = 2; sign(x − y) where |x − y| is the largest for
    p = ∞; else sign(x − y) · |x − y|^(p−1) / ‖x − y‖^(p−1); nothing for p = 0. What depends on the pair alone is
    computed once; where the distance is zero (for p = 2 and other p a compare a pair) there is no gradient. A sign is
    two compares.

    >>> distances_backward(1, 10, 2, False), distances_backward(1, 10, 1, False), distances_backward(1, 10, 3, False)
    ((32, 0), (50, 0), (83, 11))
    """
    if p == 0:
        return 0, 0
    if p == 1:
        per_pair, each, roots = 0, 5, 0
    elif p == 2:
        per_pair, each, roots = 2, 3, 0
    elif p == float("inf"):
        per_pair, each, roots = 0, 7, 0
    else:
        per_pair, each, roots = 3, 8, 1
    return pairs * (per_pair + d * (each + both)), pairs * (roots + d * roots)


def ctc_backward(states: int, probabilities: int) -> Pair:
    """Connectionist temporal classification: the recursion once more, from the end, and each state's share.

    A state takes log Σ exp of three successors (twelve operations, four transcendental) + its log-probability, then an
    addition to its forward variable, then log Σ exp with what its label has collected (eight, three). Each of the
    log-probabilities: exp(lp) − exp(collected + loss − lp), times the gradient.
    Source: Graves et al., Connectionist Temporal Classification, 2006, equation 16, in logarithms.

    >>> ctc_backward(1, 1)
    (28, 9)
    """
    return 22 * states + 6 * probabilities, 7 * states + 2 * probabilities


def region_means_backward(outputs: int, positions: int, boxes: int, samples: int, per_box: int) -> Pair:
    """Aligned regions of interest: the bin's mean shares its gradient out over 4 corners of each sample.

    Positions (of outputs without channels) and boxes as in the forward pass; for each output a division, for each
    sample and corner a product and an addition.

    >>> region_means_backward(3, 1, 1, 4, 12)
    (167, 0)
    """
    return outputs * (1 + 8 * samples) + 14 * positions * samples + boxes * per_box, 0


def deformable_backward(positions: int, columns: int, masked: bool) -> Pair:
    """Deformable convolution beside its products: `positions` sampling places, `columns` = places × channels each.

    The samples once more (weights of a place twelve operations, a sample seven, the mask's product), for the weights'
    gradient. Then from the gradient of each column element: the mask's product, four products and additions into the
    map, five operations for each coordinate's slope, a product and a sum over channels; the mask's gradient is a
    product and a sum over channels too.

    >>> deformable_backward(1, 2, False), deformable_backward(1, 2, True)
    ((68, 0), (75, 0))
    """
    return columns * (7 + 8 + 14 + 4 * masked) + positions * (12 - 2 - masked), 0
