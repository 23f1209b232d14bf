"""Reconciliation: terms that lead from our number to a tool's, and add up whatever the model."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

import fxcost
from fxcost.conventions import CONVENTIONS, by_function, by_module, rule
from fxcost.conventions.reconcile import Reconciliation, Term

RECONCILED = [name for name, convention in CONVENTIONS.items() if convention.unit in ("MACs", "FLOPs")]


def layer(kind: str, size: int) -> nn.Module:
    """A layer that keeps (batch, channels, height, width) as it is."""
    made = {
        "conv": lambda: nn.Conv2d(size, size, 3, padding=1),
        "depthwise": lambda: nn.Conv2d(size, size, 3, padding=1, groups=size, bias=False),
        "transposed": lambda: nn.ConvTranspose2d(size, size, 1),
        "norm": lambda: nn.BatchNorm2d(size),
        "group": lambda: nn.GroupNorm(1, size),
        "relu": nn.ReLU,
        "gelu": nn.GELU,
        "silu": nn.SiLU,
        "softmax": lambda: nn.Softmax(dim=1),
        "pool": lambda: nn.AvgPool2d(1),
        "linear": lambda: nn.Linear(6, 6),
        "residual": lambda: Residual(size),
        "product": Product,
    }
    return made[kind]()


class Residual(nn.Module):
    """An addition and a convolution inside a module of the user's own, which tools look into."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Conv2d(size, size, 1), nn.ReLU6())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.inner(x)


class Product(nn.Module):
    """Work that module hooks can't see."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.matmul(x, x.transpose(2, 3)).softmax(-1) @ torch.mul(x, x)


class Net(nn.Module):
    """Layers in order; the first one is called again at the end, so that a module is shared."""

    def __init__(self, kinds: list[str], size: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layer(kind, size) for kind in kinds)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for inner in self.layers:
            x = inner(x)
        return self.layers[0](x)


KINDS = ["conv", "depthwise", "transposed", "norm", "group", "relu", "gelu", "silu", "softmax", "pool"]
KINDS += ["linear", "residual", "product"]


@given(st.lists(st.sampled_from(KINDS), min_size=1, max_size=5), st.integers(1, 3), st.integers(1, 4))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_terms_add_up(kinds: list[str], batch: int, size: int) -> None:
    """Ours + terms = theirs = count(), for every tool; and ours is the report's own number."""
    report = fxcost.analyze(Net(kinds, size).eval(), (batch, size, 5, 6))
    for name in RECONCILED:
        try:
            count = report.count(name)
        except fxcost.ConventionError:
            continue  # torchstat takes no linear layer on tokens
        (way,) = report.reconcile(name)
        assert way.ours == (report.macs if way.unit == "MACs" else report.flops)
        assert way.ours + sum(term.amount for term in way.terms) == way.theirs == count
        assert all(term.amount and term.why and term.modules for term in way.terms)


def test_a_known_difference() -> None:
    """A biased convolution, a norm and a product of 2·3·4 in a function: what thop and FlopCounterMode make of them."""

    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3)

        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return self.norm(self.conv(x)).sum() + torch.mm(y, y.T).sum()

    report = fxcost.analyze(Small().eval(), [(1, 2, 4, 4), (3, 5)])
    thop, torch_counter = report.reconcile("thop", "torch")
    assert thop.ours == 2 * 3 * 16 + 3 * 5 * 3
    assert {(t.family, t.amount, t.modules) for t in thop.terms} == {
        ("matmul", -3 * 5 * 3, ("",)),
        ("normalization", 4 * 3 * 16, ("norm",)),
    }
    assert torch_counter.theirs == 2 * thop.ours
    assert all(term.amount < 0 for term in torch_counter.terms), "it only leaves things out"


def test_vision_transformer_under_thop() -> None:
    """Three reasons take ViT-B/16 from 17.56 G to thop's 11.29 G."""
    models = pytest.importorskip("torchvision").models
    (way,) = fxcost.analyze(models.vit_b_16().eval(), (1, 3, 224, 224)).reconcile("thop")
    dim, tokens, layers = 768, 197, 12
    terms = {term.family: term.amount for term in way.terms}
    assert terms == {
        "matmul": -4 * tokens * dim * dim * layers,
        "attention": -2 * tokens * tokens * dim * layers,
        "normalization": 4 * tokens * dim * (2 * layers + 1),
    }
    assert (way.ours, way.theirs) == (17_563_828_224, 11_286_254_592)


def test_the_batch_that_ptflops_divides_by() -> None:
    """Modules are divided by the batch, functions are not: a term of its own."""
    (way,) = fxcost.analyze(nn.Sequential(nn.Linear(4, 6), nn.ReLU()).eval(), (3, 4)).reconcile("ptflops")
    terms = {term.family: term.amount for term in way.terms}
    assert terms["batch"] == -(2 * (3 * (4 * 6 + 6) + 3 * 6)) // 3
    assert way.theirs == (4 * 6 + 6 + 6) + 3 * 6


def test_what_can_not_be_reconciled_says_so() -> None:
    """Parameters and accesses have no counterpart among MACs and FLOPs."""
    report = fxcost.analyze(nn.Linear(3, 4), (2, 3))
    with pytest.raises(fxcost.ConventionError, match="'torchsummary' counts parameters"):
        report.reconcile("torchsummary")


def test_a_printed_table_names_modules_by_pattern() -> None:
    """Numbers in names become stars, so that repeated layers take one line."""
    terms = (
        Term("normalization", tuple(f"layer{i}.{j}.bn1" for i in range(4) for j in range(3)), 1_200, "2 per element"),
        Term("matmul", ("head",), -80, "not seen"),
    )
    text = Reconciliation("tool", "MACs", 5_000, terms, 6_120).table("plain")
    assert text.splitlines() == [
        "term             MACs  modules            why",
        "fxcost          5,000                     our MACs",
        "normalization  +1,200  layer*.*.bn* (12)  2 per element",
        "matmul            -80  head               not seen",
        "tool            6,120                     the tool's number",
    ]


def test_conventions_of_ones_own() -> None:
    """By module class, by function name: the same helpers that the tools' tables use."""
    by_class = fxcost.Convention(
        name="weights",
        summary="one per weight of a linear layer and call",
        unit="MACs",
        tallies={"n": by_module({nn.Linear: rule("linear", "weights", lambda call: call.module.weight.numel())})},
    )
    by_name = fxcost.Convention(
        name="relus",
        summary="elements that F.relu sees",
        unit="elements",
        tallies={"n": by_function({"F.relu": rule("activation", "elements", lambda call: call.x.numel)})},
        figures=lambda seen, totals: {"double": 2 * totals["n"]},
    )
    report = fxcost.analyze(nn.Sequential(nn.Linear(4, 6), nn.ReLU()), (3, 4))
    assert report.count(by_class) == 24
    assert report.counts(by_name) == {"n": 18, "double": 36}
    (way,) = report.reconcile(by_class)
    assert [(term.amount, term.why) for term in way.terms] == [(24 - 72, "weights")]


def test_a_convention_must_count_something() -> None:
    """Without a tally there is no headline."""
    with pytest.raises(fxcost.ConventionError, match="has no tally"):
        fxcost.Convention(name="empty", summary="", unit="MACs", tallies={})


def test_unknown_names_get_a_hint() -> None:
    """A typing error names the nearest convention."""
    report = fxcost.analyze(nn.Linear(3, 4), (2, 3))
    with pytest.raises(fxcost.ConventionError, match="did you mean 'fvcore'"):
        report.count("fvcor")


def test_every_convention_has_a_line() -> None:
    """`fxcost.conventions()` is what the command line lists."""
    listed = fxcost.conventions()
    assert set(listed) == set(CONVENTIONS)
    assert all(line and "\n" not in line for line in listed.values())
