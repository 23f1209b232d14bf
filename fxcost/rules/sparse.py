"""Operators on sparse tensors beside the products of matmul.py.

Work is done on stored values alone. A tensor is put together from its indices and values without copying them.

Not here: a product of two sparse matrices (`_sparse_sparse_matmul`), whose work depends on where the values stand, so
that it stays uncosted; what only sparse training needs.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from ..records.cost import Cost
from ..records.recording import OpRecord
from . import formulas
from .common import argument, arithmetic, contraction, optional
from .movement import move
from .registry import OpKey, Rule

aten = torch.ops.aten


def total(op: OpRecord) -> Cost:
    """Sums of stored values, at their most: all of them end in one."""
    return arithmetic(op, *formulas.total(1, op.args[0].numel))


def softmax(op: OpRecord) -> Cost:
    """Over the stored values of each row, at its most: all stand in one row."""
    return arithmetic(op, *formulas.softmax(1, op.args[0].numel))


def log_softmax(op: OpRecord) -> Cost:
    """As `softmax`."""
    return arithmetic(op, *formulas.log_softmax(1, op.args[0].numel))


def sampled_addmm(op: OpRecord) -> Cost:
    """beta · pattern + alpha · (m, k) × (k, n) where the pattern (m, n) stores a value: k MACs for each of these."""
    pattern, alpha, beta = op.args[0].numel, argument(op, "alpha", 1), argument(op, "beta", 1)
    scaling = pattern * ((beta not in (0, 1)) + (0 if alpha == 1 else 1 + (beta != 0)))
    started_at_zero = pattern if alpha != 1 or beta == 0 else 0
    return contraction(op, pattern * op.args[1].shape[-1], started_at_zero) + arithmetic(op, scaling)


def mm_reduce(op: OpRecord) -> Cost:
    """Sparse (m, k) × (k, n), joined by sum, mean, max or min: a MAC for each stored value and column."""
    dense = op.args[1]
    return contraction(op, op.args[0].numel * dense.shape[-1], op.out.numel)


_HOLDS = Rule("free", None, "puts indices and values together without copying them")

RULES: Mapping[OpKey, Rule] = {
    aten._sparse_sum: Rule("reduction", total),
    aten._sparse_softmax: Rule("reduction", softmax),
    aten._sparse_log_softmax: Rule("reduction", log_softmax),
    aten.sparse_sampled_addmm: Rule("matmul", sampled_addmm),
    aten._sparse_mm_reduce_impl: Rule("matmul", mm_reduce),
    aten._sparse_coo_tensor_with_dims: _HOLDS,
    aten._sparse_coo_tensor_with_dims_and_tensors: _HOLDS,
    aten._sparse_compressed_tensor_with_dims: _HOLDS,
    aten.sparse_compressed_tensor: _HOLDS,
    **optional("_sparse_broadcast_to_copy", Rule("movement", move, "copies indices and values, no arithmetic")),
    aten._coalesce: Rule("movement", move, "sorts integers and moves values"),
    aten._sparse_mask_projection: Rule("movement", move, "moves values, no arithmetic"),
    aten.sparse_mask: Rule("movement", move, "moves values, no arithmetic"),
    aten._to_sparse_csc: Rule("movement", move, "moves values, no arithmetic"),
    aten._to_sparse_bsr: Rule("movement", move, "moves values, no arithmetic"),
    aten._to_sparse_bsc: Rule("movement", move, "moves values, no arithmetic"),
    aten._convert_indices_from_coo_to_csr: Rule("movement", move, "works on indices alone"),
    aten._convert_indices_from_csr_to_coo: Rule("movement", move, "works on indices alone"),
}
