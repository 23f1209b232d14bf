"""The whole table of rules: nothing of PyTorch's core is missing, everything in it is run once, nothing is odd."""

import re

import pytest
import torch
from recording import described, record

from fxcost import Cost
from fxcost.errors import DuplicateRuleError, RuleError
from fxcost.records.recording import OpRecord, TensorSpec
from fxcost.rules import BUILT_IN, default_registry, user
from fxcost.rules.common import optional
from fxcost.rules.late import LATE_RULES
from fxcost.rules.pointwise import TABLE
from fxcost.rules.pricing import cost_operation
from fxcost.rules.registry import Rule, merge
from tests.rules.backward_examples import BACKWARD
from tests.rules.examples import CALLS, FOREIGN

aten = torch.ops.aten
FAMILIES = {
    *("matmul", "convolution", "attention", "recurrent", "normalization", "pointwise", "reduction", "pooling"),
    *("indexing", "movement", "random", "fft", "linalg", "sorting", "interpolation", "loss", "vision", "free"),
    "communication",
}


def aten_overloads():
    """Every operator of namespace aten that Python can call."""
    for schema in torch._C._jit_get_all_schemas():
        if schema.name.startswith("aten::"):
            packet = getattr(aten, schema.name.removeprefix("aten::"), None)
            op = getattr(packet, schema.overload_name or "default", None)
            if isinstance(op, torch._ops.OpOverload):
                yield op


CORE = [op for op in aten_overloads() if torch.Tag.core in op.tags and "backward" not in str(op)]


def test_the_core_operators_are_found():
    """PyTorch tags some two hundred operators as core; should it stop doing so, this test wants to know."""
    assert len(CORE) > 170


@pytest.mark.parametrize("op", CORE, ids=str)
def test_every_core_operator_is_costed_or_known_free(op):
    """Core operators and their in-place and out= variants have a rule; free ones say why."""
    variants = [op, *(getattr(op.overloadpacket, o) for o in op.overloadpacket.overloads() if "out" in o)]
    in_place = getattr(aten, f"{op.overloadpacket.__name__}_", None)
    variants += [getattr(in_place, o) for o in in_place.overloads()] if in_place is not None else []
    for variant in variants:
        rule = BUILT_IN.find(variant)
        assert rule is not None, variant
        assert rule.function is not None or rule.reason


def examples():
    """Records of all examples: of the tables' calls, and one of every operator in the pointwise table."""
    records = [op for call, *args in CALLS for op in record(call, *args)]
    records += [described(op, *args, outputs=outputs) for op, args, outputs in FOREIGN]
    records += [described(op, *args, outputs=outputs) for op, args, outputs in BACKWARD]
    for key, (_, _, expression) in TABLE.items():
        op = key if isinstance(key, torch._ops.OpOverload) else getattr(key, key.overloads()[0])
        operands = [torch.zeros(2, 3) for name in "xyz" if re.search(rf"\b{name}\b", expression)]
        operands += [1.0] * (len(op._schema.arguments) - len(operands))
        records.append(described(op, *operands[: len(op._schema.arguments)], outputs=torch.zeros(2, 3)))
    return records


def test_every_rule_runs_and_counts_in_whole_numbers():
    """No rule is only written: each is run by an example, and every count is an int that is not negative."""
    ran = set()
    for op in examples():
        priced = cost_operation(op, BUILT_IN)
        rule = BUILT_IN.find(op.op)
        assert rule is not None, f"{op.op} has no rule"
        ran.add(rule.function)
        cost = priced.cost
        counts = [getattr(cost, name) for name in Cost.__dataclass_fields__]
        assert all(type(count) is int and count >= 0 for count in counts), (op.op, cost)
        assert cost.transcendentals <= cost.other_flops
        assert cost.zero_accumulators <= cost.macs or cost.macs == 0
    missing = {str(key) for key, rule in BUILT_IN.rules.items() if rule.function and rule.function not in ran}
    higher_order = {"flex_attention", "flex_attention_backward"}  # test_attention and test_flex have them
    assert missing - higher_order == set()


def test_families_and_reasons():
    """Every rule stands in a known family; a rule without arithmetic says why."""
    for key, rule in {**BUILT_IN.rules, **LATE_RULES}.items():
        assert rule.family in FAMILIES, key
        assert (rule.function is None) == (rule.family == "free")
        assert rule.reason or rule.family not in ("free", "movement"), key


def test_two_rules_for_one_operator_are_refused():
    """Families may not overlap."""
    with pytest.raises(DuplicateRuleError, match=r"aten.mm.*'a'.*'b'"):
        merge({aten.mm: Rule("a", None, "")}, {aten.mm: Rule("b", None, "")})


def test_a_rule_needs_an_operator():
    """Names are no keys."""
    with pytest.raises(RuleError, match=r"'mm'.*no operator"):
        merge({"mm": Rule("a", None, "")})


@pytest.fixture
def user_rules():
    """Whatever a test registers is forgotten again."""
    before = dict(user._user_rules)
    yield
    user._user_rules.clear()
    user._user_rules.update(before)


def test_rules_of_users(user_rules):
    """A registered rule is found at once; a second one for the operator must say that it overrides."""
    library = torch.library.Library("test_coverage_users", "DEF")
    library.define("thrice(Tensor x) -> Tensor")
    op = torch.ops.test_coverage_users.thrice

    @user.rule(op, family="mine")
    def thrice(record):
        return Cost(other_flops=3 * record.out.numel)

    found = default_registry().find(op.default)
    assert (found.function, found.family) == (thrice, "mine")
    with pytest.raises(DuplicateRuleError, match="override=True"):
        user.rule(op)(thrice)
    with pytest.raises(DuplicateRuleError, match=r"aten.mm"):
        user.rule(aten.mm)(thrice)
    user.rule(aten.mm, override=True)(thrice)
    assert default_registry().find(aten.mm.default).function is thrice
    assert BUILT_IN.find(aten.mm.default).function is not thrice


def test_optional_operators_are_left_out():
    """An operator of another PyTorch version does no harm."""
    rule = Rule("matmul", None, "")
    assert optional("mm", rule) == {aten.mm: rule}
    assert optional("not_an_operator_of_any_version", rule) == optional("no_such_namespace::mm", rule) == {}


def test_pointwise_operators_without_a_rule_cost_one():
    """PyTorch's tag decides; integers count none."""
    spec = TensorSpec((2, 3), torch.float32)
    op = OpRecord(aten.special_shifted_chebyshev_polynomial_t.default, (spec, spec), (spec,))
    assert BUILT_IN.find(op.op) is BUILT_IN.pointwise
    assert cost_operation(op, BUILT_IN).cost.flops == 6
    whole = TensorSpec((2, 3), torch.int64)
    assert cost_operation(OpRecord(op.op, (whole, whole), (whole,)), BUILT_IN).cost.flops == 0


def test_formulas_take_symbolic_sizes():
    """Formulas use + − × // and max alone, so sizes may be symbols."""
    sympy = pytest.importorskip("sympy")
    from fxcost.rules import formulas

    b, m, k, n = sympy.symbols("b m k n", integer=True, positive=True)
    assert formulas.matmul_macs(b, m, k, n) == b * m * k * n
    assert formulas.conv_macs(b, m, k, 1, (3, 3), (n, n)) == 9 * b * k * m * n**2
    assert formulas.attention_macs(b, m, n, k, k) == 2 * b * m * n * k
    assert formulas.lstm_cell(b * n) == (22 * b * n, 5 * b * n)
    assert formulas.normalize(n, True, True) == (4 * n, 0)
