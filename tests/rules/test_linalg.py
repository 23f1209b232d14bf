"""Factorizations, Fourier transforms, sorting, distances: direct algorithms exactly, the others by their models."""

import cmath
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from oracle import Number, counting, filled, log, maximum, numbers, power, prove, sqrt, tensor, total
from recording import price, price_of
from strategies import drawn, flags, sizes, values

from fxcost.rules import formulas

aten = torch.ops.aten
orders = st.integers(1, 5)


def well_conditioned(n, seed=0):
    """A positive definite matrix."""
    a = values(n, n, seed=seed)
    return a @ a.T + n * torch.eye(n, dtype=torch.float64)


def cholesky(a):
    """Column by column, GVL 4.2.1."""
    n = a.shape[0]
    low = numbers(torch.zeros(n, n, dtype=torch.float64))
    for j in range(n):
        column = [a[i, j] for i in range(j, n)]
        for k in range(j):
            column = [c - low[i, k] * low[j, k] for i, c in zip(range(j, n), column, strict=True)]
        low[j, j] = sqrt(column[0])
        for i in range(j + 1, n):
            low[i, j] = column[i - j] / low[j, j]
    return low


def lu(a):
    """Gaussian elimination with partial pivoting, GVL 3.4.1; the factors in one matrix."""
    a, (m, n) = a.copy(), a.shape
    for j in range(min(m, n)):
        pivot = j
        for i in range(j + 1, m):
            pivot = i if _larger(a[i, j], a[pivot, j]) else pivot
        a[[j, pivot]] = a[[pivot, j]]
        for i in range(j + 1, m):
            a[i, j] = a[i, j] / a[j, j]
            for k in range(j + 1, n):
                a[i, k] = a[i, k] - a[i, j] * a[j, k]
    return a


def _larger(a, b):
    """One compare; taking magnitudes is part of it."""
    return Number(abs(a.value)) > abs(b.value)


def substitution(a, b, lower, unit):
    """Forward or back substitution, GVL 3.1."""
    n = a.shape[0]
    x = b.copy()
    for c in range(b.shape[1]):
        for i in range(n) if lower else range(n)[::-1]:
            for k in range(i) if lower else range(i + 1, n):
                x[i, c] = x[i, c] - a[i, k] * x[k, c]
            x[i, c] = x[i, c] if unit else x[i, c] / a[i, i]
    return x


@drawn(orders)
def test_cholesky_is_exact(n):
    """Roots, divisions, products and subtractions of the column algorithm."""
    prove(torch.linalg.cholesky, cholesky, well_conditioned(n))


@drawn(orders, orders)
def test_lu_is_exact(m, n):
    """Tall, wide and square, compares of the pivot search among them."""
    prove(lambda a: torch.linalg.lu_factor(a)[0], lu, values(m, n))


@drawn(orders, sizes, flags, flags)
def test_triangular_solves_are_exact(n, rhs, upper, unit):
    """Both triangles, with a diagonal of ones or not."""
    a, b = well_conditioned(n), values(n, rhs)
    call = lambda a, b: torch.linalg.solve_triangular(  # noqa: E731
        a.triu() if upper else a.tril(), b, upper=upper, unitriangular=unit
    )
    prove(call, lambda a, b: substitution(a, b, not upper, unit), a, b)


@drawn(orders, sizes)
def test_solving_is_lu_and_two_substitutions(n, rhs):
    """torch.linalg.solve with several right-hand sides; the inverse has n of them."""
    a, b = well_conditioned(n), values(n, rhs)

    def reference(a, b):
        factors = lu(a)  # well conditioned: no row was exchanged
        return substitution(factors, substitution(factors, b, True, True), False, False)

    prove(torch.linalg.solve, reference, a, b)
    identity = numbers(torch.eye(n, dtype=torch.float64))
    prove(torch.linalg.inv, lambda a: reference(a, identity), a)


@drawn(orders)
def test_determinants(n):
    """n − 1 products of the diagonal; log-determinants take logs of magnitudes."""
    a = well_conditioned(n)
    prove(torch.linalg.det, lambda a: total(np.diag(lu(a)), lambda x, y: x * y), a)
    prove(lambda a: torch.linalg.slogdet(a)[1], lambda a: total([log(abs(v)) for v in np.diag(lu(a))]), a)


@drawn(orders, sizes)
def test_cholesky_solve(n, rhs):
    """Two substitutions with the factor."""
    factor = torch.linalg.cholesky(well_conditioned(n))

    def reference(b, f):
        return substitution(f.T, substitution(f, b, True, False), False, False)

    prove(torch.cholesky_solve, reference, values(n, rhs), factor)


def test_batches_and_complex_matrices():
    """A batch costs its matrices; complex arithmetic four times as much."""
    one, many = price(torch.linalg.inv, values(4, 4)), price(torch.linalg.inv, values(2, 3, 4, 4))
    assert many.flops == 6 * one.flops
    assert price(torch.linalg.inv, values(4, 4).to(torch.complex128)).flops == 4 * one.flops


@pytest.mark.parametrize("n", [10, 100, 1000])
def test_leading_terms_are_the_textbooks(n):
    """Golub & Van Loan's n³/3, 2n³/3, 2n³ for direct methods, as n grows."""
    for flops, leading in (
        (formulas.cholesky(1, n)[0], n**3 / 3),
        (formulas.lu(1, n, n)[0], 2 * n**3 / 3),
        (formulas.qr(1, n, n, 0)[0], 4 * n**3 / 3),
        (formulas.eigen(1, n, True, False)[0], 4 * n**3 / 3),
    ):
        assert abs(flops / leading - 1) < 5 / n


def householder_work(m, n):
    """Multiplications and additions of Householder QR walked over the columns: v, v·A, A − v (v·A)."""
    return sum(4 * (m - j) * (n - j) for j in range(min(m, n)))


@pytest.mark.parametrize(("m", "n"), [(200, 100), (100, 100), (100, 200)])
def test_qr_grows_as_its_reflections(m, n):
    """The formula is the walk's leading term."""
    assert abs(formulas.qr(1, m, n, 0)[0] / householder_work(m, n) - 1) < 0.03


def test_iterative_factorizations_by_their_models():
    """Eigenvalues, SVD, least squares, pseudo-inverse, exponential: textbook counts through the operators."""
    a, n, m = values(6, 6), 6, 8
    tall = values(m, n)
    assert price(lambda a: aten._linalg_eigh(a, "L", False), a).flops == 4 * n**3 // 3
    assert price(torch.linalg.eigh, a).flops == 9 * n**3
    assert price(torch.linalg.eig, a).flops == 25 * n**3
    assert price(lambda x: aten._linalg_svd(x, False, False), tall).flops == 4 * m * n * n - 4 * n**3 // 3
    assert price(lambda x: torch.linalg.svd(x, full_matrices=False), tall).flops == 14 * m * n * n + 8 * n**3
    q = formulas.householder_product(1, m, n, n)[0]
    assert price(torch.linalg.qr, tall).flops == 2 * n * n * m - 2 * n**3 // 3 + q
    assert price(torch.linalg.matrix_exp, a).flops == 5 * n * n * (2 * n - 1)


def fft(x):
    """Radix-2 Cooley–Tukey on pairs of numbers; twiddle factors are tables."""
    n = len(x)
    if n == 1:
        return x
    even, odd = fft(x[::2]), fft(x[1::2])
    out = [None] * n
    for k in range(n // 2):
        w, (re, im) = cmath.exp(-2j * math.pi * k / n), odd[k]
        t = w.real * re - w.imag * im, w.real * im + w.imag * re
        out[k] = even[k][0] + t[0], even[k][1] + t[1]
        out[k + n // 2] = even[k][0] - t[0], even[k][1] - t[1]
    return out


@pytest.mark.parametrize("n", [1, 2, 4, 8, 16])
def test_powers_of_two_transform_by_cooley_tukey(n):
    """5 n log₂ n real operations, and the right values."""
    x = torch.complex(values(n), values(n, seed=1))
    with counting() as tally:
        mine = fft([(Number(v.real.item()), Number(v.imag.item())) for v in x])
    result = torch.tensor([[float(re), float(im)] for re, im in mine], dtype=torch.float64)
    torch.testing.assert_close(torch.view_as_complex(result), torch.fft.fft(x))
    assert price(torch.fft.fft, x).flops == tally.flops


def test_transforms_of_several_dimensions_and_of_real_data():
    """Each dimension's transforms in turn; real ones half; a normalized inverse scales both parts."""
    z = torch.zeros(4, 8, dtype=torch.complex64)
    assert price(torch.fft.fft2, z).flops == 4 * (5 * 8 * 3) + 8 * (5 * 4 * 2)
    assert price(torch.fft.ifft, z).flops == 4 * (5 * 8 * 3) + 2 * 32
    real = torch.zeros(4, 8)
    assert price(torch.fft.rfft, real).flops == 4 * (5 * 8 * 3) // 2
    assert price(torch.fft.rfft2, real).flops == 4 * (5 * 8 * 3) // 2 + 5 * (5 * 4 * 2)
    half = torch.zeros(4, 5, dtype=torch.complex64)
    assert price(torch.fft.irfft, half).flops == 4 * (5 * 8 * 3) // 2 + 32
    assert price(torch.fft.fft, torch.zeros(5, dtype=torch.complex64)).flops == 5 * 5 * 3  # ⌈log₂ 5⌉ = 3


@drawn(sizes, sizes, sizes, st.sampled_from([0.0, 1.0, 2.0, 3.0, math.inf]))
def test_pairwise_distances(p, r, d, order):
    """The norm of every pair's difference."""

    def norm(diffs):
        if order == 2:
            return sqrt(total([v * v for v in diffs]))
        if order == 0:
            return total([Number(v != 0) for v in diffs])
        sizes_ = [abs(v) for v in diffs]
        if order == 3:
            return power(total([power(v, 3) for v in sizes_]), 1 / 3)
        return total(sizes_, maximum if order == math.inf else lambda a, b: a + b)

    def reference(a, b):
        out = filled((p, r))
        for i, j in np.ndindex(p, r):
            out[i, j] = norm([x - y for x, y in zip(a[i], b[j], strict=True)])
        return out

    prove(lambda a, b: torch.cdist(a, b, order), reference, values(p, d), values(r, d, seed=1))


def test_distances_within_a_set():
    """pdist: each unordered pair once."""
    assert price(torch.pdist, values(5, 3)).flops == 10 * (3 + 3 + 2 + 1)


def merge_sort(row):
    if len(row) < 2:
        return row
    left, right = merge_sort(row[: len(row) // 2]), merge_sort(row[len(row) // 2 :])
    merged = []
    while left and right:
        merged.append(left.pop(0) if left[0] <= right[0] else right.pop(0))
    return merged + left + right


def bisection(row, value):
    low, high = 0, len(row)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if row[middle] < value else (low, middle)
    return low


@pytest.mark.parametrize("n", range(7))
def test_sorting_never_takes_more_than_its_model(n):
    """Merge sort on every permutation: n ⌈log₂ n⌉ less 2^⌈log₂ n⌉ − 1 at worst, as Knuth has it (TAOCP 5.2.4)."""
    worst = 0
    for permutation in itertools.permutations(range(n)):
        with counting() as tally:
            assert [v.value for v in merge_sort([Number(v) for v in permutation])] == sorted(permutation)
        worst = max(worst, tally.flops)
    model = price(torch.sort, torch.zeros(n)).flops
    assert model - worst == max(2 ** math.ceil(math.log2(max(n, 1))) - 1, 0)


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_topk_is_insertion_by_bisection(k):
    """Every element is placed among the k best so far: at most ⌈log₂(k + 1)⌉ compares each."""
    worst = 0
    for permutation in itertools.permutations(range(6)):
        best = []
        with counting() as tally:
            for v in permutation:
                best.insert(bisection([Number(b) for b in best], -v), -v)
                best = best[:k]
        assert [-b for b in best] == sorted(permutation)[::-1][:k]
        worst = max(worst, tally.flops)
    assert worst <= price(lambda x: torch.topk(x, k), torch.zeros(6)).flops


@drawn(st.integers(0, 9), st.floats(-1, 10))
def test_bisection_takes_the_logarithm(n, value):
    """searchsorted and bucketize: ⌈log₂(n + 1)⌉ compares a value, at most."""
    row = torch.arange(n, dtype=torch.float64)
    model = price(torch.searchsorted, row, row.new_zeros(1)).flops
    with counting() as tally:
        assert bisection([Number(v) for v in row], value) == torch.searchsorted(row, value).item()
    assert tally.flops <= model <= tally.flops + 1
    assert price(torch.bucketize, row.new_zeros(3), row).flops == 3 * model


def test_selection_counts_as_sorting():
    """Median, k-th value and mode; integers take no floating-point compares."""
    x, sorting = values(3, 8), price(torch.sort, values(3, 8)).flops
    assert price(torch.median, x, 1).flops == price(torch.kthvalue, x, 2, 1).flops == sorting == 3 * 24
    assert price_of(aten.mode.default, x, 1, outputs=(x[:, 0], x[:, 0].long())).flops == sorting + 3 * 7
    assert price(torch.sort, torch.arange(8)).flops == 0
    assert price_of(aten._unique2.default, x, outputs=(x.flatten(),)).flops == 24 * 5 + 23


@pytest.mark.parametrize("formula", [formulas.cholesky, formulas.inverse, formulas.det])
def test_empty_matrices_cost_nothing(formula):
    """No negative counts at zero."""
    assert formula(1, 0) == (0, 0)


@pytest.mark.parametrize(("hermitian", "factors"), [(False, torch.linalg.svd), (True, torch.linalg.eigh)])
def test_a_pseudoinverse_is_its_factors_and_a_product(hermitian, factors):
    """Six reciprocals, six columns scaled by them, and a product of 6 × 6 × 6, counted as FLOPs."""
    x = values(6, 6)
    cost = price(lambda a: torch.linalg.pinv(a, hermitian=hermitian), x)
    assert cost.flops == price(factors, x).flops + 6 + 36 + 2 * 216


def reflected(v, tau, c, left):
    """The product of reflections I − τ v vᵀ with a matrix, one after the other; each v starts with a one, for free."""
    c = c.copy() if left else c.T.copy()
    for j in range(len(tau))[::-1] if left else range(len(tau)):
        for column in range(c.shape[1]):
            w = c[j, column]
            for i in range(j + 1, c.shape[0]):
                w = w + v[i, j] * c[i, column]
            w = tau[j] * w
            c[j, column] = c[j, column] - w
            for i in range(j + 1, c.shape[0]):
                c[i, column] = c[i, column] - w * v[i, j]
    return c if left else c.T


@drawn(st.integers(1, 4), st.integers(0, 3), sizes, flags)
def test_reflections_applied_to_a_matrix(k, more, vectors, left):
    """ormqr walks over its reflections exactly, from the left and from the right."""
    length = k + more
    v, tau = torch.geqrf(values(length, k))
    c = values(length, vectors, seed=1) if left else values(vectors, length, seed=1)
    mine = tensor(reflected(numbers(v), numbers(tau), numbers(c), left))
    torch.testing.assert_close(mine, torch.ormqr(v, tau, c, left=left))
    with counting() as tally:
        reflected(numbers(v), numbers(tau), numbers(c), left)
    assert price(lambda *given: torch.ormqr(*given, left=left), v, tau, c).flops == tally.cost.flops
    stacked = [torch.stack([x] * 3) for x in (v, tau, c)]
    assert price(lambda *given: torch.ormqr(*given, left=left), *stacked).flops == 3 * tally.cost.flops


def applied(m, n, k):
    """Operations of k reflections applied to n vectors of length m, walked over."""
    return sum((4 * (m - j) - 2) * n for j in range(k))


@pytest.mark.parametrize(("m", "n", "sides"), [(7, 4, 3), (4, 4, 1), (3, 6, 2)])
def test_least_squares_is_qr_reflections_and_a_substitution(m, n, sides):
    """Q is never made: its reflections are applied to the right-hand sides."""
    a, b = values(2, m, n), values(2, m, sides)
    k = min(m, n)
    with counting() as tally:
        substitution(numbers(well_conditioned(k)), numbers(values(k, sides)), False, False)
    expected = price(lambda x: torch.linalg.qr(x, mode="r"), values(m, n)).flops + applied(m, sides, k)
    assert price(torch.linalg.lstsq, a, b).flops == 2 * (expected + tally.cost.flops)


@pytest.mark.parametrize(("m", "n", "k"), [(90, 40, 40), (60, 60, 20), (80, 50, 30)])
def test_products_of_reflections_by_backward_accumulation(m, n, k):
    """Each reflection meets the block of columns that are not yet those of the identity."""
    walked = sum(4 * (m - j) * (n - j) for j in range(k))
    v, tau = torch.empty(3, m, n), torch.empty(3, k)
    found = price(torch.linalg.householder_product, v, tau).flops
    assert abs(found / (3 * walked) - 1) < 0.04


@pytest.mark.parametrize(("m", "n"), [(80, 40), (40, 80), (50, 50)])
def test_modes_of_qr(m, n):
    """Without Q the reflections alone; reduced Q has min(m, n) columns, complete Q m of them."""
    x, k = values(2, m, n), min(m, n)
    r, reduced, complete = (
        price(lambda x, mode=mode: torch.linalg.qr(x, mode=mode), x).flops for mode in ("r", "reduced", "complete")
    )
    assert abs(r / (2 * householder_work(m, n)) - 1) < 0.06
    assert price_of(aten.geqrf.default, x, outputs=(x, x[..., 0])).flops == r
    for q, columns in ((reduced - r, k), (complete - r, m)):
        walked = sum(4 * (m - j) * (columns - j) for j in range(k))
        assert abs(q / (2 * walked) - 1) < 0.06


@drawn(orders, sizes, flags, flags)
def test_solves_from_the_right_and_of_batches(n, rhs, left, unit):
    """X A = B has a right-hand side for each row; a batch costs its matrices."""
    a, b = values(2, 3, n, n), values(2, 3, n, rhs) if left else values(2, 3, rhs, n)
    one = substitution_work(n, rhs, unit)
    call = lambda a, b: torch.linalg.solve_triangular(a, b, upper=True, left=left, unitriangular=unit)  # noqa: E731
    assert price(call, a, b).flops == 6 * one
    lu_call = lambda a, b: torch.linalg.lu_solve(a, torch.ones(2, 3, n, dtype=torch.int32, device="meta"), b, left=left)  # noqa: E731
    assert price(lu_call, a, b).flops == 6 * (substitution_work(n, rhs, True) + substitution_work(n, rhs, False))
    if left:
        old = lambda b, a: torch.triangular_solve(b, a, unitriangular=unit)  # noqa: E731
        assert price(old, b, a).flops == 6 * one
        assert price(torch.cholesky_solve, b, a).flops == 12 * substitution_work(n, rhs, False)
        pivots = torch.ones(2, 3, n, dtype=torch.int32)
        diagonal = 6 * n * rhs  # a division for each element
        ldl = price(torch.linalg.ldl_solve, a, pivots, b).flops
        assert ldl == 12 * substitution_work(n, rhs, True) + diagonal
        with counting() as tally:
            lu(numbers(well_conditioned(n)))
        solved = tally.cost.flops + substitution_work(n, rhs, True) + substitution_work(n, rhs, False)
        assert price(torch.linalg.solve, a, b).flops == 6 * solved


def substitution_work(n, rhs, unit):
    """Counted on a matrix."""
    with counting() as tally:
        substitution(numbers(well_conditioned(n)), numbers(values(n, rhs)), True, unit)
    return tally.cost.flops


def test_one_right_hand_side_is_a_vector():
    """B of one dimension is one right-hand side."""
    a, b = values(4, 4), values(4)
    assert price(torch.linalg.solve, a, b).flops == price(torch.linalg.solve, a, b[:, None]).flops


@pytest.mark.parametrize("n", [30, 60])
def test_cubic_counts_of_lapack(n):
    """Inverse from a Cholesky factor: two triangular products; LDLᵀ: a triangle of multiply-subtracts at each step."""
    x = values(2, n, n)
    inverse_of_factor = sum(2 * (n - j) * (j + 1) for j in range(n))  # L⁻¹, a dot product for each element below
    product = sum(2 * (n - max(i, j)) for i in range(n) for j in range(i + 1))  # L⁻ᵀ L⁻¹, one triangle
    assert abs(price(torch.cholesky_inverse, x).flops / (2 * (inverse_of_factor + product)) - 1) < 4 / n
    ldl = sum((n - j) * (n - j) for j in range(n))
    assert abs(price(torch.linalg.ldl_factor, x).flops / (2 * ldl) - 1) < 4 / n


@pytest.mark.parametrize(("m", "n"), [(5, 3), (3, 5), (4, 4)])
def test_singular_values_of_wide_matrices_are_those_of_tall_ones(m, n):
    """GVL figure 8.6.1, with the longer side as m; a pseudo-inverse adds reciprocals, scaling and a product."""
    long, short, x = max(m, n), min(m, n), values(2, m, n)
    alone = price(lambda x: aten._linalg_svd(x, False, False), x).flops
    factors = price(lambda x: torch.linalg.svd(x, full_matrices=False), x).flops
    assert alone == 2 * ((12 * long * short**2 - 4 * short**3) // 3)
    assert factors == 2 * (14 * long * short**2 + 8 * short**3)
    product = price(torch.bmm, torch.empty(2, n, short), torch.empty(2, short, m))
    scaled = 2 * (short + n * short)
    assert price(torch.linalg.pinv, x).flops == factors + scaled + 2 * product.macs
    square = values(2, m, m)
    for op in (aten._linalg_eigvals.default, aten.linalg_eigvals.default):
        assert price_of(op, square, outputs=(square[..., 0],)).flops == 2 * 10 * m**3


@pytest.mark.parametrize("k", range(1, 18))
def test_bisection_at_its_worst(k):
    """The most compares that bisection of k sorted values takes, over all places where a value can belong."""

    def compares(place):
        low, high, taken = 0, k, 0
        while low < high:
            middle, taken = (low + high) // 2, taken + 1
            low, high = (low, middle) if place <= middle else (middle + 1, high)
        return taken

    worst = max(map(compares, range(k + 1)))
    assert formulas.topk(3, 7, k) == (21 * worst, 0)
    assert formulas.search(5, k) == (5 * worst, 0)
    assert formulas.sort(3, k)[1] == formulas.fft(3, k)[1] == 0
