"""Operators of eager-mode quantization (`quantized::`), whose tensors carry a scale and a zero point.

Multiply-accumulates are of integers, and MACs all the same. Then every output element is requantized, which is
floating-point work: min(max(round(x · s) + z, lo), hi), five operations; a fused ReLU is its lower bound and costs
none. Elementwise operators dequantize their operands first, (q − z) · s, two operations each. Weights are packed: a
record has their shape in the place of the object. What only compares or picks integers costs nothing.

Not here: whether a packed layer has a bias (accumulators count as starting at it); recurrent layers, normalization and
embeddings (quantized_layers.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import prod

import torch

from ..records.cost import Cost
from ..records.recording import OpRecord, TensorSpec, tensor_specs
from . import formulas
from .common import argument, optional, rows_and_length
from .movement import move
from .registry import OpKey, Rule

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


def linear_leaky_relu(op: OpRecord) -> Cost:
    """A linear layer, then a compare and a product for each output."""
    return _requantized(op, op.out.numel * _weight(op).shape[-1], 2)


def linear_tanh(op: OpRecord) -> Cost:
    """A linear layer, then tanh of each output."""
    cost = _requantized(op, op.out.numel * _weight(op).shape[-1], 1)
    return replace(cost, transcendentals=op.out.numel)


def matmul(op: OpRecord) -> Cost:
    """(*, m, k) × (*, k, n), both quantized → (*, m, n)."""
    return replace(_requantized(op, op.out.numel * op.args[0].shape[-1]), zero_accumulators=op.out.numel)


def _as_it_comes(op: OpRecord, macs: int) -> Cost:
    """Float input, quantized as it comes (its range: 2 compares an element), each output scaled to float."""
    return Cost(macs=macs, other_flops=(2 + REQUANTIZE) * op.args[0].numel + op.out.numel)


def linear_dynamic(op: OpRecord) -> Cost:
    """Float x (*, k), quantized as it comes, times weight (n, k)."""
    return _as_it_comes(op, op.out.numel * _weight(op).shape[-1])


def conv_dynamic(op: OpRecord) -> Cost:
    """As `conv`, of float x that is quantized as it comes."""
    return _as_it_comes(op, op.out.numel * prod(_weight(op).shape[1:]))


def conv_transpose_dynamic(op: OpRecord) -> Cost:
    """As `conv_transpose`, of float x that is quantized as it comes."""
    return _as_it_comes(op, op.args[0].numel * prod(_weight(op).shape[1:]))


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


def elu(op: OpRecord) -> Cost:
    """scale · (x if x > 0 else alpha · (exp(input_scale · x) − 1)): three operations, a product for each that is not 1.

    CELU is the same with exp(x / alpha): a division more where alpha is not one.
    """
    n, alpha = op.out.numel, argument(op, "alpha", 1) != 1
    scalings: int = alpha + sum(argument(op, name, 1) != 1 for name in ("scale", "input_scale"))
    scalings += alpha and "celu" in str(op.op)
    return Cost(other_flops=(DEQUANTIZE + 3 + scalings + REQUANTIZE) * n, transcendentals=n)


def prelu(op: OpRecord) -> Cost:
    """x if x > 0 else w · x, with quantized weights (one, or one a channel)."""
    n, weights = op.out.numel, op.args[1].numel
    return Cost(other_flops=(DEQUANTIZE + 2 + REQUANTIZE) * n + DEQUANTIZE * weights)


def softmax(op: OpRecord) -> Cost:
    """Rows along `dim`, between dequantizing and requantizing."""
    flops, transcendentals = formulas.softmax(*rows_and_length(op.out.shape, argument(op, "dim")))
    return Cost(other_flops=flops + (DEQUANTIZE + REQUANTIZE) * op.out.numel, transcendentals=transcendentals)


def of_integers(op: OpRecord) -> Cost:
    """Compares stored integers: no floating-point work."""
    return Cost()


def cat(op: OpRecord) -> Cost:
    """Parts with scales of their own are brought to that of the result."""
    return Cost(other_flops=(DEQUANTIZE + REQUANTIZE) * op.out.numel)


def dequantize(op: OpRecord) -> Cost:
    """(q − z) · s."""
    return Cost(other_flops=DEQUANTIZE * op.out.numel)


_CONV, _LINEAR = Rule("convolution", conv), Rule("matmul", linear)
_FUSED = Rule("convolution", conv_add)
_DYNAMIC, _HALF = Rule("matmul", linear_dynamic), Rule("matmul", linear_fp16)

_ONE_OPERATION = Rule("pointwise", elementwise(1))
_INTEGERS = Rule("pointwise", of_integers, "compares stored integers")
_PACK = Rule("movement", move, "packs weights, no arithmetic")

_BY_NAME: Mapping[str, Rule] = {
    **{f"conv{d}d{tail}": _CONV for d in (1, 2, 3) for tail in ("", "_relu")},
    **{f"conv_transpose{d}d": Rule("convolution", conv_transpose) for d in (1, 2, 3)},
    **{f"conv2d_add{tail}": _FUSED for tail in ("", "_relu")},
    **{f"linear{tail}": _LINEAR for tail in ("", "_relu")},
    **{f"linear{tail}_dynamic": _DYNAMIC for tail in ("", "_relu")},
    **{f"linear{tail}_dynamic_fp16": _HALF for tail in ("", "_relu")},
    **dict.fromkeys(("add", "add_relu", "mul", "mul_relu", "threshold"), _ONE_OPERATION),
    **{f"{name}_scalar{tail}": _ONE_OPERATION for name in ("add", "mul") for tail in ("", "_relu")},
    **{f"conv{d}d_dynamic": Rule("convolution", conv_dynamic) for d in (1, 2, 3)},
    **{f"conv_transpose{d}d_dynamic": Rule("convolution", conv_transpose_dynamic) for d in (1, 2, 3)},
    **{f"{kind}{d}d_prepack": _PACK for kind in ("conv", "conv_transpose") for d in (1, 2, 3)},
    **dict.fromkeys(("linear_prepack", "linear_prepack_fp16"), _PACK),
    "linear_leaky_relu": Rule("matmul", linear_leaky_relu),
    "linear_tanh": Rule("matmul", linear_tanh),
    "matmul": Rule("matmul", matmul),
    **dict.fromkeys(("elu", "celu"), Rule("pointwise", elu)),
    "prelu": Rule("pointwise", prelu),
    "softmax": Rule("pointwise", softmax),
    **dict.fromkeys(("relu6", "clamp"), _INTEGERS),
    **dict.fromkeys(("max_pool1d", "max_pool2d"), Rule("pooling", of_integers, "compares stored integers")),
    "cat_relu": Rule("pointwise", cat),
    "hardswish": Rule("pointwise", elementwise(5)),
    "leaky_relu": Rule("pointwise", elementwise(2)),
    "sigmoid": Rule("pointwise", sigmoid),
    "cat": Rule("pointwise", cat),
}

RULES: Mapping[OpKey, Rule] = {
    **{
        key: rule
        for namespace in ("quantized", "_quantized")  # the second has the older forms of some of them
        for name, entry in _BY_NAME.items()
        for key, rule in optional(f"{namespace}::{name}", entry).items()
    },
    torch.ops.aten.dequantize: Rule("pointwise", dequantize),
    torch.ops.aten.int_repr: Rule("movement", move, "copies the stored integers"),
    torch.ops.aten._make_per_tensor_quantized_tensor: Rule("movement", move, "copies the stored integers"),
    torch.ops.aten._make_per_channel_quantized_tensor: Rule("movement", move, "copies the stored integers"),
}
