"""Gathers, scatters and movement: arithmetic where they accumulate, and the bytes that they touch."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from oracle import counting, filled, maximum, numbers, prove, total
from recording import price, price_of
from strategies import drawn, flags, sizes, values

from fxcost import Cost

aten = torch.ops.aten
FLOAT, INT = 8, 8  # bytes of values() and of an index


def index(*shape, high):
    """Reproducible indices below `high`."""
    return (torch.arange(int(np.prod(shape))).reshape(shape) * 7) % high


@drawn(sizes, sizes, sizes)
def test_lookups_read_the_rows_that_they_pick(n, rows, d):
    """Picked rows and indices, not the table; results are written."""
    table, i = values(10, d), index(n, rows, high=10)
    expected = Cost(
        bytes_read=n * rows * (d * FLOAT + INT),
        bytes_written=n * rows * d * FLOAT,
        activations=n * rows * d,
    )
    assert price(torch.nn.functional.embedding, i, table) == expected
    assert price(lambda t, j: t[j], table, i) == expected
    assert price(torch.index_select, table, 0, i.flatten()) == expected
    assert price(torch.take, table, index(n, rows, d, high=10)).bytes_read == n * rows * d * (FLOAT + INT)
    assert price(torch.gather, table, 0, index(5, d, high=10)).bytes_read == 5 * d * (FLOAT + INT)


@drawn(st.integers(0, 4), st.booleans())
def test_index_put_writes_what_it_names(k, accumulate):
    """In place: indices and values are read, named places written; accumulating reads them and adds."""
    x, i, v = values(6, 3), index(k, high=6), values(k, 3)
    cost = price(lambda x, i, v: x.index_put_((i,), v, accumulate), x, i, v)
    if k:
        assert cost.bytes_written == 3 * k * FLOAT
        assert cost.bytes_read == k * INT + 3 * k * FLOAT * (2 if accumulate else 1)
    assert cost.other_flops == (3 * k if accumulate else 0)


def test_index_put_out_of_place_copies_everything():
    """The functional variant reads and writes the whole tensor."""
    x, i, v = values(6, 3), index(2, high=6), values(2, 3)
    cost = price(lambda x, i, v: torch.index_put(x, (i,), v), x, i, v)
    assert (cost.bytes_read, cost.bytes_written) == (18 * FLOAT + 2 * INT + 6 * FLOAT, 18 * FLOAT)


def test_index_put_with_broadcast_indices_and_whole_dimensions():
    """(2, 1) and (3) indices with a whole dimension between them: 2 · 3 · 4 places."""
    x, i, j = values(5, 4, 6), index(2, 1, high=5), index(3, high=6)
    cost = price(lambda x, i, j, v: aten.index_put_(x, [i, None, j], v), x, i, j, values(1))
    assert cost.bytes_written == 2 * 3 * 4 * FLOAT


def test_a_mask_as_index_counts_as_all_true():
    """How many elements a mask names is not known."""
    x, m = values(5, 4), torch.ones(5, dtype=torch.bool)
    assert price(lambda x, m, v: x.index_put_((m,), v), x, m, values(1)).bytes_written == 20 * FLOAT


def scattered(step):
    """self[index[i][j]][j] (op)= src[i][j], for the functional operators."""

    def run(x, dim, i, src):
        out = x.copy()
        for at in np.ndindex(i.shape):
            place = (i[at], at[1])
            out[place] = step(out[place], src[at])
        return out

    return run


ADD = scattered(lambda a, b: a + b)
KEEP = scattered(lambda a, b: b)
TIMES = scattered(lambda a, b: a * b)


@drawn(st.integers(0, 4), sizes)
def test_scatters_against_a_walk(k, d):
    """scatter moves, scatter_add adds, reductions take one operation an element."""
    x, i, src = values(5, d), torch.stack([(torch.arange(k) * 2 + j) % 5 for j in range(d)], 1), values(k, d, seed=1)
    prove(torch.scatter, KEEP, x, 0, i, src)
    prove(torch.scatter_add, ADD, x, 0, i, src)
    prove(lambda *a: torch.scatter_reduce(*a, reduce="prod"), TIMES, x, 0, i, src)
    with warnings.catch_warnings(action="ignore"):  # deprecated in favour of scatter_reduce, and still there
        prove(lambda *a: torch.scatter(*a, reduce="add"), ADD, x, 0, i, src)


@drawn(sizes, st.sampled_from([1, 3]))
def test_index_add_and_its_relatives(k, alpha):
    """An addition an element, and a product for another alpha; copies and fills are free of arithmetic."""
    x, i, src = values(5, 2), torch.arange(k), values(k, 2, seed=1)

    def reference(x, dim, i, src):
        out = x.copy()
        for r, c in np.ndindex(src.shape):
            out[i[r], c] = out[i[r], c] + (src[r, c] if alpha == 1 else alpha * src[r, c])
        return out

    prove(lambda *a: torch.index_add(*a, alpha=alpha), reference, x, 0, i, src)
    here = price(lambda x, i, s: x.index_add_(0, i, s, alpha=alpha), x, i, src)
    assert (here.bytes_read, here.bytes_written) == (k * INT + 2 * (2 * k) * FLOAT, 2 * k * FLOAT)
    assert price(torch.index_copy, x, 0, i, src).flops == 0
    filled_ = price(lambda x, i: x.index_fill_(0, i, 1.0), x, i)
    assert (filled_.bytes_read, filled_.bytes_written) == (k * INT, 2 * k * FLOAT)
    assert price(lambda *a: torch.index_reduce(*a, "prod"), x, 0, i, src).flops == 2 * k


def test_scatter_mean_divides():
    """An addition an element of the index, a division an element of the result."""
    x, i = values(5, 2), index(3, 2, high=5)
    assert price(lambda *a: torch.scatter_reduce(*a, reduce="mean"), x, 0, i, values(3, 2)).flops == 6 + 10


def test_put():
    """`put_` sees the tensor as one row."""
    x, i = values(5, 2), index(3, high=10)
    cost = price(lambda x, i, s: x.put_(i, s, accumulate=True), x, i, values(3))
    assert (cost.flops, cost.bytes_written) == (3, 3 * FLOAT)


@drawn(st.lists(st.integers(1, 4), min_size=1, max_size=3), sizes, st.sampled_from(["sum", "mean", "max"]), flags)
def test_embedding_bags(lengths, d, mode, weighted):
    """Rows of a bag are added (or compared); the mean divides; weights multiply each row."""
    weighted = weighted and mode == "sum"
    table, i = values(10, d), index(sum(lengths), high=10)
    offsets = torch.tensor([0, *lengths]).cumsum(0)[:-1]
    weights = values(len(i)) if weighted else None

    def reference(table, i, offsets, weights):
        out = filled((len(lengths), d))
        for b, start in enumerate(offsets):
            rows = range(start, start + lengths[b])
            for j in range(d):
                terms = [table[i[r], j] if weights is None else table[i[r], j] * weights[r] for r in rows]
                out[b, j] = total(terms, maximum) if mode == "max" else total(terms)
                out[b, j] = out[b, j] / len(terms) if mode == "mean" else out[b, j]
        return out

    def call(table, i, offsets, weights):
        return torch.nn.functional.embedding_bag(i, table, offsets, mode=mode, per_sample_weights=weights)

    prove(call, reference, table, i, offsets, weights)


def test_col2im_adds_every_column_element():
    """Overlapping blocks are summed."""
    columns = values(1, 2 * 4, 9)
    cost = price(lambda c: torch.nn.functional.fold(c, (4, 4), 2), columns)
    with counting() as tally:
        out = {}
        for k, place in np.ndindex(8, 9):
            at = (k // 4, place // 3 + k % 4 // 2, place % 3 + k % 2)
            out[at] = out.get(at, 0.0) + numbers(columns)[0, k, place]
    assert cost.other_flops == tally.flops


F8 = torch.zeros(4, 6)
MOVES = {
    "copy_ does not read what it overwrites": (lambda x: x.copy_(torch.zeros_like(x)), 96, 96 + 96),
    "fill_ only writes": (lambda x: x.fill_(1.0), 0, 96),
    "zero_ only writes": (lambda x: x.zero_(), 0, 96),
    "clone": (lambda x: x.clone(), 96, 96),
    "a cast": (lambda x: x.to(torch.float64), 96, 192),
    "cat": (lambda x: torch.cat([x, x.t().contiguous().t()]), 96 + 96 + 96, 96 + 192),
    "cat reads the same tensor once": (lambda x: torch.cat([x, x]), 96, 192),
    "stack": (lambda x: torch.stack([x, x + 0]), 96 + 96 + 96, 96 + 192),
    "pad": (lambda x: torch.nn.functional.pad(x, (1, 1)), 96, 128),
    "pad that crops": (lambda x: torch.nn.functional.pad(x, (-2, -2)), 32, 32),
    "repeat": (lambda x: x.repeat(2, 1), 96, 192),
    "an expanded tensor is read once": (lambda x: x[:1].expand(100, 6).clone(), 24, 2400),
    "zeros_like reads nothing": (lambda x: torch.zeros_like(x), 0, 96),
    "full": (lambda x: torch.full((5,), 1.0), 0, 20),
    "arange": (lambda x: torch.arange(5), 0, 40),
    "where": (lambda x: torch.where(x.new_empty(4, 6, dtype=torch.bool), x, x), 24 + 96, 96),
    "slice_scatter": (lambda x: torch.slice_scatter(x, x[:2], 0, 0, 2), 96, 96),
    "views are free": (lambda x: x.view(6, 4).t().unsqueeze(0)[..., :2].expand(5, -1, -1), 0, 0),
    "empty is free": (lambda x: torch.empty_like(x).as_strided_((2,), (1,)), 0, 0),
    "uniform_ only writes": (lambda x: x.uniform_(), 0, 96),
    "rand only writes": (lambda x: torch.rand(3), 0, 12),
    "nearest upsampling": (lambda x: torch.nn.functional.interpolate(x[None], scale_factor=2), 96, 192),
    "nearest downsampling": (lambda x: torch.nn.functional.interpolate(x[None], scale_factor=0.5), 48, 48),
    "roll": (lambda x: x.roll(1), 96, 96),
    "masked_fill": (lambda x: x.masked_fill(x.new_empty(4, 6, dtype=torch.bool), 0.0), 24 + 96, 96),
    "narrow_copy reads the part": (lambda x: torch.narrow_copy(x, 0, 0, 2), 48, 48),
}


@pytest.mark.parametrize("name", MOVES)
def test_movement_touches_what_it_says(name):
    """Bytes read and written of a (4, 6) float tensor, and almost no arithmetic."""
    call, read, written = MOVES[name]
    cost = price(call, F8)
    assert (cost.bytes_read, cost.bytes_written, cost.macs) == (read, written, 0)
    assert cost.flops == (24 if "stack" in name else 0)


def test_dropout_in_training_is_two_products():
    """Mask and scale, and a byte an element for the mask."""
    x = values(3, 4)
    cost = price(lambda x: torch.nn.functional.dropout(x, 0.5), x)
    assert (cost.flops, cost.bytes_written) == (24, 12 * FLOAT + 12)
    assert price(lambda x: torch.nn.functional.dropout(x, 0.5, training=False), x).flops == 0


def test_sampling():
    """Cumulative sum, normalization, and a bisection for each sample."""
    cost = price(lambda w: torch.multinomial(w, 3, replacement=True), values(2, 8, low=0.1))
    assert cost.other_flops == 2 * 7 + 16 + 2 * 3 * 4


def test_one_number_for_python():
    """`.item()` reads one element."""
    assert price_of(aten._local_scalar_dense.default, values(1)) == Cost(bytes_read=8)
