"""Linear algebra: factorizations, solvers, eigenvalues, distances, by their textbook counts.

They are no contractions of the model's own, so they are FLOPs and no MACs. Complex matrices cost four times as much:
a complex product and sum are eight operations instead of two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod

import torch

from ..records.cost import Cost
from ..records.recording import OpRecord, TensorSpec
from . import formulas
from .common import argument, arithmetic, optional
from .registry import OpKey, Rule

aten = torch.ops.aten


def _cost(op: OpRecord, pair: tuple[int, int]) -> Cost:
    times = 4 if any(s.dtype.is_complex for s in op.inputs) else 1
    return Cost(other_flops=times * pair[0], transcendentals=times * pair[1])


def _matrices(x: TensorSpec) -> tuple[int, int, int]:
    """Batch, rows, columns of (*, m, n)."""
    return prod(x.shape[:-2]), x.shape[-2], x.shape[-1]


def square(formula: Callable[[int, int], tuple[int, int]]) -> Rule:
    """A formula of (batch, n) for (*, n, n)."""

    def rule(op: OpRecord) -> Cost:
        batch, n, _ = _matrices(op.args[0])
        return _cost(op, formula(batch, n))

    return Rule("linalg", rule)


def lu(op: OpRecord) -> Cost:
    """(*, m, n) → L and U, with partial pivoting."""
    return _cost(op, formulas.lu(*_matrices(op.args[0])))


def slogdet(op: OpRecord) -> Cost:
    """LU, then Σ log|u_ii|: n absolute values, n logarithms, n − 1 additions."""
    batch, n, _ = _matrices(op.args[0])
    return _cost(op, (formulas.lu(batch, n, n)[0] + batch * (2 * n + max(n - 1, 0)), batch * n))


def _right_hand_sides(op: OpRecord, b: TensorSpec, n: int) -> tuple[int, int]:
    """Batch and number of right-hand sides: the result's columns, or its rows where X A = B."""
    batch_times_sides = op.out.numel // max(n, 1)
    if len(b.shape) < 2:
        return max(batch_times_sides, 1), 1
    sides = op.out.shape[-1] if argument(op, "left", True) else op.out.shape[-2]
    return batch_times_sides // max(sides, 1), sides


def solve(op: OpRecord) -> Cost:
    """A (*, n, n), B (*, n, k) or (*, n): LU and two substitutions."""
    batch, n, _ = _matrices(op.args[0])
    sides = op.out.numel // max(batch * n, 1)
    return _cost(op, formulas.solve(batch, n, sides))


def lu_solve(op: OpRecord) -> Cost:
    """Two substitutions, one with a unit diagonal."""
    n = op.args[0].shape[-1]
    batch, sides = _right_hand_sides(op, op.args[2], n)
    forward, back = formulas.triangular_solve(batch, n, sides, True), formulas.triangular_solve(batch, n, sides)
    return _cost(op, (forward[0] + back[0], 0))


def solve_triangular(op: OpRecord) -> Cost:
    """A (*, n, n) triangular, B (*, n, k)."""
    n = op.args[0].shape[-1]
    batch, sides = _right_hand_sides(op, op.args[1], n)
    return _cost(op, formulas.triangular_solve(batch, n, sides, bool(argument(op, "unitriangular"))))


def old_triangular_solve(op: OpRecord) -> Cost:
    """triangular_solve(B, A): the arguments the other way round."""
    n = op.args[1].shape[-1]
    batch, sides = _right_hand_sides(op, op.args[0], n)
    return _cost(op, formulas.triangular_solve(batch, n, sides, bool(argument(op, "unitriangular"))))


def cholesky_solve(op: OpRecord) -> Cost:
    """B (*, n, k), factor (*, n, n): two substitutions."""
    n = op.args[1].shape[-1]
    batch, sides = _right_hand_sides(op, op.args[0], n)
    return _cost(op, (2 * formulas.triangular_solve(batch, n, sides)[0], 0))


def ldl_solve(op: OpRecord) -> Cost:
    """Two substitutions with unit diagonals, and a division for each element between them."""
    n = op.args[0].shape[-1]
    batch, sides = _right_hand_sides(op, op.args[2], n)
    return _cost(op, (2 * formulas.triangular_solve(batch, n, sides, True)[0] + batch * sides * n, 0))


def qr(op: OpRecord) -> Cost:
    """(*, m, n) → Q (reduced or complete) and R; mode "r" has no Q."""
    batch, m, n = _matrices(op.args[0])
    mode = argument(op, "mode", "r")
    columns = {"reduced": min(m, n), "complete": m}.get(mode, 0)
    return _cost(op, formulas.qr(batch, m, n, columns))


def householder(op: OpRecord) -> Cost:
    """The first n columns of a product of k reflections."""
    batch, m, n = _matrices(op.args[0])
    return _cost(op, formulas.householder_product(batch, m, n, op.args[1].shape[-1]))


def ormqr(op: OpRecord) -> Cost:
    """k reflections of length r applied to the c vectors of a matrix: 4 r c k − 2 c k² (GVL 5.1.4)."""
    batch, m, n = _matrices(op.args[2])
    k = op.args[1].shape[-1]
    length, vectors = (m, n) if argument(op, "left", True) else (n, m)
    return _cost(op, (batch * (4 * length * vectors * k - 2 * vectors * k * k), 0))


def svd(op: OpRecord) -> Cost:
    """(*, m, n) → U, S, Vᴴ, or S alone."""
    batch, m, n = _matrices(op.args[0])
    return _cost(op, formulas.svd(batch, m, n, bool(argument(op, "compute_uv", True))))


def pinv(op: OpRecord) -> Cost:
    """SVD (of a Hermitian matrix its eigenvectors), k reciprocals, V scaled by them, times Uᴴ."""
    batch, m, n = _matrices(op.args[0])
    k = min(m, n)
    hermitian = bool(argument(op, "hermitian", False))
    factors, _ = formulas.eigen(batch, n, True, True) if hermitian else formulas.svd(batch, m, n, True)
    return _cost(op, (factors + batch * (k + n * k + 2 * m * n * k), 0))


def polar(op: OpRecord) -> Cost:
    """A = U H by the SVD A = W S Vᴴ: U = W Vᴴ, H = V S Vᴴ."""
    batch, m, n = _matrices(op.args[0])
    k = min(m, n)
    products = 2 * m * n * k + n * k + 2 * n * n * k
    return _cost(op, (formulas.svd(batch, m, n, True)[0] + batch * products, 0))


def matrix_sqrt(op: OpRecord) -> Cost:
    """Symmetric (*, n, n): eigenvalues and vectors, n roots, V √Λ Vᴴ."""
    batch, n, _ = _matrices(op.args[0])
    return _cost(op, (formulas.eigen(batch, n, True, True)[0] + batch * (n + n * n + 2 * n * n * n), batch * n))


def eigh(op: OpRecord) -> Cost:
    """Symmetric (*, n, n) → eigenvalues, and vectors if asked for."""
    batch, n, _ = _matrices(op.args[0])
    return _cost(op, formulas.eigen(batch, n, True, bool(argument(op, "compute_v", True))))


def eig(op: OpRecord) -> Cost:
    """(*, n, n) → eigenvalues and vectors."""
    batch, n, _ = _matrices(op.args[0])
    return _cost(op, formulas.eigen(batch, n, False, True))


def eigvals(op: OpRecord) -> Cost:
    """(*, n, n) → eigenvalues."""
    batch, n, _ = _matrices(op.args[0])
    return _cost(op, formulas.eigen(batch, n, False, False))


def least_squares(op: OpRecord) -> Cost:
    """(*, m, n), b (*, m, k): QR without Q, its reflections applied to b, a substitution (GVL 5.3.2)."""
    a, b = op.args[:2]
    batch, m, n = _matrices(a)
    sides = b.numel // max(batch * m, 1)
    reflections = min(m, n)
    applied = batch * (4 * m * sides * reflections - 2 * sides * reflections * reflections)
    solved = formulas.triangular_solve(batch, reflections, sides)[0]
    return _cost(op, (formulas.qr(batch, m, n, 0)[0] + applied + solved, 0))


def matrix_exp(op: OpRecord) -> Cost:
    """(*, n, n): the Taylor polynomial of degree 18, five products (Bader, Blanes, Casas 2019); no squarings."""
    batch, n, _ = _matrices(op.args[0])
    return _cost(op, (5 * batch * n * n * (2 * n - 1), 0))


def cdist(op: OpRecord) -> Cost:
    """x1 (*, p, d), x2 (*, r, d) → (*, p, r): the p-norm of every pair's difference."""
    d = op.args[0].shape[-1]
    order = argument(op, "p", 2.0)
    return arithmetic(op, *formulas.pairwise_distances(op.out.numel, d, order))


def _cholesky_inverse(batch: int, n: int) -> tuple[int, int]:
    """Inverse from a Cholesky factor: 2n³/3 (LAPACK Working Note 41, xPOTRI)."""
    return batch * (2 * n * n * n // 3), 0


def _ldl(batch: int, n: int) -> tuple[int, int]:
    """LDLᵀ: n³/3 (GVL 4.1.2)."""
    return batch * (n * n * n // 3), 0


def _rule(function: Callable[[OpRecord], Cost]) -> Rule:
    return Rule("linalg", function)


RULES: Mapping[OpKey, Rule] = {
    aten.linalg_cholesky_ex: square(formulas.cholesky),
    aten.cholesky_inverse: square(_cholesky_inverse),
    aten.linalg_ldl_factor_ex: square(_ldl),
    aten.linalg_inv_ex: square(formulas.inverse),
    aten._linalg_det: square(formulas.det),
    aten._linalg_slogdet: _rule(slogdet),
    aten.linalg_lu_factor_ex: _rule(lu),
    aten.linalg_lu: _rule(lu),
    aten.lu_unpack: Rule("linalg", lambda op: Cost(), "copies the factors apart, no arithmetic"),
    aten._linalg_solve_ex: _rule(solve),
    aten.linalg_lu_solve: _rule(lu_solve),
    aten.linalg_solve_triangular: _rule(solve_triangular),
    aten.triangular_solve: _rule(old_triangular_solve),
    aten.cholesky_solve: _rule(cholesky_solve),
    aten._cholesky_solve_helper: _rule(cholesky_solve),
    aten.linalg_ldl_solve: _rule(ldl_solve),
    aten.linalg_qr: _rule(qr),
    aten.geqrf: _rule(qr),
    aten.linalg_householder_product: _rule(householder),
    aten.ormqr: _rule(ormqr),
    aten._linalg_svd: _rule(svd),
    aten.linalg_pinv: _rule(pinv),
    **optional("linalg_polar", _rule(polar)),
    **optional("linalg_matrix_sqrth", _rule(matrix_sqrt)),
    aten._linalg_eigh: _rule(eigh),
    aten.linalg_eig: _rule(eig),
    aten._linalg_eigvals: _rule(eigvals),
    aten.linalg_eigvals: _rule(eigvals),
    aten.linalg_lstsq: _rule(least_squares),
    aten.linalg_matrix_exp: _rule(matrix_exp),
    aten._cdist_forward: _rule(cdist),
    aten._pdist_forward: _rule(cdist),
    aten._euclidean_dist: _rule(cdist),
}
