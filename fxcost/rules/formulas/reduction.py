"""Reductions of `rows` rows of `n` elements each: sums, means, variances, norms, softmax."""

from __future__ import annotations

Pair = tuple[int, int]


def total(rows: int, n: int) -> Pair:
    """Sum, product, maximum or scan of each row: n − 1 operations (none for an empty row).

    >>> total(4, 10)
    (36, 0)
    """
    return rows * max(n - 1, 0), 0


def mean(rows: int, n: int) -> Pair:
    """Mean of each row: n − 1 additions and one division.

    >>> mean(4, 10)
    (40, 0)
    """
    return rows * (max(n - 1, 0) + 1), 0


def variance(rows: int, n: int) -> Pair:
    """Variance of each row in two passes: the mean, then n subtractions, n squares, n − 1 additions, a division.

    Source: definition in torch.var.

    >>> variance(4, 10)
    (160, 0)
    """
    return rows * (2 * (max(n - 1, 0) + 1) + 2 * n), 0


def softmax(rows: int, n: int) -> Pair:
    """Softmax of each row: n − 1 compares, n subtractions, n exp, n − 1 additions, n divisions.

    Source: definition in torch.nn.Softmax, with the row's maximum subtracted, as every kernel does.

    >>> softmax(1, 10)
    (48, 10)
    """
    return rows * (2 * max(n - 1, 0) + 3 * n), rows * n


def log_softmax(rows: int, n: int) -> Pair:
    """Log-softmax of each row: maximum, n subtractions, n exp, n − 1 additions, one log, n subtractions.

    Source: definition in torch.nn.LogSoftmax, with the row's maximum subtracted.

    >>> log_softmax(1, 10)
    (49, 11)
    """
    return rows * (2 * max(n - 1, 0) + 3 * n + 1), rows * (n + 1)


def logsumexp(rows: int, n: int) -> Pair:
    """log Σ exp of each row: maximum, n subtractions, n exp, n − 1 additions, one log, one addition.

    Source: definition in torch.logsumexp, with the row's maximum subtracted.

    >>> logsumexp(1, 10)
    (40, 11)
    """
    return rows * (2 * max(n - 1, 0) + 2 * n + 2), rows * (n + 1)


def vector_norm(rows: int, n: int, order: float) -> Pair:
    """The `order`-norm of each row of real numbers.

    order 2: n squares, n − 1 additions, a square root; 1 and ±inf: n absolute values, n − 1 additions or compares;
    0: n compares, n − 1 additions; any other: n absolute values, n powers, n − 1 additions, one power.
    Source: definition in torch.linalg.vector_norm.

    >>> vector_norm(1, 10, 2), vector_norm(1, 10, 1), vector_norm(1, 10, 3)
    ((20, 1), (19, 0), (30, 11))
    """
    sums = rows * max(n - 1, 0)
    if order == 2:
        return rows * n + sums + rows, rows
    if order in (0, 1, float("inf"), float("-inf")):
        return rows * n + sums, 0
    return 2 * rows * n + sums + rows, rows * n + rows
