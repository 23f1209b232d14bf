"""Operators that compute each element by itself: operations per element, from one table.

`TABLE` says for each operator how many operations an element takes, how many of them are transcendental, and the
expression that this counts. In an expression + − × ÷, a comparison, `abs`, `max`, `min`, `floor` and the like, and
a function (exp, log, erf …) are one operation each; `where(condition, a, b)` only selects: both sides are computed,
as vector code does. tests/rules/test_pointwise.py evaluates every expression on counting numbers and compares both
its count and its value with PyTorch.

A number that an operator is given (`alpha`, `value`, `beta` …) costs nothing where it has its neutral value; rules
that depend on such numbers are functions below. Any other operator that PyTorch tags as pointwise costs one.

Work on integers and booleans is no floating-point work. A complex operation is counted by `COMPLEX`, or twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ..records.cost import Cost
from ..records.recording import OpRecord, TensorSpec
from .common import argument, arithmetic
from .registry import OpKey, Rule

aten = torch.ops.aten

Entry = tuple[int, int, str]
"""Operations per element, how many are transcendental, and the expression."""

TABLE: Mapping[OpKey, Entry] = {
    # arithmetic
    aten.add: (1, 0, "x + y"),
    aten.sub: (1, 0, "x - y"),
    aten.rsub: (1, 0, "y - x"),
    aten.mul: (1, 0, "x * y"),
    aten.div: (1, 0, "x / y"),
    aten.neg: (1, 0, "-x"),
    aten.abs: (1, 0, "abs(x)"),
    aten.reciprocal: (1, 0, "1 / x"),
    aten.floor_divide: (2, 0, "floor(x / y)"),
    aten.fmod: (4, 0, "x - y * trunc(x / y)"),
    aten.remainder: (4, 0, "x - y * floor(x / y)"),
    aten.addcmul: (2, 0, "x + y * z"),
    aten.addcdiv: (2, 0, "x + y / z"),
    aten.lerp: (3, 0, "x + z * (y - x)"),
    aten.deg2rad: (1, 0, "x * (pi / 180)"),
    aten.rad2deg: (1, 0, "x * (180 / pi)"),
    # rounding
    aten.ceil: (1, 0, "ceil(x)"),
    aten.floor: (1, 0, "floor(x)"),
    aten.round: (1, 0, "round(x)"),
    aten.trunc: (1, 0, "trunc(x)"),
    aten.frac: (2, 0, "x - trunc(x)"),
    # comparison
    aten.eq: (1, 0, "x == y"),
    aten.ne: (1, 0, "x != y"),
    aten.lt: (1, 0, "x < y"),
    aten.le: (1, 0, "x <= y"),
    aten.gt: (1, 0, "x > y"),
    aten.ge: (1, 0, "x >= y"),
    aten.maximum: (1, 0, "max(x, y)"),
    aten.minimum: (1, 0, "min(x, y)"),
    aten.max.other: (1, 0, "max(x, y)"),
    aten.min.other: (1, 0, "min(x, y)"),
    aten.fmax: (1, 0, "max(x, y)"),
    aten.fmin: (1, 0, "min(x, y)"),
    aten.clamp_min: (1, 0, "max(x, y)"),
    aten.clamp_max: (1, 0, "min(x, y)"),
    aten.sign: (2, 0, "(0 < x) - (x < 0)"),
    aten.sgn: (2, 0, "(0 < x) - (x < 0)"),
    aten.signbit: (1, 0, "x < 0"),
    aten.copysign: (3, 0, "where(y < 0, -(m := abs(x)), m)"),
    aten.heaviside: (2, 0, "where(x == 0, y, x > 0)"),
    aten.isnan: (1, 0, "x != x"),
    aten.isinf: (2, 0, "abs(x) == inf"),
    aten.isposinf: (1, 0, "x == inf"),
    aten.isneginf: (1, 0, "x == -inf"),
    aten.nan_to_num: (3, 0, "where(x != x, 0, where(x == inf, 3e38, where(x == -inf, -3e38, x)))"),
    aten.angle: (1, 0, "where(x < 0, pi, 0)"),
    # boolean logic, bits
    aten.logical_and: (0, 0, "bool(x) and bool(y)"),
    aten.logical_or: (0, 0, "bool(x) or bool(y)"),
    aten.logical_xor: (0, 0, "bool(x) ^ bool(y)"),
    aten.logical_not: (0, 0, "not x"),
    # transcendental functions
    aten.sqrt: (1, 1, "sqrt(x)"),
    aten.rsqrt: (1, 1, "rsqrt(x)"),
    aten.exp: (1, 1, "exp(x)"),
    aten.exp2: (1, 1, "exp2(x)"),
    aten.expm1: (1, 1, "expm1(x)"),
    aten.log: (1, 1, "log(x)"),
    aten.log2: (1, 1, "log2(x)"),
    aten.log10: (1, 1, "log10(x)"),
    aten.log1p: (1, 1, "log1p(x)"),
    aten.sin: (1, 1, "sin(x)"),
    aten.cos: (1, 1, "cos(x)"),
    aten.tan: (1, 1, "tan(x)"),
    aten.asin: (1, 1, "asin(x)"),
    aten.acos: (1, 1, "acos(x)"),
    aten.atan: (1, 1, "atan(x)"),
    aten.atan2: (1, 1, "atan2(x, y)"),
    aten.sinh: (1, 1, "sinh(x)"),
    aten.cosh: (1, 1, "cosh(x)"),
    aten.tanh: (1, 1, "tanh(x)"),
    aten.asinh: (1, 1, "asinh(x)"),
    aten.acosh: (1, 1, "acosh(x)"),
    aten.atanh: (1, 1, "atanh(x)"),
    aten.erf: (1, 1, "erf(x)"),
    aten.erfc: (1, 1, "erfc(x)"),
    aten.lgamma: (1, 1, "lgamma(x)"),
    aten.hypot: (4, 1, "sqrt(x * x + y * y)"),
    aten.sinc: (4, 1, "where(x == 0, 1, sin(a := pi * x) / a)"),
    aten.xlogy: (2, 1, "x * log(y)"),
    aten.special_xlog1py: (2, 1, "x * log1p(y)"),
    aten.special_entr: (3, 1, "-x * log(x)"),
    aten.logaddexp: (4, 3, "log(exp(x) + exp(y))"),
    aten.logaddexp2: (4, 3, "log2(exp2(x) + exp2(y))"),
    aten.ldexp: (2, 1, "x * exp2(y)"),
    # activations
    aten.relu: (1, 0, "max(x, 0)"),
    aten.relu6: (2, 0, "min(max(x, 0), 6)"),
    aten.sigmoid: (4, 1, "1 / (1 + exp(-x))"),
    aten.silu: (5, 1, "x * (1 / (1 + exp(-x)))"),
    aten.mish: (5, 3, "x * tanh(log(1 + exp(x)))"),
    aten.hardtanh: (2, 0, "min(max(x, -1), 1)"),
    aten.hardsigmoid: (4, 0, "min(max(x + 3, 0), 6) / 6"),
    aten.hardswish: (5, 0, "x * min(max(x + 3, 0), 6) / 6"),
    aten.leaky_relu: (2, 0, "where(x > 0, x, 0.01 * x)"),
    aten._prelu_kernel: (2, 0, "where(x > 0, x, y * x)"),
    aten.threshold: (1, 0, "where(x > 0.5, x, 0.25)"),
    aten.hardshrink: (2, 0, "where(x < -0.5, x, where(x > 0.5, x, 0))"),
    aten.softshrink: (4, 0, "where(x < -0.5, x + 0.5, where(x > 0.5, x - 0.5, 0))"),
    aten.celu: (7, 1, "max(x, 0) + min(0, 1.5 * (exp(x / 1.5) - 1))"),
    aten.glu: (5, 1, "x * (1 / (1 + exp(-y)))"),
    aten.log_sigmoid_forward: (6, 2, "min(x, 0) - log1p(exp(-abs(x)))"),
    # fused pairs
    aten._add_relu: (2, 0, "max(x + y, 0)"),
    aten.polar: (4, 2, "(x * cos(y), x * sin(y))"),
}

NUMBERS: Mapping[OpKey, tuple[str, Any, int]] = {
    aten.add: ("alpha", 1, 1),
    aten.sub: ("alpha", 1, 1),
    aten.rsub: ("alpha", 1, 1),
    aten.addcmul: ("value", 1, 1),
    aten.addcdiv: ("value", 1, 1),
    aten.div: ("rounding_mode", None, 1),
    aten.round: ("decimals", 0, 2),
}
"""A number that an operator may be given, its neutral value, and the operations that any other value adds."""

COMPLEX: Mapping[OpKey, Entry] = {
    aten.add: (2, 0, "(a + c, b + d)"),
    aten.sub: (2, 0, "(a - c, b - d)"),
    aten.mul: (6, 0, "(a * c - b * d, a * d + b * c)"),
    aten.div: (11, 0, "((a * c + b * d) / (n := c * c + d * d), (b * c - a * d) / n)"),
    aten.reciprocal: (6, 0, "(a / (n := a * a + b * b), -b / n)"),
    aten.abs: (4, 1, "sqrt(a * a + b * b)"),
    aten.angle: (1, 1, "atan2(b, a)"),
    aten.exp: (5, 3, "((r := exp(a)) * cos(b), r * sin(b))"),
    aten.conj_physical: (1, 0, "(a, -b)"),
    aten._conj_physical: (1, 0, "(a, -b)"),
}
"""For a + bi and c + di. A real operand of `mul` or `div` leaves two operations."""


def one_per_element(op: OpRecord) -> Cost:
    """The default for operators that PyTorch tags as pointwise."""
    return arithmetic(op, op.out.numel)


def per_element(key: OpKey) -> Rule:
    """A rule from the tables: so many operations for each element of the result."""
    operations, transcendental, _ = TABLE[key]
    name, neutral, more = NUMBERS.get(key, ("", None, 0))
    complex_entry = COMPLEX.get(key)

    def rule(op: OpRecord) -> Cost:
        n, extra = op.out.numel, more if argument(op, name, neutral) != neutral else 0
        if complex_entry is not None and any(s.dtype.is_complex for s in op.inputs):
            return complex_cost(op, complex_entry, 2 * extra)
        return arithmetic(op, (operations + extra) * n, transcendental * n)

    return Rule("pointwise", rule)


def complex_cost(op: OpRecord, entry: Entry, extra: int = 0) -> Cost:
    """Complex arithmetic by its entry; a real factor or divisor leaves two operations of a product or quotient."""
    n, operations = op.out.numel, entry[0]
    if entry in (COMPLEX[aten.mul], COMPLEX[aten.div]) and not all(_is_complex(a) for a in op.args[:2]):
        operations = 2
    return Cost(other_flops=(operations + extra) * n, transcendentals=entry[1] * n)


def _is_complex(operand: Any) -> bool:
    return operand.dtype.is_complex if isinstance(operand, TensorSpec) else isinstance(operand, complex)


def conjugate(op: OpRecord) -> Cost:
    """Negates imaginary parts; real numbers stay as they are."""
    return complex_cost(op, COMPLEX[aten.conj_physical]) if _is_complex(op.args[0]) else Cost()


def power(op: OpRecord) -> Cost:
    """x^y: one transcendental, unless the exponent is a number with a shorter way.

    0 and 1 cost nothing, 2 a product, 3 two, −1 a division, −2 a product and a division, ±1/2 a root: as ATen does.
    """
    exponent = argument(op, "exponent")
    n = op.out.numel
    if isinstance(exponent, (int, float)):
        shortcuts = {0: (0, 0), 1: (0, 0), 2: (1, 0), 3: (2, 0), -1: (1, 0), -2: (2, 0), 0.5: (1, 1), -0.5: (1, 1)}
        operations, transcendental = shortcuts.get(exponent, (1, 1))
        return arithmetic(op, operations * n, transcendental * n)
    return arithmetic(op, n, n)


def clamp(op: OpRecord) -> Cost:
    """min(max(x, lo), hi): an operation for each bound that is given."""
    bounds = sum(argument(op, name) is not None for name in ("min", "max"))
    return arithmetic(op, bounds * op.out.numel)


def gelu(op: OpRecord) -> Cost:
    """0.5·x·(1 + erf(x·√½)), five operations; or 0.5·x·(1 + tanh(√(2/π)·(x + 0.044715·x·x·x))), nine."""
    operations = 9 if argument(op, "approximate") == "tanh" else 5
    return arithmetic(op, operations * op.out.numel, op.out.numel)


def elu(op: OpRecord) -> Cost:
    """scale · (x if x > 0 else alpha · (exp(input_scale · x) − 1)): three operations and a product for each ≠ 1."""
    scalings: int = sum(argument(op, name, 1) != 1 for name in ("alpha", "scale", "input_scale"))
    return arithmetic(op, (3 + scalings) * op.out.numel, op.out.numel)


def softplus(op: OpRecord) -> Cost:
    """x if beta·x > threshold else log(1 + exp(beta·x)) / beta: four operations, two more if beta is not one."""
    scalings = 2 if argument(op, "beta", 1) != 1 else 0
    return arithmetic(op, (4 + scalings) * op.out.numel, 2 * op.out.numel)


def logit(op: OpRecord) -> Cost:
    """log(x / (1 − x)): three operations; clamping to [eps, 1 − eps] first adds two."""
    clamping = 2 if argument(op, "eps") is not None else 0
    return arithmetic(op, (3 + clamping) * op.out.numel, op.out.numel)


def equal(op: OpRecord) -> Cost:
    """Compares all elements of two tensors and returns a bool."""
    return arithmetic(op, op.args[0].numel)


def multigamma(op: OpRecord) -> Cost:
    """Σ over j < p of lgamma(x − j/2), and a constant: p subtractions, functions and additions in all."""
    p = op.args[1]
    return arithmetic(op, 3 * p * op.out.numel, p * op.out.numel)


def integer(op: OpRecord) -> Cost:
    """Work on integers, booleans or bits: no floating-point operation."""
    return Cost()


def special_function(op: OpRecord) -> Cost:
    """A function without a short closed form counts as one transcendental operation."""
    return arithmetic(op, op.out.numel, op.out.numel)


_SPECIAL = Rule("pointwise", special_function)
_NONE = Rule("pointwise", integer, "integer and boolean work, or bits alone")

RULES: Mapping[OpKey, Rule] = {
    **{key: per_element(key) for key in TABLE},
    aten.conj_physical: Rule("pointwise", conjugate),
    aten._conj_physical: Rule("pointwise", conjugate),
    aten.pow: Rule("pointwise", power),
    aten.clamp: Rule("pointwise", clamp),
    aten.gelu: Rule("pointwise", gelu),
    aten.elu: Rule("pointwise", elu),
    aten.softplus: Rule("pointwise", softplus),
    aten.logit: Rule("pointwise", logit),
    aten.equal: Rule("pointwise", equal),
    aten.mvlgamma: Rule("pointwise", multigamma),
    aten.frexp: _NONE,
    aten.nextafter: _NONE,
    aten.bitwise_and: _NONE,
    aten.bitwise_or: _NONE,
    aten.bitwise_xor: _NONE,
    aten.bitwise_not: _NONE,
    aten.bitwise_left_shift: _NONE,
    aten.bitwise_right_shift: _NONE,
    aten.__ilshift__: _NONE,
    aten.__irshift__: _NONE,
    aten.gcd: _NONE,
    aten.lcm: _NONE,
    aten.erfinv: _SPECIAL,
    aten._standard_gamma_grad: _SPECIAL,
    aten._dirichlet_grad: _SPECIAL,
    aten.digamma: _SPECIAL,
    aten.polygamma: _SPECIAL,
    aten.i0: _SPECIAL,
    aten.igamma: _SPECIAL,
    aten.igammac: _SPECIAL,
    aten.special_airy_ai: _SPECIAL,
    aten.special_bessel_j0: _SPECIAL,
    aten.special_bessel_j1: _SPECIAL,
    aten.special_bessel_y0: _SPECIAL,
    aten.special_bessel_y1: _SPECIAL,
    aten.special_chebyshev_polynomial_t: _SPECIAL,
    aten.special_chebyshev_polynomial_u: _SPECIAL,
    aten.special_chebyshev_polynomial_v: _SPECIAL,
    aten.special_chebyshev_polynomial_w: _SPECIAL,
    aten.special_erfcx: _SPECIAL,
    aten.special_hermite_polynomial_h: _SPECIAL,
    aten.special_hermite_polynomial_he: _SPECIAL,
    aten.special_i0e: _SPECIAL,
    aten.special_i1: _SPECIAL,
    aten.special_i1e: _SPECIAL,
    aten.special_laguerre_polynomial_l: _SPECIAL,
    aten.special_legendre_polynomial_p: _SPECIAL,
    aten.special_log_ndtr: _SPECIAL,
    aten.special_modified_bessel_i0: _SPECIAL,
    aten.special_modified_bessel_i1: _SPECIAL,
    aten.special_modified_bessel_k0: _SPECIAL,
    aten.special_modified_bessel_k1: _SPECIAL,
    aten.special_ndtri: _SPECIAL,
    aten.special_scaled_modified_bessel_k0: _SPECIAL,
    aten.special_scaled_modified_bessel_k1: _SPECIAL,
    aten.special_spherical_bessel_j0: _SPECIAL,
    aten.special_zeta: _SPECIAL,
}
