"""Operators of eager-mode quantization (`quantized::`), whose tensors carry a scale and a zero point.

Multiply-accumulates are of integers, and MACs all the same. Then every output element is requantized, which is
floating-point work: min(max(round(x · s) + z, lo), hi), five operations; a fused ReLU is its lower bound and costs
none. Elementwise operators dequantize their operands first, (q − z) · s, two operations each. Weights are packed: a
record has their shape in the place of the object.

Not here: whether a packed layer has a bias (accumulators count as starting at it).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod

import torch

from ..cost import Cost
from ..records import OpRecord, TensorSpec, tensor_specs
from ..registry import OpKey, Rule
from .common import argument, optional

REQUANTIZE = 5
DEQUANTIZE = 2


def _weight(op: OpRecord) -> TensorSpec:
    """The packed weight, under whichever name the operator has for it."""
    found = (argument(op, name) for name in ("packed_weight", "W_prepack", "weight"))
    weight = next(w for w in found if w is not None)
    if not isinstance(weight, TensorSpec):
        raise TypeError(f"{op.op}: the shape of the packed weight is unknown")
    return weight


def _requantized(op: OpRecord, macs: int, more: int = 0) -> Cost:
    return Cost(macs=macs, other_flops=(REQUANTIZE + more) * op.out.numel)


def conv(op: OpRecord) -> Cost:
    """x (n, c_in, *) with weight (c_out, c_in/g, *k) → (n, c_out, *): c_in/g · k MACs for each output."""
    return _requantized(op, op.out.numel * prod(_weight(op).shape[1:]))


def conv_add(op: OpRecord) -> Cost:
    """A convolution to which another quantized tensor is added before requantization."""
    return _requantized(op, op.out.numel * prod(_weight(op).shape[1:]), DEQUANTIZE + 1)


def conv_transpose(op: OpRecord) -> Cost:
    """x (n, c_in, *) with weight (c_in, c_out/g, *k): c_out/g · k MACs for each input."""
    return _requantized(op, op.args[0].numel * prod(_weight(op).shape[1:]))


def linear(op: OpRecord) -> Cost:
    """x (*, k) with weight (n, k) → (*, n)."""
    return _requantized(op, op.out.numel * _weight(op).shape[-1])


def linear_dynamic(op: OpRecord) -> Cost:
    """Float x (*, k), quantized as it comes (its range: 2k compares a row), times weight (n, k), scaled to float."""
    x = op.args[0].numel
    return Cost(macs=op.out.numel * _weight(op).shape[-1], other_flops=(2 + REQUANTIZE) * x + op.out.numel)


def linear_fp16(op: OpRecord) -> Cost:
    """Float x (*, k) with a weight (n, k) that is stored in half precision."""
    return Cost(macs=op.out.numel * _weight(op).shape[-1])


def elementwise(per_element: int) -> Callable[[OpRecord], Cost]:
    """Dequantize every operand, so many operations, requantize."""

    def rule(op: OpRecord) -> Cost:
        operands = sum(1 for spec in tensor_specs(op.args) if not spec.is_floating)
        return Cost(other_flops=(DEQUANTIZE * operands + per_element + REQUANTIZE) * op.out.numel)

    return rule


def sigmoid(op: OpRecord) -> Cost:
    """1 / (1 + exp(−x)) or tanh(x) between dequantizing and requantizing."""
    per_element = 1 if "tanh" in str(op.op) else 4
    n = op.out.numel
    return Cost(other_flops=(DEQUANTIZE + per_element + REQUANTIZE) * n, transcendentals=n)


def cat(op: OpRecord) -> Cost:
    """Parts with scales of their own are brought to that of the result."""
    return Cost(other_flops=(DEQUANTIZE + REQUANTIZE) * op.out.numel)


def dequantize(op: OpRecord) -> Cost:
    """(q − z) · s."""
    return Cost(other_flops=DEQUANTIZE * op.out.numel)


_CONV, _LINEAR = Rule("convolution", conv), Rule("matmul", linear)
_FUSED = Rule("convolution", conv_add)
_DYNAMIC, _HALF = Rule("matmul", linear_dynamic), Rule("matmul", linear_fp16)

_BY_NAME: Mapping[str, Rule] = {
    **{f"conv{d}d{tail}": _CONV for d in (1, 2, 3) for tail in ("", "_relu")},
    **{f"conv_transpose{d}d": Rule("convolution", conv_transpose) for d in (1, 2, 3)},
    **{f"conv2d_add{tail}": _FUSED for tail in ("", "_relu")},
    **{f"linear{tail}": _LINEAR for tail in ("", "_relu")},
    **{f"linear{tail}_dynamic": _DYNAMIC for tail in ("", "_relu")},
    **{f"linear{tail}_dynamic_fp16": _HALF for tail in ("", "_relu")},
    **{name: Rule("pointwise", elementwise(1)) for name in ("add", "add_relu", "mul", "mul_relu")},
    "add_scalar": Rule("pointwise", elementwise(1)),
    "mul_scalar": Rule("pointwise", elementwise(1)),
    "hardswish": Rule("pointwise", elementwise(5)),
    "leaky_relu": Rule("pointwise", elementwise(2)),
    "sigmoid": Rule("pointwise", sigmoid),
    "cat": Rule("pointwise", cat),
}

RULES: Mapping[OpKey, Rule] = {
    **{key: rule for name, entry in _BY_NAME.items() for key, rule in optional(f"quantized::{name}", entry).items()},
    torch.ops.aten.dequantize: Rule("pointwise", dequantize),
}
