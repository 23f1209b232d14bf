"""Matrix products against plain dot products, and against torch's own counter."""

import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from oracle import dot, filled, prove
from recording import price
from strategies import drawn, flags, maybe_empty, sizes, values
from torch.utils.flop_counter import FlopCounterMode

aten = torch.ops.aten
scalars = st.sampled_from([0, 1, 2])


def product(a, b, start=None):
    """(m, k) × (k, n), every output a dot product that starts at its element of `start` or at zero."""
    out = filled((a.shape[0], b.shape[1]))
    for i, j in np.ndindex(out.shape):
        out[i, j] = dot(a[i], b[:, j], None if start is None else start[i, j])
    return out


def scaled_product(bias, a, b, beta, alpha):
    """beta · bias + alpha · a b, written as torch.addmm defines it: neutral numbers cost nothing."""
    shape = (a.shape[0], b.shape[1])
    start = None if beta == 0 else np.broadcast_to(bias, shape).copy()
    if start is not None and beta != 1:
        for i in np.ndindex(shape):
            start[i] = beta * start[i]
    if alpha == 1:
        return product(a, b, start)
    out = product(a, b)
    for i in np.ndindex(shape):
        out[i] = alpha * out[i]
        out[i] = out[i] if start is None else out[i] + start[i]
    return out


@drawn(maybe_empty, maybe_empty, maybe_empty)
def test_mm_is_dot_products(m, k, n):
    """m·n dot products of length k that start at zero, empty ones too."""
    prove(torch.mm, product, values(m, k), values(k, n, seed=1))


@drawn(sizes, maybe_empty, sizes, scalars, scalars, flags)
def test_addmm_starts_at_the_bias(m, k, n, beta, alpha, row):
    """The bias costs nothing unless alpha or beta is not one."""
    bias = values(n) if row else values(m, n)
    call = lambda c, a, b: torch.addmm(c, a, b, beta=beta, alpha=alpha)  # noqa: E731
    prove(call, lambda c, a, b: scaled_product(c, a, b, beta, alpha), bias, values(m, k), values(k, n, seed=1))


@drawn(maybe_empty, sizes, sizes, sizes)
def test_bmm_is_mm_for_each_of_the_batch(b, m, k, n):
    """A batch costs as much as its products."""

    def reference(x, y):
        out = filled((b, m, n))
        for i in range(b):
            out[i] = product(x[i], y[i])
        return out

    prove(torch.bmm, reference, values(b, m, k), values(b, k, n, seed=1))


@drawn(sizes, sizes, sizes, sizes, scalars, scalars)
def test_baddbmm_and_addbmm(b, m, k, n, beta, alpha):
    """baddbmm is addmm for each of the batch; addbmm sums over the batch in the same accumulators."""
    x, y = values(b, m, k), values(b, k, n, seed=1)

    def stacked(c, p, q):
        out = filled((b, m, n))
        for i in range(b):
            out[i] = scaled_product(c[i], p[i], q[i], beta, alpha)
        return out

    def summed(c, p, q):
        rows, columns = np.concatenate(list(p), axis=1), np.concatenate(list(q), axis=0)
        return scaled_product(c, rows, columns, beta, alpha)

    prove(lambda c, p, q: torch.baddbmm(c, p, q, beta=beta, alpha=alpha), stacked, values(b, m, n), x, y)
    prove(lambda c, p, q: torch.addbmm(c, p, q, beta=beta, alpha=alpha), summed, values(m, n), x, y)


@drawn(sizes, maybe_empty)
def test_vectors(m, k):
    """dot, mv, addmv, addr are products with an extent of one."""
    a, v = values(m, k), values(k, seed=1)
    column = lambda x: x.reshape(-1, 1)  # noqa: E731
    prove(torch.dot, lambda x, y: dot(x, y), v, values(k, seed=2))
    prove(torch.mv, lambda x, y: product(x, column(y)).reshape(-1), a, v)
    prove(torch.addmv, lambda c, x, y: product(x, column(y), column(c)).reshape(-1), values(m), a, v)
    prove(torch.addr, lambda c, x, y: product(column(x), y.reshape(1, -1), c), values(m, m), values(m), values(m))


@drawn(sizes, sizes, sizes, sizes, flags)
def test_bilinear_is_two_contractions(n, o, i, j, biased):
    """x₁ᵀ A x₂ is (x₁ᵀ A) x₂; nn.Bilinear adds its bias afterwards."""

    def reference(x, y, weight, bias):
        out = filled((n, o))
        for r, c in np.ndindex(out.shape):
            row = [dot(x[r], weight[c, :, q]) for q in range(j)]
            out[r, c] = dot(row, y[r])
            out[r, c] = out[r, c] + bias[c] if biased else out[r, c]
        return out

    bias = values(o) if biased else None
    args = values(n, i), values(n, j, seed=1), values(o, i, j, seed=2), bias
    prove(torch.nn.functional.bilinear, reference, *args)


@drawn(sizes, sizes, sizes, flags)
def test_linear_equals_a_convolution_of_one_by_one(n, c, o, biased):
    """A pointwise convolution is a linear layer on channels."""
    x, w, b = values(n, c), values(o, c, seed=1), values(o) if biased else None
    linear = price(torch.nn.functional.linear, x, w, b)
    conv = price(torch.nn.functional.conv2d, x[..., None, None], w[..., None, None], b)
    assert (linear.macs, linear.other_flops, linear.zero_accumulators) == (
        conv.macs,
        conv.other_flops,
        conv.zero_accumulators,
    )


@pytest.mark.parametrize(
    ("equation", "shapes", "macs"),
    [
        ("bij,bjk->bik", [(2, 3, 4), (2, 4, 5)], 2 * 3 * 4 * 5),
        ("ij,jk->ik", [(3, 4), (4, 5)], 3 * 4 * 5),
        ("bhid,bhjd->bhij", [(2, 2, 3, 4), (2, 2, 5, 4)], 2 * 2 * 3 * 4 * 5),
        ("i,i->", [(7,), (7,)], 7),
    ],
)
def test_einsum_ends_in_the_same_products(equation, shapes, macs):
    """However a contraction is spelled, its MACs are the product of its extents."""
    operands = [values(*s) for s in shapes]
    assert price(torch.einsum, equation, *operands).macs == macs


def test_complex_products_are_four_real_ones():
    """A complex MAC is four real MACs into two accumulators."""
    cost = price(torch.mm, torch.zeros(2, 3, dtype=torch.complex64), torch.zeros(3, 5, dtype=torch.complex64))
    assert (cost.macs, cost.zero_accumulators) == (4 * 30, 2 * 10)


def test_integer_products_are_macs_too():
    """Quantized models' MACs are MACs."""
    assert price(torch.mm, torch.zeros(2, 3, dtype=torch.int64), torch.zeros(3, 5, dtype=torch.int64)).macs == 30


@drawn(sizes, sizes, sizes, sizes)
def test_macs_are_half_of_what_torch_counts(b, m, k, n):
    """torch.utils.flop_counter has the same products, a MAC as two FLOPs."""

    def call(x, y, c):
        return torch.bmm(x, y), torch.mm(x[0], y[0]), torch.addmm(c, x[0], y[0]), torch.baddbmm(c, x, y)

    args = values(b, m, k), values(b, k, n), values(m, n)
    with FlopCounterMode(display=False) as counter:
        call(*args)
    assert 2 * price(call, *args).macs == counter.get_total_flops()


def test_addmm_with_an_activation():
    """The fused activation costs what it costs alone: relu one operation, gelu's tanh form nine."""
    args = values(5), values(2, 3), values(3, 5)
    plain = price(torch.addmm, *args)
    relu = price(aten._addmm_activation, *args)
    gelu = price(lambda *a: aten._addmm_activation(*a, use_gelu=True), *args)
    assert (relu.other_flops - plain.other_flops, gelu.other_flops - plain.other_flops) == (10, 90)
    assert gelu.transcendentals == 10
