"""Gradients of pools, resampling, lookups, distances and alignments: reference algorithms against PyTorch's kernels."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from oracle import Number, exp, filled, floor, log, maximum, minimum, numbers, power, prove, tensor, total
from recording import price, price_of
from strategies import drawn, flags, sizes, values

from tests.rules.test_interpolation import cubic_taps, linear_taps

F = torch.nn.functional
aten = torch.ops.aten


def zeros(shape):
    """Zeros that count what is added to them."""
    out = filled(shape)
    for i in np.ndindex(out.shape):
        out[i] = Number(0.0)
    return out


# -------------------------------------------------------------------------------------------------------- windows


def edges(i, size, out):
    """Where window i of an adaptive pooling begins and ends."""
    return i * size // out, -(-(i + 1) * size // out)


@drawn(st.integers(2, 3), st.data())
def test_adaptive_average_pooling(dims, data):
    """Each gradient is divided by its window's size and added to every element of the window."""
    spatial, out = (tuple(data.draw(st.integers(1, 4)) for _ in range(dims)) for _ in range(2))
    op = aten._adaptive_avg_pool2d_backward if dims == 2 else aten._adaptive_avg_pool3d_backward

    def reference(g, x):
        into = zeros(x.shape)
        for n, c, *place in np.ndindex(g.shape):
            window = list(
                itertools.product(*[range(*edges(i, s, o)) for i, s, o in zip(place, spatial, out, strict=True)])
            )
            share = g[(n, c, *place)] / len(window)
            for at in window:
                into[(n, c, *at)] = into[(n, c, *at)] + share
        return into

    prove(op, reference, values(2, 1, *out), values(2, 1, *spatial))


@drawn(sizes, st.integers(2, 5), st.integers(1, 3))
def test_adaptive_maximum_pooling(n, size, out):
    """Each gradient is added to where the maximum stood."""
    out = min(out, size)
    x = values(n, 2, size, size)
    pooled, where = F.adaptive_max_pool2d(x, out, return_indices=True)

    def reference(g, x, where):
        into = zeros(x.shape)
        for i, c, *place in np.ndindex(g.shape):
            at = (i, c, *divmod(where[(i, c, *place)], size))
            into[at] = into[at] + g[(i, c, *place)]
        return into

    prove(aten.adaptive_max_pool2d_backward, reference, values(*pooled.shape, seed=1), x, where)


# ------------------------------------------------------------------------------------------------------- resampling


def shared_out(taps, size, corners):
    """Separable interpolation transposed: along the first dimension, then at each of its taps along the next."""

    def spread(into, at, g, places):
        if not places:
            into[at] = into[at] + g
            return
        for i, w in places[0]:
            spread(into, (*at, i), g * w, places[1:])

    def run(g, *_):
        into = zeros((*g.shape[:2], *size))
        for n, c, *place in np.ndindex(g.shape):
            places = [taps(p, s, o, corners) for p, s, o in zip(place, size, g.shape[2:], strict=True)]
            spread(into, (n, c), g[(n, c, *place)], places)
        return into

    return run


RESIZES = {
    "linear": (1, aten.upsample_linear1d_backward, linear_taps),
    "bilinear": (2, aten.upsample_bilinear2d_backward, linear_taps),
    "trilinear": (3, aten.upsample_trilinear3d_backward, linear_taps),
    "bicubic": (2, aten.upsample_bicubic2d_backward, cubic_taps),
}


@pytest.mark.parametrize("mode", RESIZES)
@drawn(st.data(), flags, examples=8)
def test_resizing(mode, data, corners):
    """Up and down, in one to three dimensions: each gradient to all the taps that its output was made of."""
    dims, op, taps = RESIZES[mode]
    extents = st.tuples(*[st.integers(1, 4)] * dims)
    spatial, out = data.draw(extents), data.draw(extents)
    grad = values(2, 1, *out)
    prove(
        lambda g: op(g, list(out), [2, 1, *spatial], corners),
        shared_out(taps, spatial, corners),
        grad,
    )


def triangle(i, size, out):
    """Source positions and weights of an antialiased bilinear output i, as Pillow computes them."""
    scale = size / out
    support = max(scale, 1.0)
    center = (i + 0.5) * scale
    first, last = max(int(center - support + 0.5), 0), min(int(center + support + 0.5), size)
    weights = [max(1 - abs((j - center + 0.5) / max(scale, 1.0)), 0.0) for j in range(first, last)]
    return [(first + k, w / sum(weights)) for k, w in enumerate(weights)]


def test_antialiased_resizing_is_transposed_in_two_passes():
    """Rows first, then columns; taps that stand over the border count as dense, so the map is a large one's inside."""
    out, spatial = (2, 3), (6, 9)
    grad = values(1, 2, *out)

    def reference(g):
        rows, into = zeros((1, 2, spatial[0], out[1])), zeros((1, 2, *spatial))
        for c, i, j in np.ndindex(2, *out):
            for a, w in triangle(i, spatial[0], out[0]):
                rows[0, c, a, j] = rows[0, c, a, j] + g[0, c, i, j] * w
        for c, a, j in np.ndindex(2, spatial[0], out[1]):
            for b, w in triangle(j, spatial[1], out[1]):
                into[0, c, a, b] = into[0, c, a, b] + rows[0, c, a, j] * w
        return into

    call = lambda g: aten._upsample_bilinear2d_aa_backward(g, out, [1, 2, *spatial], False)  # noqa: E731
    theirs, mine = call(grad), tensor(reference(numbers(grad)))
    torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-8)
    taps, columns = 6, out[1]  # ⌈2 · 3⌉ in both directions
    assert price(call, grad).other_flops == 2 * (2 * columns * out[0] * taps + 2 * columns * spatial[0] * taps)


def coordinate(g, size, padding, corners):
    x = (g + 1) / 2 * (size - 1) if corners else ((g + 1) * size - 1) / 2
    return minimum(maximum(x, 0), size - 1) if padding == "border" else x


def slope(size, corners):
    """How far a place moves with its coordinate."""
    return (size - 1 if corners else size) / 2


def linear_grid(g, x, grid, padding, corners):
    """Both gradients of linear grid sampling; pixels outside of the map are zeros and take nothing."""
    into, of_grid = zeros(x.shape), zeros(grid.shape)
    spatial, d = x.shape[2:], grid.shape[-1]
    for n, *place in np.ndindex(grid.shape[:-1]):
        at = grid[(n, *place)][::-1]
        xs = [coordinate(v, s, padding, corners) for v, s in zip(at, spatial, strict=True)]
        low = [floor(v) for v in xs]
        slopes = [Number(0.0)] * d
        for corner in itertools.product((0, 1), repeat=d):
            sides = [v - p.value if k else (p.value + 1) - v for v, p, k in zip(xs, low, corner, strict=True)]
            weight = total(sides, lambda a, b: a * b)
            pixel = [int(p.value) + k for p, k in zip(low, corner, strict=True)]
            inside = all(0 <= a < s for a, s in zip(pixel, spatial, strict=True))
            for c in range(x.shape[1]):
                gradient = g[(n, c, *place)]
                share = weight * gradient
                target = (n, c, *pixel) if inside else None
                old = into[target] if inside else Number(0.0)
                new = old + share
                if inside:
                    into[target] = new
                value = x[target] if inside else Number(0.0)
                for k in range(d):
                    term = total([value, *[s for i, s in enumerate(sides) if i != k]], lambda a, b: a * b) * gradient
                    slopes[k] = slopes[k] + term if corner[k] else slopes[k] - term
        for k in range(d):
            clipped = padding == "border" and not 0 < float(xs[k]) < spatial[k] - 1
            of_grid[(n, *place, d - 1 - k)] = slopes[k] * (0.0 if clipped else slope(spatial[k], corners))
    return into, of_grid


@pytest.mark.parametrize("padding", ["zeros", "border"])
@drawn(flags, st.integers(2, 3), sizes, sizes, examples=6)
def test_grid_sampling(padding, corners, d, n, c):
    """Linear, in two and three dimensions: weights serve all channels, slopes are scaled to the map at the end."""
    x, grid = values(n, c, *range(3, 3 + d)), values(n, *range(2, 2 + d), d, low=-1.3, high=1.3)
    op = aten.grid_sampler_2d_backward if d == 2 else aten.grid_sampler_3d_backward
    border = 1 if padding == "border" else 0
    prove(
        lambda g, x, grid: op(g, x, grid, 0, border, corners, [True, True]),
        lambda g, x, grid: linear_grid(g, x, grid, padding, corners),
        values(n, c, *range(2, 2 + d), seed=1),
        x,
        grid,
    )


def cubic(t, a=-0.75):
    """Keys' four weights and their derivatives, with the opposite sign."""
    inner = lambda v: ((a + 2) * v - (a + 3)) * v * v + 1  # noqa: E731
    outer = lambda v: ((a * v - 5 * a) * v + 8 * a) * v - 4 * a  # noqa: E731
    weights = outer(t + 1), inner(t), inner(1 - t), outer(2 - t)
    near, far, other, last = t + 1, -t, 1 - t, 2 - t
    slopes = (
        (-3 * a * near + 10 * a) * near - 8 * a,
        (-3 * (a + 2) * far - 2 * (a + 3)) * far,
        (3 * (a + 2) * other - 2 * (a + 3)) * other,
        (3 * a * last - 10 * a) * last + 8 * a,
    )
    return weights, slopes


@drawn(flags, sizes, sizes, examples=5)
def test_bicubic_grid_sampling(corners, n, c):
    """Sixteen neighbours: two products and an addition into the map, three products and a subtraction a slope."""
    x, grid = values(n, c, 4, 5), values(n, 2, 2, 2, low=-1.2, high=1.2)

    def reference(g, x, grid):
        into, of_grid = zeros(x.shape), zeros(grid.shape)
        spatial = x.shape[2:]
        for b, i, j in np.ndindex(grid.shape[:-1]):
            ys = [coordinate(v, s, "zeros", corners) for v, s in zip(grid[b, i, j][::-1], spatial, strict=True)]
            low = [floor(v) for v in ys]
            (wy, dy), (wx, dx) = (cubic(v - p.value) for v, p in zip(ys, low, strict=True))
            slopes = [Number(0.0), Number(0.0)]
            for k, p, q in itertools.product(range(c), range(4), range(4)):
                at = int(low[0].value) - 1 + p, int(low[1].value) - 1 + q
                inside = all(0 <= a < s for a, s in zip(at, spatial, strict=True))
                value = x[(b, k, *at)] if inside else Number(0.0)
                new = (into[(b, k, *at)] if inside else Number(0.0)) + g[b, k, i, j] * wy[p] * wx[q]
                if inside:
                    into[(b, k, *at)] = new
                slopes[0] = slopes[0] - value * dy[p] * wx[q] * g[b, k, i, j]
                slopes[1] = slopes[1] - value * wy[p] * dx[q] * g[b, k, i, j]
            of_grid[b, i, j, 1] = slopes[0] * slope(spatial[0], corners)
            of_grid[b, i, j, 0] = slopes[1] * slope(spatial[1], corners)
        return into, of_grid

    prove(
        lambda g, x, grid: aten.grid_sampler_2d_backward(g, x, grid, 2, 0, corners, [True, True]),
        reference,
        values(n, c, 2, 2, seed=1),
        x,
        grid,
    )


def test_nearest_grid_sampling_moves_no_coordinate():
    """Picked neighbours take their gradient; the grid's is zero and costs nothing."""
    x, grid, g = values(2, 3, 4, 4), values(2, 5, 5, 2, low=-0.9, high=0.9), values(2, 3, 5, 5)
    both, of_grid = (
        price(lambda *a, m=m: aten.grid_sampler_2d_backward(*a, 1, 0, False, m), g, x, grid)
        for m in ([True, True], [False, True])
    )
    assert both.flops == 2 * 25 * 2 * 5 + g.numel()
    assert of_grid.flops == 0


# ---------------------------------------------------------------------------------- lookups, pairs, sequences


@pytest.mark.parametrize("mode", [0, 1])
@drawn(flags, st.integers(1, 3), st.integers(1, 4))
def test_bags_of_embeddings(mode, weighted, bags, d):
    """A row for each index, scaled by its sample's weight; the mean divides each bag's gradient."""
    indices, rows = torch.tensor([1, 0, 2, 1, 4][: bags + 1]), 5
    offsets = torch.arange(bags)
    weighted = weighted and mode == 0
    sample = values(bags + 1, seed=2) if weighted else None
    bag = torch.tensor([*range(bags), bags - 1])
    counts = torch.bincount(bag, minlength=bags)
    grad = values(bags, d)

    def reference(g, sample):
        into = zeros((rows, d))
        scaled = filled(g.shape)
        for b, j in np.ndindex(g.shape):
            scaled[b, j] = g[b, j] / int(counts[b]) if mode == 1 else g[b, j]
        for k, row in enumerate(indices.tolist()):
            for j in range(d):
                term = scaled[int(bag[k]), j]
                into[row, j] = into[row, j] + (term if sample is None else term * sample[k])
        return into

    def theirs(g, sample):
        empty = torch.empty(0, dtype=torch.int64)
        return aten._embedding_bag_backward(
            g, indices, offsets, bag, counts, empty, rows, False, mode, False, sample, -1
        )

    prove(theirs, reference, grad, sample)


@drawn(sizes, st.integers(1, 4))
def test_weights_of_samples_in_bags(bags, d):
    """Each index's row times its bag's gradient."""
    indices, table = torch.arange(bags + 1) % 3, values(3, d)
    bag = torch.tensor([*range(bags), bags - 1])

    def reference(g, table):
        out = filled((bags + 1,))
        for k, row in enumerate(indices.tolist()):
            out[k] = total([a * b for a, b in zip(g[int(bag[k])], table[row], strict=True)])
        return out

    def theirs(g, table):
        return aten._embedding_bag_per_sample_weights_backward(g, table, indices, torch.arange(bags), bag, 0, -1)

    prove(theirs, reference, values(bags, d), table)


def sign(v):
    return Number(float(v > 0) - float(v < 0))


def toward(p, g, difference, distance):
    """What one pair gives to its first point, coordinate by coordinate."""
    if p == 1:
        return [sign(v) * g for v in difference()]
    if p == float("inf"):
        return [sign(v) * g if abs(v) == distance else sign(v) * g * 0 for v in difference()]
    if p == 2:
        factor = g / distance if distance != 0 else Number(0.0)
        return [v * factor for v in difference()]
    factor = g / power(distance, p - 1) if distance != 0 else Number(0.0)
    return [sign(v) * power(abs(v), p - 1) * factor for v in difference()]


@pytest.mark.parametrize("p", [0.0, 1.0, 2.0, 3.0])
@drawn(sizes, st.integers(1, 4), st.integers(1, 4))
def test_pairwise_distances(p, n, m, d):
    """Every pair moves its first point along the difference."""
    x, y = values(n, d), values(m, d, seed=17)
    distances = torch.cdist(x, y, p)

    def reference(g, x, y, distances):
        into = zeros((n, d))
        if p == 0:
            return into
        for i, j in np.ndindex(n, m):
            difference = lambda i=i, j=j: [a - b for a, b in zip(x[i], y[j], strict=True)]  # noqa: E731
            for k, v in enumerate(toward(p, g[i, j], difference, distances[i, j])):
                into[i, k] = into[i, k] + v
        return into

    prove(
        lambda g, x, y, dist: aten._cdist_backward(g, x, y, p, dist), reference, values(n, m, seed=2), x, y, distances
    )


def test_the_largest_coordinate_takes_it_all():
    """p = ∞: the difference, its size, a compare with the distance, two for its sign, a product, an addition."""
    x, y = values(2, 3), values(4, 3, seed=1)
    cost = price(
        lambda *a: aten._cdist_backward(*a[:3], float("inf"), a[3]), values(2, 4), x, y, torch.cdist(x, y, torch.inf)
    )
    assert cost.other_flops == 2 * 4 * 3 * 7


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
def test_distances_within_a_set_move_both_points(p):
    """Each pair once; what one point gains the other loses."""
    n, d = 4, 3
    x = values(n, d)

    def reference(g, x, distances):
        into = zeros((n, d))
        for k, (i, j) in enumerate(itertools.combinations(range(n), 2)):
            difference = lambda i=i, j=j: [a - b for a, b in zip(x[i], x[j], strict=True)]  # noqa: E731
            for c, v in enumerate(toward(p, g[k], difference, distances[k])):
                into[i, c], into[j, c] = into[i, c] + v, into[j, c] - v
        return into

    prove(lambda g, x, dist: aten._pdist_backward(g, x, p, dist), reference, values(6), x, torch.pdist(x, p))


def logsumexp(terms):
    """log Σ exp with the largest taken out; at least one term is finite."""
    peak = total(terms, maximum)
    return log(total([exp(t - peak) for t in terms])) + peak


@drawn(sizes, sizes, examples=6)
def test_connectionist_temporal_classification(n, length):
    """The recursion from the end; each state's share is collected by its label."""
    steps, classes, never = 2 * length + 2, 3, -1e30
    logits = F.log_softmax(values(steps, n, classes), 2)
    targets = torch.stack([1 + (torch.arange(length) + i) % 2 for i in range(n)])
    lengths = [steps] * n, [length] * n
    loss, alpha = aten._ctc_loss(logits, targets, *lengths, 0)

    def reference(g, p, targets, loss, alpha):
        out = filled(p.shape)
        for b in range(n):
            labels = [0]
            for t in targets[b]:
                labels += [int(t), 0]
            count = len(labels)
            after = None
            for t in reversed(range(steps)):
                now, collected = [], [Number(never)] * classes
                for s, label in enumerate(labels):
                    skip = s + 2 < count and label not in (0, labels[s + 2])
                    if after is None:  # a path ends at the blank or at the last label
                        terms = [0.0 if s >= count - 2 else never, never, never]
                    else:
                        terms = [after[s], after[s + 1] if s + 1 < count else never]
                        terms.append(after[s + 2] if skip else never)
                    now.append(logsumexp(terms) + p[t, b, label])
                    both = now[s] + (alpha[b, t, s] if float(alpha[b, t, s]) > -np.inf else Number(never))
                    collected[label] = logsumexp([collected[label], both])
                for k in range(classes):
                    gain = exp(p[t, b, k]) - exp(collected[k] + loss[b] - p[t, b, k])
                    out[t, b, k] = gain * g[b]
                after = now
        return out

    def theirs(g, p, targets, loss, alpha):
        return aten._ctc_loss_backward(g, p, targets, *lengths, loss, alpha, 0, False)

    prove(theirs, reference, values(n, seed=3), logits, targets, loss, alpha)


@pytest.mark.parametrize(("reduce", "each"), [("sum", 0), ("mean", 1), ("max", 2), ("prod", 2)])
def test_segments(reduce, each):
    """A sum's gradient is copied, a mean's divided; products and extremes take two operations an element."""
    data, lengths, out = values(6), torch.tensor([2, 4]), values(2)
    cost = price_of(aten._segment_reduce_backward.default, out, out, data, reduce, lengths=lengths, outputs=data)
    assert cost.other_flops == 6 * each


# --------------------------------------------------------------------------------------------------- weight norm


@drawn(sizes, st.integers(1, 4))
def test_weight_normalization(rows, n):
    """v and g of v · (g / ‖v‖), norms over each row being known."""
    v, g = values(rows, n), values(rows, 1, seed=1)
    norms = v.norm(dim=1, keepdim=True)

    def reference(dw, v, g, norms, _dim):
        of_v, of_g = filled(v.shape), filled(g.shape)
        for i in range(rows):
            norm = norms[i, 0]
            along = total([a * b for a, b in zip(dw[i], v[i], strict=True)]) / norm
            of_g[i, 0] = along
            scale, part = g[i, 0] / norm, along / norm
            of_v[i] = [(a - b * part) * scale for a, b in zip(dw[i], v[i], strict=True)]
        return of_v, of_g

    prove(aten._weight_norm_interface_backward, reference, values(rows, n, seed=2), v, g, norms, 0)
