"""Matrix products. `nn.Linear`, `@`, `torch.matmul` and `einsum` all end in the operators of this file.

Low-precision products (quantized, scaled, grouped) are in `lowp.py`. Integer multiply-accumulates are MACs too.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import torch

from ..records.cost import Cost
from ..records.recording import OpRecord, TensorSpec
from . import formulas
from .common import argument, arithmetic, contraction
from .registry import OpKey, Rule

aten = torch.ops.aten


def mm(op: OpRecord) -> Cost:
    """(m, k) × (k, n) → (m, n)."""
    a, b = op.args[:2]
    return contraction(op, mm_macs(a, b), a.shape[0] * b.shape[1])


def mm_macs(a: TensorSpec, b: TensorSpec) -> int:
    """Multiply-accumulates of a matrix product; of a sparse matrix only the stored values take part."""
    (m, k), n = a.shape, b.shape[1]
    if a.stored is not None:
        return a.stored * n
    return m * b.stored if b.stored is not None else formulas.matmul_macs(1, m, k, n)


def bmm(op: OpRecord) -> Cost:
    """(b, m, k) × (b, k, n) → (b, m, n)."""
    a, b = op.args[:2]
    (batch, m, k), n = a.shape, b.shape[2]
    macs = formulas.matmul_macs(batch, m, k, n) if a.stored is None else a.stored * n
    return contraction(op, macs, batch * m * n)


def dot(op: OpRecord) -> Cost:
    """(k) · (k) → ()."""
    return contraction(op, op.args[0].numel, 1)


def mv(op: OpRecord) -> Cost:
    """(m, k) × (k) → (m)."""
    matrix: TensorSpec = op.args[0]
    return contraction(op, matrix.numel, matrix.shape[0])


def started_at(op: OpRecord, macs: int) -> Cost:
    """beta · bias + alpha · (dot products of `macs` multiply-accumulates in all).

    With alpha = 1 the accumulators start at beta · bias, so the bias costs no addition. With another alpha they
    start at zero, and each output takes a product with alpha and an addition more. beta = 0 means no bias.
    """
    outputs, alpha, beta = op.out.numel, argument(op, "alpha", 1), argument(op, "beta", 1)
    if beta == 0:
        return contraction(op, macs, outputs) + arithmetic(op, 0 if alpha == 1 else outputs)
    scaling = outputs * ((beta != 1) + (0 if alpha == 1 else 2))
    return contraction(op, macs, 0 if alpha == 1 else outputs) + arithmetic(op, scaling)


def addmm(op: OpRecord) -> Cost:
    """beta · bias + alpha · (m, k) × (k, n) → (m, n)."""
    return started_at(op, mm_macs(op.args[1], op.args[2]))


def addmm_activation(op: OpRecord) -> Cost:
    """addmm, then relu (one operation) or gelu in its tanh form (nine, one of them tanh)."""
    cost, outputs = addmm(op), op.out.numel
    if argument(op, "use_gelu"):
        return cost + arithmetic(op, 9 * outputs, outputs)
    return cost + arithmetic(op, outputs)


def baddbmm(op: OpRecord) -> Cost:
    """beta · bias + alpha · (b, m, k) × (b, k, n) → (b, m, n)."""
    (batch, m, k), n = op.args[1].shape, op.args[2].shape[2]
    return started_at(op, formulas.matmul_macs(batch, m, k, n))


def addbmm(op: OpRecord) -> Cost:
    """beta · bias + alpha · Σ over b of (b, m, k) × (b, k, n) → (m, n): dot products of length b·k."""
    return baddbmm(op)


def addmv(op: OpRecord) -> Cost:
    """beta · bias + alpha · (m, k) × (k) → (m)."""
    return started_at(op, op.args[1].numel)


def addr(op: OpRecord) -> Cost:
    """beta · bias + alpha · (m) ⊗ (n) → (m, n): dot products of length one."""
    return started_at(op, op.out.numel)


def linear(op: OpRecord) -> Cost:
    """(*, k) × (n, k)ᵀ + bias → (*, n), where PyTorch keeps it whole."""
    x, weight, bias = op.args[:3]
    return contraction(op, x.numel * prod(weight.shape[:-1]), 0 if bias is not None else op.out.numel)


def trilinear(op: OpRecord) -> Cost:
    """Σ i1·i2·i3 over `sumdim`, after unsqueezing each at its `expand` dimensions (`nn.Bilinear` ends here).

    Two contractions, as ATen nests them: i1 with i2 over the summed dimensions that i3 lacks, the result with i3
    over the others. So x₁ᵀ A x₂ is (x₁ᵀ A) x₂. Dimension sizes are those of the broadcast operands.
    """
    sizes, absent = _trilinear_sizes(op.args[:3], op.args[3:6])
    rank, summed = len(sizes), set(op.args[6])
    first_sum = summed & absent[2]
    first = [d for d in range(rank) if not (d in absent[0] and d in absent[1])]
    joined = [d for d in range(rank) if (d in first and d not in first_sum) or d not in absent[2]]
    partial = [d for d in first if d not in first_sum]
    macs = prod(sizes[d] for d in first) + prod(sizes[d] for d in joined)
    return contraction(op, macs, prod(sizes[d] for d in partial) + op.out.numel)


def _trilinear_sizes(
    operands: tuple[TensorSpec, ...], expands: tuple[tuple[int, ...], ...]
) -> tuple[tuple[int, ...], tuple[set[int], ...]]:
    """Sizes of all dimensions, and for each operand which of them it lacks."""
    absent, shapes = tuple(set(e) for e in expands), []
    for spec, lacking in zip(operands, absent, strict=True):
        extents = iter(spec.shape)
        shapes.append([1 if d in lacking else next(extents) for d in range(len(spec.shape) + len(lacking))])
    return tuple(max(column) for column in zip(*shapes, strict=True)), absent


RULES: Mapping[OpKey, Rule] = {
    aten.mm: Rule("matmul", mm),
    aten.bmm: Rule("matmul", bmm),
    aten.dot: Rule("matmul", dot),
    aten.vdot: Rule("matmul", dot),
    aten.mv: Rule("matmul", mv),
    aten._sparse_addmm: Rule("matmul", addmm),
    aten.addmm: Rule("matmul", addmm),
    aten._addmm_activation: Rule("matmul", addmm_activation),
    aten.baddbmm: Rule("matmul", baddbmm),
    aten.addbmm: Rule("matmul", addbmm),
    aten.addmv: Rule("matmul", addmv),
    aten.addr: Rule("matmul", addr),
    aten.linear: Rule("matmul", linear),
    aten._trilinear: Rule("matmul", trilinear),
    aten.mkldnn_linear: Rule("matmul", linear),
}
