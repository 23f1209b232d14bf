"""`torch._foreach_*`: one operator on every tensor of a list, as optimizers and moving averages of weights use them.

The cost is that of the single operators, at their neutral numbers (`alpha`, `value` …).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from ..records.cost import Cost
from ..records.recording import OpRecord, TensorSpec, tensor_specs
from . import formulas
from .common import argument, arithmetic, optional
from .movement import move, overwrite
from .pointwise import TABLE
from .registry import OpKey, Rule


def _tensors(op: OpRecord) -> tuple[TensorSpec, ...]:
    return tuple(tensor_specs(op.args[0]))


def per_element(operations: int, transcendental: int) -> Rule:
    """So many operations for each element of all tensors."""

    def rule(op: OpRecord) -> Cost:
        n = sum(spec.numel for spec in _tensors(op))
        return arithmetic(op, operations * n, transcendental * n)

    return Rule("pointwise", rule)


def norm(op: OpRecord) -> Cost:
    """A norm of each tensor."""
    order = argument(op, "ord", 2)
    found = [formulas.vector_norm(1, spec.numel, order) for spec in _tensors(op)]
    return arithmetic(op, sum(flops for flops, _ in found), sum(roots for _, roots in found))


def maximum(op: OpRecord) -> Cost:
    """The largest element of each tensor."""
    return arithmetic(op, sum(formulas.total(1, spec.numel)[0] for spec in _tensors(op)))


_ARITHMETIC = ("abs", "add", "addcdiv", "addcmul", "div", "lerp", "mul", "neg", "reciprocal", "sign", "sub")
_ROUNDING = ("ceil", "clamp_max", "clamp_min", "floor", "frac", "maximum", "minimum", "round", "trunc")
_EXPONENTIAL = ("exp", "expm1", "log", "log10", "log1p", "log2", "rsqrt", "sigmoid", "sqrt", "erf", "erfc", "lgamma")
_ANGLES = ("acos", "asin", "atan", "cos", "cosh", "sin", "sinh", "tan", "tanh")


def _entry(name: str) -> tuple[int, int]:
    operations, transcendental, _ = TABLE.get(getattr(torch.ops.aten, name), (1, 0, ""))
    return operations, transcendental


_MOVES: Mapping[str, tuple[Callable[[OpRecord], Cost], str]] = {
    "clone": (move, "copies, no arithmetic"),
    "copy": (overwrite, "overwrites tensors, no arithmetic"),
    "zero": (overwrite, "overwrites tensors, no arithmetic"),
}
_BY_NAME: Mapping[str, Rule] = {
    **{name: per_element(*_entry(name)) for name in (*_ARITHMETIC, *_ROUNDING, *_EXPONENTIAL, *_ANGLES)},
    "pow": per_element(1, 1),
    "norm": Rule("reduction", norm),
    "max": Rule("reduction", maximum),
    **{name: Rule("movement", function, reason) for name, (function, reason) in _MOVES.items()},
}

RULES: Mapping[OpKey, Rule] = {
    key: rule for name, entry in _BY_NAME.items() for key, rule in optional(f"_foreach_{name}", entry).items()
}
