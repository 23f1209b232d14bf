"""Every expression of the table is evaluated on counting numbers: its value is PyTorch's, its count the table's."""

import math
import re

import pytest
import torch
from hypothesis import strategies as st
from oracle import FUNCTIONS, counting, exp, filled, log, prove, tensor
from oracle import numbers as counted
from recording import price, price_of
from strategies import broadcastable, drawn, values

from fxcost.records.cost import Cost
from fxcost.rules.loss import QUANTIZE
from fxcost.rules.loss import TABLE as LOSSES
from fxcost.rules.pointwise import COMPLEX, TABLE

aten = torch.ops.aten
real = st.floats(-3, 3, allow_nan=False).filter(lambda v: abs(v) > 1e-3)

CALLS = {
    aten.threshold: lambda x: aten.threshold(x, 0.5, 0.25),
    aten.celu: lambda x: aten.celu(x, 1.5),
    aten.glu: lambda x, y: aten.glu(torch.stack([x, y]), 0).reshape(()),
    aten.log_sigmoid_forward: lambda x: aten.log_sigmoid_forward(x)[0],
    aten.smooth_l1_loss: lambda x, y: aten.smooth_l1_loss(x, y, 0),
    aten.huber_loss: lambda x, y: aten.huber_loss(x, y, 0),
    aten.mse_loss: lambda x, y: aten.mse_loss(x, y, 0),
    aten.soft_margin_loss: lambda x, y: aten.soft_margin_loss(x, y, 0),
    aten.binary_cross_entropy: lambda x, y: aten.binary_cross_entropy(x, y, None, 0),
    aten.binary_cross_entropy_with_logits: lambda x, y: aten.binary_cross_entropy_with_logits(x, y, None, None, 0),
    aten._prelu_kernel: lambda x, y: aten._prelu_kernel(x.reshape(1), y.reshape(1)).reshape(()),
}
"""How to call the operators that take more than the tensors named in their expression."""

UNIT_INTERVAL = {aten.binary_cross_entropy, aten.binary_cross_entropy_with_logits}


def evaluate(expression, **variables):
    """The expression's value and what it counted."""
    with counting() as tally:
        result = eval(expression, {"bool": bool, **FUNCTIONS}, {k: counted(v) for k, v in variables.items()})
    return result, tally.cost


def name_of(key):
    return str(key)


@pytest.mark.parametrize("key", [*TABLE, *LOSSES], ids=name_of)
@drawn(real, real, real, examples=12)
def test_an_expression_is_its_operator_and_its_count_the_entry(key, x, y, z):
    """Value and count of each table entry."""
    operations, transcendental, expression = TABLE.get(key) or LOSSES[key]
    if key in UNIT_INTERVAL:
        x, y = (1 / (1 + math.exp(-v)) for v in (x, y))
    operands = {
        n: torch.tensor(v, dtype=torch.float64)
        for n, v in {"x": x, "y": y, "z": z}.items()
        if re.search(rf"\b{n}\b", expression)
    }
    mine, cost = evaluate(expression, **operands)
    assert (cost.other_flops, cost.transcendentals) == (operations, transcendental)
    theirs = CALLS.get(key, key)(*operands.values())
    if theirs.is_complex():
        mine, theirs = torch.stack([tensor(m) for m in mine]), torch.view_as_real(theirs)
    else:
        mine, theirs = torch.tensor(float(mine)), theirs.double()
    if not (theirs.isnan().any() or mine.isnan().any()):  # outside of the domain
        torch.testing.assert_close(mine.double(), theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("key", TABLE, ids=name_of)
def test_rules_count_the_entry_for_each_element(key):
    """Twelve elements cost twelve entries; so does the in-place variant where there is one."""
    operations, transcendental, expression = TABLE[key]
    operands = [values(3, 4, seed=i) for i, n in enumerate("xyz") if re.search(rf"\b{n}\b", expression)]
    call = {aten.glu: lambda a, b: aten.glu(torch.cat([a, b]), 0), aten._prelu_kernel: aten._prelu_kernel}.get(
        key, CALLS.get(key, key)
    )
    cost = price(call, *operands)
    assert (cost.other_flops, cost.transcendentals) == (12 * operations, 12 * transcendental)


@drawn(broadcastable(2))
def test_operands_broadcast(shapes):
    """The result's elements count, also if there are none."""
    a, b = values(*shapes[0]), values(*shapes[1], seed=1)
    expected = torch.broadcast_shapes(*shapes)
    assert price(torch.mul, a, b).other_flops == math.prod(expected)


@pytest.mark.parametrize("name", ["add_", "mul_", "relu_", "sigmoid_", "div_", "sub_"])
def test_in_place_variants_cost_the_same(name):
    """`x.add_(y)` is an addition, and writes x."""
    x, y = values(3, 4), values(3, 4, seed=1)
    args = (x, y) if name in ("add_", "mul_", "div_", "sub_") else (x,)
    here = price(getattr(torch.Tensor, name), *args)
    there = price(getattr(torch, name[:-1]), *args)
    assert here == there


@drawn(real, real, real, real, examples=10)
@pytest.mark.parametrize("key", COMPLEX, ids=name_of)
def test_complex_expressions(key, a, b, c, d):
    """Complex arithmetic from real arithmetic."""
    operations, transcendental, expression = COMPLEX[key]
    parts = {n: torch.tensor(v, dtype=torch.float64) for n, v in zip("abcd", (a, b, c, d), strict=True)}
    mine, cost = evaluate(expression, **parts)
    assert (cost.other_flops, cost.transcendentals) == (operations, transcendental)
    x, y = torch.complex(parts["a"], parts["b"]), torch.complex(parts["c"], parts["d"])
    args = (x, y) if re.search(r"\bc\b", expression) else (x,)
    theirs = key(*args)
    theirs = torch.view_as_real(theirs.resolve_conj()) if theirs.is_complex() else theirs
    mine = torch.stack([tensor(m) for m in mine]) if isinstance(mine, tuple) else tensor(mine)
    torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-6)
    assert price(key, *(v.expand(5) for v in args)).other_flops == 5 * operations


def test_a_real_factor_of_a_complex_number_is_two_products():
    """Complex times real scales both parts; so does a complex number divided by a real one."""
    z, r = torch.zeros(5, dtype=torch.complex64), torch.zeros(5)
    assert [price(*c).other_flops for c in ((torch.mul, z, r), (torch.mul, z, 2.0), (torch.div, z, r))] == [10] * 3


@pytest.mark.parametrize("call", [torch.add, torch.mul, torch.eq, torch.maximum, torch.bitwise_and, torch.remainder])
def test_integer_work_is_not_floating_point(call):
    """Integer operands and result: no FLOPs."""
    a = torch.ones(4, dtype=torch.int64)
    cost = price(call, a, a)
    assert (cost.flops, cost.bytes_moved > 0) == (0, True)


def test_division_of_integers_is_floating_point():
    """int / int is a float: one operation an element."""
    a = torch.ones(4, dtype=torch.int64)
    assert price(torch.div, a, a).flops == 4


def elementwise(function):
    """A reference algorithm that applies a function to each element."""

    def run(x, *rest):
        out = filled(x.shape)
        for i in range(x.size):
            out.flat[i] = function(x.flat[i], *(r.flat[i] if hasattr(r, "flat") else r for r in rest))
        return out

    return run


def power_of(exponent):
    def run(x):
        return {2: lambda: x * x, 3: lambda: x * x * x, -1: lambda: 1 / x, -2: lambda: 1 / (x * x)}[exponent]()

    return run


where, maximum, minimum, tanh, erf, floor, round_ = (
    FUNCTIONS[n] for n in ("where", "max", "min", "tanh", "erf", "floor", "round")
)
F = torch.nn.functional
PARAMETRIZED = {
    "pow 2": (lambda x: x**2, power_of(2)),
    "pow 3": (lambda x: x**3, power_of(3)),
    "pow -1": (lambda x: torch.pow(x, -1), power_of(-1)),
    "pow -2": (lambda x: torch.pow(x, -2), power_of(-2)),
    "pow 0.5": (lambda x: x.abs() ** 0.5, lambda x: FUNCTIONS["sqrt"](abs(x))),
    "pow -0.5": (lambda x: x.abs() ** -0.5, lambda x: FUNCTIONS["rsqrt"](abs(x))),
    "pow 1.7": (lambda x: x.abs() ** 1.7, lambda x: FUNCTIONS["pow"](abs(x), 1.7)),
    "2 ** x": (lambda x: 2**x, lambda x: FUNCTIONS["pow"](2, x)),
    "clamp both": (lambda x: x.clamp(-1, 1), lambda x: minimum(maximum(x, -1), 1)),
    "clamp one": (lambda x: x.clamp(min=0), lambda x: maximum(x, 0)),
    "gelu": (F.gelu, lambda x: 0.5 * x * (1 + erf(x * math.sqrt(0.5)))),
    "gelu tanh": (
        lambda x: F.gelu(x, approximate="tanh"),
        lambda x: 0.5 * x * (1 + tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * (x * x * x)))),
    ),
    "elu": (F.elu, lambda x: where(x > 0, x, exp(x) - 1)),
    "elu 1.5": (lambda x: F.elu(x, 1.5), lambda x: where(x > 0, x, 1.5 * (exp(x) - 1))),
    "selu": (
        F.selu,
        lambda x: 1.0507009873554805 * where(x > 0, x, 1.6732632423543772 * (exp(x) - 1)),
    ),
    "softplus": (F.softplus, lambda x: where(x > 20, x, log(1 + exp(x)))),
    "softplus 2": (lambda x: F.softplus(x, 2), lambda x: where((t := 2 * x) > 20, x, log(1 + exp(t)) / 2)),
    "logit": (lambda x: torch.logit(torch.sigmoid(x)), lambda x: log((s := 1 / (1 + exp(-x))) / (1 - s))),
    "logit eps": (
        lambda x: torch.logit(x, 0.1),
        lambda x: log((s := minimum(maximum(x, 0.1), 0.9)) / (1 - s)),
    ),
    "add alpha": (lambda x: torch.add(x, x, alpha=3), lambda x: x + 3 * x),
    "rsub alpha": (lambda x: torch.rsub(x, 1.0, alpha=3), lambda x: 1.0 - 3 * x),
    "addcmul value": (lambda x: torch.addcmul(x, x, x, value=2), lambda x: x + 2 * (x * x)),
    "addcdiv value": (lambda x: torch.addcdiv(x, x, x, value=2), lambda x: x + 2 * (x / x)),
    "div floor": (lambda x: torch.div(x, 0.3, rounding_mode="floor"), lambda x: floor(x / 0.3)),
    "div_ floor": (lambda x: x.clone().div_(0.3, rounding_mode="floor"), lambda x: floor(x / 0.3)),
    "round 2": (lambda x: torch.round(x, decimals=2), lambda x: round_(x * 100) / 100),
    "lerp scalar": (lambda x: torch.lerp(x, -x, 0.3), lambda x: x + 0.3 * (-x - x)),
}


@pytest.mark.parametrize("name", PARAMETRIZED)
def test_operators_whose_numbers_change_the_work(name):
    """Values and counts for each way of calling them."""
    call, reference = PARAMETRIZED[name]
    prove(call, elementwise(reference), values(3, 4))


def test_special_functions_are_one_transcendental():
    """No closed form: one operation."""
    for call in (torch.special.erfinv, torch.digamma, torch.special.i0, torch.special.bessel_j0):
        cost = price(call, values(7))
        assert (cost.flops, cost.transcendentals) == (7, 7)


def test_multigamma():
    """p subtractions, log-gammas and additions."""
    cost = price(lambda x: torch.mvlgamma(x, 3), values(5, low=3, high=4))
    assert (cost.flops, cost.transcendentals) == (45, 15)


def test_equal_compares_all():
    """`torch.equal` returns a bool and still reads everything."""
    a = values(7)
    assert price_of(aten.equal.default, a, a) == Cost(other_flops=7, bytes_read=56)
    assert price_of(aten.equal.default, a, a.clone()) == Cost(other_flops=7, bytes_read=112)


@pytest.mark.parametrize("key", LOSSES, ids=name_of)
@pytest.mark.parametrize(("reduction", "more"), [(0, 0), (1, 12), (2, 11)])
def test_losses_count_their_entry_and_the_reduction(key, reduction, more):
    """Twelve losses: none, eleven additions and a division, or eleven additions."""
    middle = (None,) if key is aten.binary_cross_entropy else (None, None)
    between = middle if key in UNIT_INTERVAL else ()
    cost = price(lambda x, y: key(x, y, *between, reduction), values(3, 4), values(3, 4, seed=1))
    assert cost.other_flops == 12 * LOSSES[key][0] + more
    assert cost.transcendentals == 12 * LOSSES[key][1]


@pytest.mark.parametrize("key", QUANTIZE, ids=name_of)
@drawn(real, examples=5)
def test_quantizing_expressions(key, x):
    """The count of each entry; the value of fake quantization."""
    operations, _, expression = QUANTIZE[key]
    names = {"x": x, "s": 0.25, "z": 3.0, "lo": 0.0, "hi": 15.0}
    mine, cost = evaluate(expression, **{n: torch.tensor(v, dtype=torch.float64) for n, v in names.items()})
    assert cost.other_flops == operations
    theirs = torch.fake_quantize_per_tensor_affine(torch.tensor(x), 0.25, 3, 0, 15)
    levels = theirs.double() / 0.25 + (3 if operations == 5 else 0)
    torch.testing.assert_close(tensor(mine), levels if operations == 5 else theirs.double())
