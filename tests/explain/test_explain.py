"""Explanations: their last number is the report's, and every step on the way is true."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hand_made import residual_net
from models import Lambda, Repeated, Residual
from recording import record
from torch import nn

import fxcost
from fxcost.errors import RuleError, UnknownNameError
from fxcost.explain.derivation import Traced, derive
from fxcost.explain.explain import QUANTITIES, explain_operation
from fxcost.records.recording import TensorSpec
from fxcost.rules import default_registry
from fxcost.rules.pricing import cost_operation
from tests.rules.test_coverage import examples

SMALL = 64
"""No formula has a larger constant of its own: a larger one is a size whose origin was lost."""


def terms(term):
    """A term and all below it."""
    yield term
    for below in term.where:
        yield from terms(below)


def evaluated(text: str, names: dict[str, Any] | None = None) -> int:
    """The value of a formula as it is written."""
    python = re.sub(r"(?<=\d),(?=\d{3})", "", text).replace("·", "*").replace("^", "**")
    for name in sorted(names or {}, key=len, reverse=True):
        python = re.sub(rf"(?<![\w.\]]){re.escape(name)}(?![\w\[.′])", f"({names[name]})", python)
    return eval(python, {"bit_length": int.bit_length})


def sizes(op) -> dict[str, Any]:
    """What the names of an operator's arguments stand for: shapes, and numbers."""

    def plain(value: Any) -> Any:
        if isinstance(value, TensorSpec):
            return value.shape
        return tuple(map(plain, value)) if isinstance(value, (tuple, list)) else value

    schema = getattr(op.op, "_schema", None)
    names = [argument.name for argument in schema.arguments] if schema is not None else []
    known = {names[i] if i < len(names) else f"args[{i}]": plain(value) for i, value in enumerate(op.args)}
    outputs = tuple(plain(spec) for spec in op.outputs)
    there = [spec for spec in outputs if spec is not None]
    return {**known, "outputs": outputs, "output": there[0] if there else ()}


def check(op, priced) -> None:
    """Every number of an operator's cost is derived, and every step of every derivation is true."""
    explained = explain_operation(priced, 1, default_registry())
    cost = explained.cost
    assert {t.name: t.value for t in explained.terms} == {q: n for q in QUANTITIES if (n := getattr(cost, q))}
    known = sizes(op)
    for top in explained.terms:
        for term in terms(top):
            if term.numbers:
                names = {below.name: below.value for below in term.where}
                assert evaluated(term.numbers) == term.value, term
                assert evaluated(term.formula, names) == term.value, term
                assert len(names) == len(term.where)
                assert all(int(n.replace(",", "")) <= SMALL for n in re.findall(r"(?<![\w\[.])\d[\d,]*", term.formula))
            elif term.formula and not term.formula.endswith(".stored"):
                assert eval(term.formula, dict(known)) == term.value, term  # a size is where it says


EXAMPLES = examples()


@pytest.mark.parametrize("op", EXAMPLES, ids=lambda op: str(op.op))
def test_every_rule_is_explained(op):
    """For an example of each rule the derivations end in what the rule says, and no size comes from nowhere."""
    check(op, cost_operation(op, default_registry()))


class Zoo(nn.Module):
    """Something of everything that models do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.depthwise = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, groups=8)
        self.up = nn.ConvTranspose2d(8, 8, 2, stride=2)
        self.norms = nn.ModuleList([nn.BatchNorm2d(8), nn.GroupNorm(2, 8), nn.InstanceNorm2d(8)])
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.lstm, self.gru = nn.LSTM(8, 6, num_layers=2, bidirectional=True), nn.GRU(12, 8)
        self.embed, self.bag = nn.Embedding(9, 8), nn.EmbeddingBag(9, 8)
        self.head = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        x = F.gelu(self.depthwise(F.silu(self.conv(x))))
        x = F.max_pool2d(self.up(x), 2) + F.adaptive_avg_pool2d(self.up(x), 3).mean((2, 3), keepdim=True)
        for norm in self.norms:
            x = norm(x)
        x = F.interpolate(x, scale_factor=2.0, mode="bilinear")
        rows = x.flatten(2).transpose(1, 2)
        rows = rows + self.attention(rows, rows, rows)[0]
        rows = self.gru(self.lstm(rows)[0])[0]
        rows = torch.cat([rows, self.embed(ids)], 1).cumsum(1).sort(1).values
        picked = rows.topk(3, 1).values @ rows.transpose(1, 2)[:, :, :8]
        fourier = torch.fft.rfft(picked).abs()
        solved = torch.linalg.solve(torch.eye(8), picked[0, 0])
        return self.head(self.bag(ids)).log_softmax(-1).sum() + fourier.std() + solved.norm()


@pytest.fixture(scope="module")
def zoo() -> fxcost.Report:
    """A report on a zoo of operators."""
    return fxcost.analyze(Zoo(), [(2, 3, 9, 9), torch.ones(2, 4, dtype=torch.int64)])


def test_a_zoo(zoo):
    """Every node and every module of a model with all families of operators: all derivations hold."""
    families = {op.family for node in zoo.nodes for op in node.operations}
    assert len(families) >= 14
    for node in zoo.nodes:
        if node.name in zoo.modules:  # a module goes first, which may have been called more than once
            continue
        explained = zoo.explain(node.name)
        assert explained.cost == node.cost
        assert sum((op.cost * op.times for op in explained.operations), fxcost.Cost()) == node.cost
        for op in node.operations:
            check(op.record, op)


def test_modules_add_up(zoo):
    """A module's cost is that of its parts and of what it ran itself."""
    for name, module in zoo.modules.items():
        explained = zoo.explain(name)
        own = sum((op.cost * op.times for op in explained.operations), fxcost.Cost())
        assert own == module.own
        assert sum((part.cost for part in explained.parts), own) == module.cost == explained.cost


def test_a_convolution():
    """The formula with the names that it has in formulas/, the numbers, the source, and where each size is from."""
    report = fxcost.analyze(nn.Sequential(nn.Conv2d(6, 8, (3, 5), groups=2)), (4, 6, 10, 10))
    (operation,) = report.explain("0").operations
    macs = operation.terms[0]
    assert macs.value == report.macs == 4 * 8 * 8 * 6 * 3 * 3 * 5
    assert macs.formula == "n · c_out · out[0] · out[1] · (c_in // groups) · kernel[0] · kernel[1]"
    assert macs.numbers == "4 · 8 · 8 · 6 · (6 // 2) · 3 · 5"
    assert macs.function.name == "conv_macs"
    assert macs.function.file == "fxcost/rules/formulas/contraction.py"
    assert macs.function.source.startswith("definition in torch.nn.Conv2d")
    assert {t.name: t.formula for t in macs.where} == {
        "n": "input[0]",
        "c_out": "output[1]",
        "out[0]": "output[2]",
        "out[1]": "output[3]",
        "c_in": "input[1]",
        "groups": "groups",
        "kernel[0]": "weight[2]",
        "kernel[1]": "weight[3]",
    }
    assert operation.rule.name == "convolution"
    assert operation.rule.summary.startswith("input (n, c_in, *spatial)")


def test_what_is_printed():
    """The text has all of it: the numbers of the module, rule, arguments, formula, numbers, source."""
    text = str(fxcost.analyze(nn.Sequential(nn.Conv2d(6, 8, 3), nn.SiLU()), (4, 6, 10, 10)).explain("0"))
    for line in (
        "module 0: Conv2d",
        "float32[4,6,10,10] → float32[4,8,8,8]",
        "FLOPs  221,184 = 2 · 110,592 MACs + 0 others",
        "aten.convolution.default: family convolution",
        "  MACs = 110,592",
        "    = n · c_out · out[0] · out[1] · (c_in // groups) · kernel[0] · kernel[1]",
        "    = 4 · 8 · 8 · 8 · (6 // 1) · 3 · 3",
        "       Source: definition in torch.nn.Conv2d; padded positions count as dense.",
        "  bytes written = output[0] · output[1] · output[2] · output[3] · 4 = 4 · 8 · 8 · 8 · 4 = 8,192",
    ):
        assert line in text.splitlines()
    assert re.search(r"rule convolution, fxcost/rules/conv\.py:\d+", text)
    assert max(map(len, text.splitlines())) <= 140


def test_pointwise_operators_show_their_expression():
    """What a table counts for each element is in its expression."""
    report = fxcost.analyze(nn.SiLU(), (4, 6))
    (operation,) = report.explain().operations
    assert operation.expression == "x * (1 / (1 + exp(-x)))"
    assert operation.terms[0].formula == "5 · output.numel"
    assert "for each element: x * (1 / (1 + exp(-x)))" in str(report.explain())


def test_alike_operations_are_explained_once():
    """Three runs with the same shapes are one operation, three times over."""
    report = fxcost.analyze(Repeated(nn.Linear(4, 4), 3), (2, 4))
    costly = [op for op in report.explain("body").operations if op.cost.macs]
    assert [op.times for op in costly] == [3]
    assert "3 times like this" in str(report.explain("body"))


def test_free_and_uncosted_operators():
    """A free operator says why; one without a rule says that only traffic is counted."""
    text = str(fxcost.analyze(lambda x: x.view(4), (2, 2)).explain("view"))
    assert "only changes how a tensor is viewed" in text
    library = torch.library.Library("explain_test", "DEF")
    library.define("mystery(Tensor x) -> Tensor")
    library.impl("mystery", lambda x: torch.empty_like(x), "Meta")
    report = fxcost.analyze(lambda x: torch.ops.explain_test.mystery(x), (2, 2))
    (node,) = (node for node in report.nodes if node.operations)
    assert "no rule: only its traffic is counted" in str(report.explain(node.name))


def test_a_rule_of_the_users():
    """A rule from outside is explained like ours; one that was given to one analysis must be given again."""
    library = torch.library.Library("explain_rules", "DEF")
    library.define("pairs(Tensor x) -> Tensor")
    library.impl("pairs", lambda x: x.new_empty(x.shape[0], x.shape[0]), "Meta")
    op = torch.ops.explain_rules.pairs

    def pairs(record):
        """Every row with every other."""
        n, d = record.args[0].shape
        return fxcost.Cost(macs=n * (n - 1) // 2 * d)

    report = fxcost.analyze(lambda x: op(x), (5, 3), rules={op: pairs})
    (node,) = (node for node in report.nodes if node.operations)
    with pytest.raises(RuleError, match="give explain"):
        report.explain(node.name)
    (operation,) = report.explain(node.name, rules={op: pairs}).operations
    assert operation.rule.summary == "Every row with every other."
    assert operation.terms[0].formula == "((n · (n - 1)) // 2) · d"
    assert operation.terms[0].value == 5 * 4 // 2 * 3


def test_a_rule_that_insists_on_plain_numbers():
    """Its numbers are given without a derivation."""
    library = torch.library.Library("explain_plain", "DEF")
    library.define("odd(Tensor x) -> Tensor")
    library.impl("odd", lambda x: torch.empty_like(x), "Meta")
    op = torch.ops.explain_plain.odd

    def odd(record):
        assert all(type(n) is int for n in record.args[0].shape)
        return fxcost.Cost(other_flops=7)

    report = fxcost.analyze(lambda x: op(x), (5, 3), rules={op: odd})
    (node,) = (node for node in report.nodes if node.operations)
    assert report.explain(node.name, rules={op: odd}).operations[0].terms[0].value == 7


def test_an_unknown_name():
    """The nearest names, as `cost_of` has them."""
    with pytest.raises(UnknownNameError, match=r"blocks\.0\.conv"):
        residual_net().explain("blocks.0.cnov")


def test_as_plain_data(zoo):
    """JSON, with a version, and all terms below their operations."""
    data = zoo.explain("conv").to_dict()
    assert json.loads(json.dumps(data)) == data
    assert data["schema"] == "fxcost.explanation/1"
    assert data["operations"][0]["terms"][0]["name"] == "macs"
    assert data["operations"][0]["terms"][0]["where"][0]["formula"] == "input[0]"


def test_reports_that_were_read_back(zoo):
    """A report from JSON explains itself as the fresh one does."""
    again = fxcost.Report.from_json(zoo.to_json())
    for name in ("conv", "lstm", "attention", ""):
        assert str(again.explain(name)) == str(zoo.explain(name))


def test_shared_modules_and_functions():
    """By any of a module's names; nodes that call a function."""
    shared = nn.Linear(4, 4)
    report = fxcost.analyze(nn.Sequential(shared, Residual(shared, in_place=False)), (2, 4))
    assert report.explain("1.body").cost == report.cost_of("0")
    node = next(node for node in report.nodes if "add" in node.name)
    assert report.explain(node.name).operations[0].expression == "x + y"


def test_numbers_remember():
    """A traced int is the int that it was, in every operation; what has no effect is not remembered."""
    a, b = Traced(7, "a"), Traced(3, "b")
    for made in (a + b, a - b, a * b, a // b, a % b, a**b, -a, 2 + a, 2 - a, 2 * a, 20 // a, 20 % a, 2**a):
        assert evaluated(derive("x", made).numbers) == made
        assert evaluated(derive("x", made).formula, {"a": 7, "b": 3}) == made
    assert a + 0 is a
    assert 1 * a is a
    assert a // 1 is a
    assert a - 0 is a
    assert type(0 * a) is int
    assert (a == 7, a < b, hash(a) == hash(7), [a] * 1, f"{a}") == (True, False, True, [7], "7")
    assert derive("x", (a + b) * a - (b - a) // -b).formula == "(a + b) · a - (b - a) // (-b)"
    assert derive("x", 4 * a * a * a * a * a).formula == "4 · a^5"
    assert derive("x", (a + 1).bit_length()).formula == "bit_length(a + 1)"
    assert derive("x", 5).formula == ""


def test_long_sums_are_shortened():
    """A sum of a thousand sizes leaves its middle out, and is as large as it is."""
    total = sum(Traced(n, f"t{n}") for n in range(1, 1001))
    term = derive("x", total)
    assert term.value == 500_500
    assert term.formula.startswith("t1 + t2 + ")
    assert term.formula.endswith(" + … + t1000")
    (op,) = record(torch.cat, [torch.zeros(2, n) for n in range(1, 400)], 1)
    explained = explain_operation(cost_operation(op, default_registry()), 1, default_registry())
    assert {t.name: t.value for t in explained.terms}["bytes_written"] == 2 * 4 * 399 * 200


def test_on_the_command_line(tmp_path, capsys):
    """A module, a node, the model itself; JSON; a mistyped name."""
    from fxcost import cli

    (tmp_path / "net.py").write_text(
        "import torch\ndef net():\n    return torch.nn.Sequential(torch.nn.Linear(4, 8))\n"
    )
    model = ["explain", f"{tmp_path}/net.py:net", "--input", "2,4"]
    assert cli.main([*model, "0"]) == 0
    assert "= m · k · n" in capsys.readouterr().out
    assert cli.main(model) == 0
    assert "is the sum of" in capsys.readouterr().out
    assert cli.main([*model, "0", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["cost"]["macs"] == 64
    assert cli.main([*model, "head"]) == 2
    assert "no module or node named 'head'" in capsys.readouterr().err


def test_functions_of_the_model():
    """A model that is one function: its nodes are explained, and so is the whole."""
    report = fxcost.analyze(Lambda(lambda self, x: (x @ x).relu().sum()), (5, 5))
    assert report.explain().cost == report.cost
    assert {str(op.record.op).split(".")[1] for op in report.explain().operations} == {"mm", "relu", "sum"}
