"""Fourier transforms, factorizations, distances, sorting.

Factorizations are counted by their textbook algorithm: exactly where it is direct (Cholesky, LU, triangular solves),
by the textbook's leading terms where it iterates (eigenvalues, SVD) or where the count is a cubic that the textbook
rounds (QR). Source: Golub & Van Loan, Matrix Computations, 4th edition (GVL).
"""

from __future__ import annotations

from .reduction import Pair, vector_norm


def log2_ceil(n: int) -> int:
    """⌈log₂ n⌉, 0 for n ≤ 1: by `int.bit_length`, so no floats.

    >>> [log2_ceil(n) for n in (0, 1, 2, 3, 4, 5)]
    [0, 0, 1, 2, 2, 3]
    """
    return (max(n, 1) - 1).bit_length()


def fft(transforms: int, n: int, real: bool = False) -> Pair:
    """`transforms` discrete Fourier transforms of n points: 5 n ⌈log₂ n⌉, half of it for real data.

    Source: radix-2 Cooley–Tukey: n/2 · log₂ n butterflies, each a complex product (6) and two complex sums (4);
    the same convention as FFTW's benchFFT. Twiddle factors are tables and not counted.

    >>> fft(1, 8), fft(1, 8, real=True)
    ((120, 0), (60, 0))
    """
    flops = 5 * transforms * n * log2_ceil(n)
    return flops // 2 if real else flops, 0


def cholesky(batch: int, n: int) -> Pair:
    """Cholesky factorization of (n, n): n roots, n(n−1)/2 divisions, (n³−n)/6 products and subtractions.

    Source: GVL 4.2.5 (n³/3 leading).

    >>> cholesky(1, 3)
    (14, 3)
    """
    return batch * (n + n * (n - 1) // 2 + (n * n * n - n) // 3), batch * n


def lu(batch: int, m: int, n: int) -> Pair:
    """LU of (m, n) with partial pivoting: at step i of k = min(m, n): m−i−1 compares, as many divisions, and a
    product and a subtraction for each element of the (m−i−1, n−i−1) remainder.

    Source: GVL 3.4.1 (2n³/3 leading).

    >>> lu(1, 3, 3)
    (16, 0)
    """
    k = m - max(m - n, 0)
    below = k * m - k * (k + 1) // 2  # Σ (m − i − 1)
    squares = (k - 1) * k * (2 * k - 1) // 6  # Σ i²
    triangle = k * (k - 1) // 2  # Σ i
    remainder = k * (m - 1) * (n - 1) - triangle * (m + n - 2) + squares  # Σ (m − i − 1)(n − i − 1)
    return batch * (2 * below + 2 * remainder), 0


def triangular_solve(batch: int, n: int, rhs: int, unit: bool = False) -> Pair:
    """Substitution for `rhs` right-hand sides: n² operations each, n fewer if the diagonal is ones.

    Source: GVL 3.1.1.

    >>> triangular_solve(1, 3, 2)
    (18, 0)
    """
    return batch * rhs * (n * n - (n if unit else 0)), 0


def solve(batch: int, n: int, rhs: int) -> Pair:
    """A X = B by LU, then forward (unit diagonal) and back substitution.

    >>> solve(1, 3, 1)
    (31, 0)
    """
    return lu(batch, n, n)[0] + triangular_solve(batch, n, rhs, True)[0] + triangular_solve(batch, n, rhs)[0], 0


def inverse(batch: int, n: int) -> Pair:
    """Inverse by solving for the n columns of the identity, which is taken as dense.

    >>> inverse(1, 3)
    (61, 0)
    """
    return solve(batch, n, n)


def det(batch: int, n: int) -> Pair:
    """Determinant by LU: the product of n diagonal elements takes n − 1 multiplications.

    >>> det(1, 3)
    (18, 0)
    """
    return lu(batch, n, n)[0] + batch * max(n - 1, 0), 0


def householder_product(batch: int, m: int, n: int, k: int) -> Pair:
    """The first n columns of a product of k Householder reflections of length m: 4mnk − 2(m+n)k² + 4k³/3.

    Source: GVL 5.1.6, backward accumulation.

    >>> householder_product(1, 6, 3, 3)
    (90, 0)
    """
    return batch * ((12 * m * n * k - 6 * (m + n) * k * k + 4 * k * k * k) // 3), 0


def qr(batch: int, m: int, n: int, q_columns: int) -> Pair:
    """Householder QR of (m, n): 2k²(max − k/3) for k = min(m, n), plus accumulating `q_columns` columns of Q.

    Source: GVL 5.2.1.

    >>> qr(1, 6, 3, 0)
    (90, 0)
    """
    k = m - max(m - n, 0)
    factor = (6 * k * k * max(m, n) - 2 * k * k * k) // 3
    return batch * factor + (householder_product(batch, m, q_columns, k)[0] if q_columns else 0), 0


def svd(batch: int, m: int, n: int, vectors: bool) -> Pair:
    """Golub–Reinsch SVD of (m, n), m ≥ n without loss of generality: 4mn² − 4n³/3, with thin U, V 14mn² + 8n³.

    Source: GVL figure 8.6.1.

    >>> svd(1, 6, 3, False), svd(1, 6, 3, True)
    ((180, 0), (972, 0))
    """
    long, short = max(m, n), m - max(m - n, 0)
    square = long * short * short
    cube = short * short * short
    return batch * (14 * square + 8 * cube if vectors else (12 * square - 4 * cube) // 3), 0


def eigen(batch: int, n: int, symmetric: bool, vectors: bool) -> Pair:
    """Eigenvalues of (n, n): symmetric QR 4n³/3, with vectors 9n³; unsymmetric (Hessenberg + QR) 10n³, 25n³.

    Source: GVL 8.3.3 and 7.5.6.

    >>> eigen(1, 3, True, False), eigen(1, 3, False, True)
    ((36, 0), (675, 0))
    """
    cube = batch * n * n * n
    if symmetric:
        return (9 * cube if vectors else 4 * cube // 3), 0
    return (25 * cube if vectors else 10 * cube), 0


def pairwise_distances(pairs: int, d: int, order: float) -> Pair:
    """`order`-norm distance of `pairs` pairs of vectors of length d: d subtractions, then the norm.

    >>> pairwise_distances(2, 3, 2)
    (18, 2)
    """
    flops, transcendentals = vector_norm(pairs, d, order)
    return pairs * d + flops, transcendentals


def sort(rows: int, n: int) -> Pair:
    """Sorting each row: n ⌈log₂ n⌉ compares, the bound of merge sort.

    >>> sort(1, 8), sort(1, 9)
    ((24, 0), (36, 0))
    """
    return rows * n * log2_ceil(n), 0


def topk(rows: int, n: int, k: int) -> Pair:
    """The k largest of each row: n · ⌈log₂(k + 1)⌉ compares, inserting each element into k sorted ones by bisection.

    >>> topk(1, 100, 1), topk(1, 100, 5)
    ((100, 0), (300, 0))
    """
    return rows * n * log2_ceil(k + 1), 0


def search(values: int, n: int) -> Pair:
    """Bisection of a sorted row of n for each of `values`: ⌈log₂(n + 1)⌉ compares each.

    >>> search(10, 7)
    (30, 0)
    """
    return values * log2_ceil(n + 1), 0
