"""Formulas of whole models are what fresh analyses say, in every number and module, all over the stated domain."""

from __future__ import annotations

import json
import random

import pytest
import sympy
import torch
import torchvision
from torch import nn
from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM

import fxcost
from fxcost import Dim
from fxcost.formula.formula import Formula
from fxcost.report import Report
from tests.formula.fresh import agree

IDS = {"input_ids": fxcost.spec("B", "S", dtype="int64")}
IMAGE = ("B", 3, "H", "W")


def meta(make: type[nn.Module], *args: object, **options: object) -> nn.Module:
    with torch.device("meta"):
        return make(*args, **options).eval()


def bert(layers: int = 1) -> nn.Module:
    config = BertConfig(hidden_size=32, num_hidden_layers=layers, num_attention_heads=4, intermediate_size=64)
    return meta(BertModel, config)


def llama() -> nn.Module:
    config = LlamaConfig(
        hidden_size=32,
        intermediate_size=88,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=100,
        use_cache=False,
    )
    return meta(LlamaForCausalLM, config)


def encoder() -> nn.Module:
    """A small convolutional network with strides 2 and 2, a pool and a classifier."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1, groups=4),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 10),
    ).eval()


def test_bert_in_batch_and_sequence() -> None:
    """Position tables end at 512, one sentence alone is another case, and both ends are named with the user's line."""
    model = bert(2)
    report = fxcost.analyze(model, IDS, dims={"B": Dim(1, 64), "S": Dim(8, 4096)})
    domain = report.formula.domain
    assert (domain["S"].low, domain["S"].high, domain["B"].low, domain["B"].high) == (8, 512, 2, 64)
    above, below = domain["S"].above, domain["B"].below
    assert above is not None
    assert below is not None
    assert above.size == 513
    assert "modeling_bert.py:" in above.text
    assert below.size == 1
    assert below.module.startswith("embeddings")
    assert domain.analyses <= 16 + 1  # one that failed at 4096 told of the 512
    agree(report, model, IDS)


def test_llama_in_batch_and_sequence() -> None:
    """Grouped attention, rotary embeddings: as many analyses as the issue allows, and exact."""
    model = llama()
    report = fxcost.analyze(model, IDS, dims={"B": Dim(2, 64), "S": Dim(8, 4096)})
    assert report.formula.domain.analyses <= 16
    agree(report, model, IDS)
    b, s = sympy.symbols("B S", integer=True, positive=True)
    d, ff, kv, layers, vocab = 32, 88, 16, 2, 100
    linear = layers * (2 * d * d + 2 * d * kv + 3 * d * ff) + d * vocab
    rotary = 8 // 2  # positions × frequencies are a product as well
    rest = sympy.expand(report.formula.macs - (linear * b * s + layers * 2 * d * b * s**2))
    assert rest in (0, rotary * s, rotary * b * s)


def test_an_image_network_in_batch_height_and_width() -> None:
    """Strides make residue classes of height and width, the line says which size has no formula between."""
    model = encoder()
    report = fxcost.analyze(model, IMAGE, dims={"B": Dim(1, 64), "H": Dim(16, 512), "W": Dim(16, 256)})
    domain = report.formula.domain
    assert {(r.step, r.residue) for r in (domain["H"], domain["W"])} == {(4, 0)}
    assert domain["H"].between is not None
    assert domain.analyses <= 41
    agree(report, model, IMAGE)
    assert str(report.formula.params) == str(report.params)


def test_resnet18_in_batch_height_and_width() -> None:
    """Multiples of 32, within 41 analyses."""
    model = meta(torchvision.models.resnet18)
    report = fxcost.analyze(model, IMAGE, dims={"B": Dim(1, 64), "H": Dim(32, 512), "W": Dim(32, 512)})
    assert [(report.formula.domain[n].low, report.formula.domain[n].step) for n in "HW"] == [(32, 32), (32, 32)]
    assert report.formula.domain.analyses <= 41
    agree(report, model, IMAGE, points=2)


def test_a_training_step() -> None:
    """Backward, what is saved, and the peak of the step, by the same means."""
    model = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 4))
    inputs = ("B", "S", 16)
    report = fxcost.analyze(model, inputs, dims={"B": Dim(1, 64), "S": Dim(8, 512)}, training=True)
    agree(report, model, inputs, training=True)
    step = report.formula.training
    b, s = sympy.symbols("B S", integer=True, positive=True)
    forward = (16 * 32 + 32 * 4) * b * s
    assert step.forward.macs == forward
    assert step.backward.macs == forward + 32 * 4 * b * s  # the first layer needs no gradient of its input
    assert step.total.macs == step.forward.macs + step.backward.macs
    assert step.saved_bytes == report.formula.saved_bytes == 4 * (32 + 32) * b * s
    assert step.optimizer_bytes == 8 * report.params
    assert step.gradient_bytes == 4 * report.params


def test_a_convolutional_training_step() -> None:
    """Batch statistics and saved masks as well."""
    model = encoder().train()
    dims = {"B": Dim(2, 16), "H": Dim(16, 64), "W": Dim(16, 64)}
    report = fxcost.analyze(model, IMAGE, dims=dims, training=True, optimizer="sgd")
    agree(report, model, IMAGE, points=3, training=True, optimizer="sgd")


def test_bert_trains() -> None:
    """A training step of a transformer, in batch and sequence."""
    model = bert().train()
    report = fxcost.analyze(model, IDS, dims={"B": Dim(2, 16), "S": Dim(8, 256)}, training=True)
    agree(report, model, IDS, points=2, training=True)


def small() -> Report:
    return fxcost.analyze(
        nn.Sequential(nn.Linear(3, 4, bias=False), nn.ReLU(), nn.Linear(4, 2)),
        ("B", "S", 3),
        dims={"B": Dim(1, 64), "S": Dim(8, 512)},
    )


def test_sums_of_modules_are_the_total_as_polynomials() -> None:
    """Operators, families and modules add up to the whole, as formulas."""
    formula = fxcost.analyze(llama(), IDS, dims={"B": Dim(2, 64), "S": Dim(8, 512)}).formula
    for number in ("macs", "flops", "bytes_read", "bytes_written", "activations"):
        total = formula.expression(number)
        assert sympy.expand(sum(getattr(p, number) for p in formula.by_operator().values()) - total) == 0
        assert sympy.expand(sum(getattr(p, number) for p in formula.by_family().values()) - total) == 0
        assert formula.of("").polynomials(number) == formula.polynomials(number)
    layers = [formula.of(f"model.layers.{i}").macs for i in (0, 1)]
    assert layers[0] == layers[1]
    assert formula.of("model.layers").macs == 2 * layers[0]


def test_expressions_functions_and_source_agree() -> None:
    """sympy, lambdify, Python source and `at` give one number."""
    formula = small().formula
    space: dict[str, object] = {}
    exec(formula.to_python(("macs", "peak_bytes")), space)
    costs = space["costs"]
    assert callable(costs)
    for b, s in ((1, 8), (7, 100), (64, 512)):
        point = formula.at(B=b, S=s)
        assert formula.lambdify("macs")(b, s) == formula.lambdify("macs")(B=b, S=s) == point.macs
        assert formula.lambdify()(b, s) == dict(point.numbers)
        assert costs(b, s) == (point.macs, point.peak_bytes)
        at = {sympy.Symbol("B", integer=True, positive=True): b, sympy.Symbol("S", integer=True, positive=True): s}
        assert all(formula.expression(n).subs(at) == point[n] for n in formula.numbers)
    assert formula.to_latex() == "20 B S"
    assert "macs        = 20·B·S" in str(formula)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"B": 1}, "no size is given for S"),
        ({"B": 0, "S": 8}, "B=0 is outside of 1 … 64"),
        ({"B": 1, "S": 8, "T": 1}, "there is no dim 'T'"),
        ({"B": 1.5, "S": 8}, "outside"),
    ],
)
def test_points_outside_are_refused(sizes: dict[str, int], message: str) -> None:
    """A dim without a size, one outside of the domain, an unknown one."""
    with pytest.raises(fxcost.FxcostError, match=message):
        small().formula.at(**sizes)


def test_unknown_names_are_answered() -> None:
    """Modules, numbers, and training that was not asked for."""
    formula = small().formula
    with pytest.raises(fxcost.FxcostError, match="no module named '7'"):
        formula.of("7")
    with pytest.raises(fxcost.FxcostError, match="did you mean 'macs'"):
        formula.expression("mac")
    with pytest.raises(fxcost.FxcostError, match="training=True"):
        _ = formula.training
    with pytest.raises(AttributeError, match="no number 'mac'"):
        _ = formula.at(B=1, S=8).mac


def test_growth_says_the_exponent_and_where_squares_prevail() -> None:
    """Attention's products overtake the linear layers at a length that follows from the width."""
    formula = fxcost.analyze(llama(), IDS, dims={"B": Dim(2, 64), "S": Dim(8, 512)}).formula
    growth = formula.growth("S", "macs")
    assert growth.exponent == 2
    d, ff, kv, layers, vocab = 32, 88, 16, 2, 100
    linear = layers * (2 * d * d + 2 * d * kv + 3 * d * ff) + d * vocab
    assert growth.overtakes == sympy.Rational(linear, layers * 2 * d)
    assert growth.share(2, B=4, S=100) == pytest.approx(
        layers * 2 * d * 100 / (layers * 2 * d * 100 + linear), rel=1e-12
    )
    assert formula.growth("B").exponent == 1
    assert formula.growth("B", "params").exponent == 0
    assert "overtakes" in str(growth)
    with pytest.raises(fxcost.FxcostError, match="no open dim"):
        formula.growth("T")


def test_solve_is_what_a_search_finds() -> None:
    """The largest size within limits: one more is too much, by the formula and by a fresh analysis."""
    model = nn.Sequential(nn.Linear(3, 4, bias=False), nn.ReLU(), nn.Linear(4, 2))
    formula = small().formula
    chance = random.Random(1)
    for _ in range(10):
        s, b = chance.randint(8, 512), chance.randint(1, 63)
        limit = fxcost.analyze(model, (b, s, 3)).memory.peak_bytes
        assert formula.solve(peak_bytes=limit, S=s) == b
        assert formula.solve(peak_bytes=limit - 1, S=s, macs=10**9) == b - 1 if b > 1 else True
    assert formula.solve(peak_bytes="1GiB", S=8) == 64
    assert formula.solve(macs=20 * 64 * 100, B=64) == 100


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"peak_bytes": 10, "S": 8}, "no size fits"),
        ({"peak_bytes": 10**9}, "all dims but one: open are B, S"),
        ({"S": 8}, "give a limit"),
        ({"peak": 10**9, "S": 8}, "no formula for 'peak'"),
        ({"peak_bytes": 10**9, "S": 5000}, "outside"),
        ({"peak_bytes": None, "S": 8}, "no limit"),
    ],
)
def test_what_can_not_be_solved(given: dict[str, object], message: str) -> None:
    """Too small a limit, too many open dims, no limit, unknown numbers."""
    with pytest.raises(fxcost.FxcostError, match=message):
        small().formula.solve(**given)


def test_plots(tmp_path: object) -> None:
    """A number over a dim as a picture."""
    path = tmp_path / "flops.png"  # type: ignore[operator]
    small().formula.plot(path, "S", "flops", B=2)
    assert path.stat().st_size > 1000
    with pytest.raises(fxcost.FxcostError, match="no open dim"):
        small().formula.plot(path, "T")


def test_json_brings_formulas_back() -> None:
    """Written and read, a report has the same formulas and domain."""
    report = fxcost.analyze(encoder(), IMAGE, dims={"B": (1, 64), "H": (16, 256), "W": (16, 256)})
    again = Report.from_json(report.to_json())
    assert again.formula.ledger == report.formula.ledger
    assert again.formula.domain == report.formula.domain
    assert again.formula.at(B=3, H=64, W=32).numbers == report.formula.at(B=3, H=64, W=32).numbers
    assert again.to_json() == report.to_json()
    assert Report.from_json(fxcost.analyze(nn.Linear(3, 4), (1, 3)).to_json()).formulas is None


def test_plain_data_brings_formulas_back() -> None:
    """Floors and fractions, training and residue classes; what is broken is refused."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU())
    formula = fxcost.analyze(model, IMAGE, dims={"B": (2, 64), "H": (9, 64), "W": (9, 64)}, training=True).formula
    data = json.loads(json.dumps(formula.to_dict()))
    again = Formula.from_dict(data)
    assert again.ledger == formula.ledger
    assert again.at(B=3, H=formula.domain["H"].high, W=formula.domain["W"].low).numbers
    assert str(again) == str(formula)
    for key in ("polynomials", "domain", "entries"):
        with pytest.raises(fxcost.FxcostError, match="broken"):
            Formula.from_dict({**data, key: None})


def test_the_page_shows_formulas() -> None:
    """Text, domain and curves stand in the page."""
    page = small().to_html()
    assert 'id="formula"' in page
    assert "20·B·S" in page
    assert page.count('<svg class="curve"') == 2
    assert 'id="formula"' not in fxcost.analyze(nn.Linear(3, 4), (1, 3)).to_html()
