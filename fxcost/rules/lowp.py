"""Low-precision, quantized, grouped and semi-structured sparse matrix products.

Integer multiply-accumulates are MACs too. Not here: products with general sparse matrices (matmul.py), and
`quantized::` operators (quantized.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from ..records.cost import Cost
from ..records.recording import OpRecord, TensorSpec
from . import formulas
from .common import argument, arithmetic, bytes_of, optional, with_bytes
from .movement import move
from .registry import OpKey, Rule

aten = torch.ops.aten


def _elements(spec: TensorSpec) -> int:
    """Elements of a tensor; a byte of `float4_e2m1fn_x2` holds two."""
    return spec.numel * 2 if spec.dtype == getattr(torch, "float4_e2m1fn_x2", None) else spec.numel


def rows_times(op: OpRecord) -> Cost:
    """(*, k) × (k, n) in any packing of the weight → (*, n): k·n MACs for each row."""
    x, outputs = op.args[0], op.out.numel
    return Cost(macs=_elements(x) * op.out.shape[-1], zero_accumulators=outputs)


def scaled_mm(op: OpRecord) -> Cost:
    """(m, k) × (k, n), then · scale_a · scale_b, + bias, · scale_result on each output where given."""
    after = 2 + (argument(op, "bias") is not None) + (argument(op, "scale_result") is not None)
    return rows_times(op) + Cost(other_flops=after * op.out.numel)


def int8_weight_mm(op: OpRecord) -> Cost:
    """(m, k) × int8 (n, k)ᵀ → (m, n), each output times its column's scale."""
    return rows_times(op) + Cost(other_flops=op.out.numel)


def int4_weight_mm(op: OpRecord) -> Cost:
    """(m, k) × packed int4 (k, n) → (m, n); each weight is dequantized once: q · scale + zero."""
    k, n = op.args[0].shape[-1], op.out.shape[-1]
    return rows_times(op) + Cost(other_flops=2 * k * n)


def dynamic_int4_mm(op: OpRecord) -> Cost:
    """(m, k) × packed int4, with the input quantized as it comes: every partial sum of a block times its scale."""
    _x, _packed, block, k, _n = op.args[:5]
    return rows_times(op) + Cost(other_flops=op.out.numel * max(k // max(block, 1), 1))


def grouped_mm(op: OpRecord) -> Cost:
    """Products of groups (mixture of experts): each row, column or slice belongs to one group.

    (m, k) × (g, k, n), rows grouped: m·k·n. (g, m, k) × (g, k, n): g·m·k·n. (m, k) × (k, n) grouped along k, to
    (g, m, n): m·k·n. (g, m, k) × (k, n), columns grouped: m·k·n. How rows are routed does not matter to the MACs.
    Of the stacked matrices those are read that got any row or column: the expected number, if they are spread evenly.
    """
    a, b = op.args[:2]
    both_stacked = len(a.shape) == 3 and len(b.shape) == 3
    m, n = a.shape[-2], b.shape[-1]
    k = _elements(a) // max(a.numel, 1) * a.shape[-1]
    macs = (a.shape[0] if both_stacked else 1) * m * k * n
    cost = Cost(macs=macs, zero_accumulators=0 if argument(op, "bias") is not None else op.out.numel)
    untouched = 0
    if len(a.shape) + len(b.shape) == 5:
        stacked, routed = (b, a.shape[0]) if len(b.shape) == 3 else (a, b.shape[1])
        untouched = _untouched_bytes(stacked, routed)
    return with_bytes(op, cost, bytes_of(*op.inputs) - untouched)


def _untouched_bytes(stacked: TensorSpec, rows: int) -> int:
    """Bytes of those matrices of a stack to which none of `rows` rows (or columns) of the other operand goes."""
    groups = stacked.shape[0]
    return stacked.stored_bytes // max(groups, 1) * (groups - formulas.distinct(groups, rows))


def scaled_grouped_mm(op: OpRecord) -> Cost:
    """As `grouped_mm`, then · scale_a · scale_b, + bias, · scale_result on each output where given."""
    after = 2 + (argument(op, "bias") is not None) + (argument(op, "scale_result") is not None)
    cost, outputs = grouped_mm(op), op.out.numel
    return replace(cost, zero_accumulators=outputs, other_flops=after * outputs)


_ACTIVATIONS: Mapping[str, tuple[int, int]] = {"relu": (1, 0), "silu": (5, 1)}
"""Operations of an output's activation, and how many are transcendental."""


def mixed_linear(op: OpRecord) -> Cost:
    """Linear with an integer weight: each output times its scale, + bias, then relu or silu if asked for."""
    per_output, transcendental = _ACTIVATIONS.get(argument(op, "activation") or "", (0, 0))
    outputs = op.out.numel
    scaled = 1 + (argument(op, "bias") is not None)
    return rows_times(op) + arithmetic(op, outputs * (scaled + per_output), outputs * transcendental)


def semi_structured_mm(op: OpRecord) -> Cost:
    """2:4 sparse (m, k) × dense (k, n): the stored half of the first matrix, (m, k/2), meets every column."""
    packed, dense = argument(op, "mat1"), argument(op, "mat2")
    return Cost(macs=packed.numel * dense.shape[-1], zero_accumulators=op.out.numel)


def semi_structured_linear(op: OpRecord) -> Cost:
    """x (*, k) × 2:4 sparse (n, k)ᵀ, of which (n, k/2) is stored, then relu or silu if asked for."""
    packed, bias = argument(op, "weight"), argument(op, "bias")
    per_output, transcendental = _ACTIVATIONS.get(argument(op, "activation") or "", (0, 0))
    outputs = op.out.numel
    cost = Cost(macs=outputs * packed.shape[-1], zero_accumulators=outputs if bias is None else 0)
    return cost + arithmetic(op, outputs * per_output, outputs * transcendental)


def cusparselt_mm(op: OpRecord) -> Cost:
    """2:4 sparse (m, k) in one packed row × dense (k, n): half of the products, · alpha if given."""
    outputs, alpha = op.out.numel, argument(op, "alpha")
    started_at_zero = outputs if argument(op, "bias") is None or alpha is not None else 0
    cost = Cost(macs=outputs * (op.args[1].shape[0] // 2), zero_accumulators=started_at_zero)
    return cost + arithmetic(op, outputs if alpha is not None else 0)


def semi_structured_addmm(op: OpRecord) -> Cost:
    """As `semi_structured_mm`, then alpha · product + beta · bias."""
    scaled = 1 + (argument(op, "alpha") != 1) + (argument(op, "beta") != 1)
    return semi_structured_mm(op) + Cost(other_flops=scaled * op.out.numel)


_PACK = Rule("movement", move, "packs weights, no arithmetic")
_LOW = Rule("matmul", int4_weight_mm)

RULES: Mapping[OpKey, Rule] = {
    aten._int_mm: Rule("matmul", rows_times),
    aten._scaled_mm: Rule("matmul", scaled_mm),
    **optional("_scaled_mm_v2", Rule("matmul", scaled_mm)),
    aten._weight_int8pack_mm: Rule("matmul", int8_weight_mm),
    aten._weight_int4pack_mm: _LOW,
    **optional("_weight_int4pack_mm_for_cpu", _LOW),
    **optional("_weight_int4pack_mm_with_scales_and_zeros", _LOW),
    **optional("_dyn_quant_matmul_4bit", Rule("matmul", dynamic_int4_mm)),
    **optional("_grouped_mm", Rule("matmul", grouped_mm)),
    **optional("_scaled_grouped_mm", Rule("matmul", scaled_grouped_mm)),
    **optional("_scaled_grouped_mm_v2", Rule("matmul", scaled_grouped_mm)),
    **optional("_mixed_dtypes_linear", Rule("matmul", mixed_linear)),
    **optional("_sparse_semi_structured_mm", Rule("matmul", semi_structured_mm)),
    **optional("_sparse_semi_structured_linear", Rule("matmul", semi_structured_linear)),
    **optional("_cslt_sparse_mm", Rule("matmul", cusparselt_mm)),
    **dict.fromkeys((aten._convert_weight_to_int4pack, aten._convert_weight_to_int4pack_for_cpu), _PACK),
    **optional("_dyn_quant_pack_4bit_weight", _PACK),
    **optional("_sparse_semi_structured_addmm", Rule("matmul", semi_structured_addmm)),
}
