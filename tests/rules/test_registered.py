"""Formulas that were registered with PyTorch's own counter, for operators without a rule of ours."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, flop_registry, register_flop_formula

import fxcost

NAME = "registered_formulas"


@torch.library.custom_op(f"{NAME}::mix", mutates_args=())
def mix(x: Tensor, w: Tensor, bias: Tensor | None = None, *, scale: float = 1.0) -> Tensor:
    out = scale * (x @ w)
    return out if bias is None else out + bias


@mix.register_fake
def _(x: Tensor, w: Tensor, bias: Tensor | None = None, *, scale: float = 1.0) -> Tensor:
    return x.new_empty(x.shape[0], w.shape[1])


@torch.library.custom_op(f"{NAME}::halves", mutates_args=(), schema="(Tensor[] parts) -> (Tensor, Tensor)")
def halves(parts: list[Tensor]) -> tuple[Tensor, Tensor]:
    return parts[0] * 2, parts[1] * 3


@halves.register_fake
def _(parts: list[Tensor]) -> tuple[Tensor, Tensor]:
    return torch.empty_like(parts[0]), torch.empty_like(parts[1])


OPS = getattr(torch.ops, NAME)


class Net(nn.Module):
    """A product that is a custom operator, called in several ways, and one of PyTorch's."""

    def __init__(self) -> None:
        super().__init__()
        self.w, self.b = nn.Parameter(torch.randn(5, 7)), nn.Parameter(torch.randn(7))
        self.last = nn.Linear(7, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = OPS.mix(x, self.w) + OPS.mix(x, self.w, self.b, scale=2.0) + OPS.mix(x, self.w, self.b)
        return self.last(y)


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """The registry of the process is left as it was."""
    before = dict(flop_registry)
    yield
    flop_registry.clear()
    flop_registry.update(before)


def mix_flops(x_shape: Any, w_shape: Any, bias: Any = None, *, scale: float = 1.0, out_shape: Any = None) -> int:
    """Twice the product of the sizes, and a bias."""
    assert isinstance(scale, float)
    return 2 * prod(x_shape) * w_shape[1] + (0 if bias is None else prod(out_shape))


def counted(model: nn.Module, *inputs: Tensor) -> int:
    """What PyTorch's own counter says of a real run."""
    with FlopCounterMode(display=False) as counter:
        model(*inputs)
    return int(counter.get_total_flops())


def test_macs_are_half_of_what_the_formula_says() -> None:
    """The same FLOPs as FlopCounterMode counts in a real run; without a formula the operator is uncosted."""
    model, x = Net(), torch.randn(3, 5)
    linear = 3 * 7 * 2
    before = fxcost.analyze(model, x)
    assert (before.macs, before.uncosted) == (linear, {f"{NAME}.mix.default": 3})
    register_flop_formula(OPS.mix)(mix_flops)
    report = fxcost.analyze(model, x)
    assert report.uncosted == {}
    assert report.macs == linear + 3 * 5 * 7 + 2 * ((2 * 3 * 5 * 7 + 3 * 7) // 2)
    mixed = report.by_family()["registered formula"]
    assert mixed.macs * 2 + mixed.other_flops == counted(model, x) - 2 * linear
    assert report.cost.bytes_moved == before.cost.bytes_moved
    assert fxcost.analyze(model, x, strict=True).macs == report.macs
    flop_registry.pop(OPS.mix)
    assert fxcost.analyze(model, x).cost == before.cost


def test_the_report_says_where_its_numbers_come_from() -> None:
    """In the assumptions, of a training step too, in a report that is read back, and where a node is explained."""
    register_flop_formula(OPS.mix)(mix_flops)
    report = fxcost.analyze(Net(), (3, 5))
    (sentence,) = report.assumptions
    assert sentence.startswith(f"{NAME}.mix.default: its FLOPs are those of the formula")
    assert "register_flop_formula" in str(report)
    assert fxcost.Report.from_json(report.to_json()).assumptions == report.assumptions
    node = next(n.name for n in report.nodes if "mix" in n.target)
    text = str(report.explain(node))
    assert "mix_flops" in text and "test_registered.py" in text  # noqa: PT018
    assert "Twice the product of the sizes" in text
    assert "registered formula" in text


def test_rules_go_before_formulas() -> None:
    """Those given to an analysis, those registered with fxcost, and built-in ones."""
    register_flop_formula(OPS.mix)(lambda *args, **kwargs: 1_000_000)
    flop_registry[torch.ops.aten.addmm] = flop_registry[torch.ops.aten.gelu] = lambda *args, **kwargs: 1_000_000
    mine = {OPS.mix: lambda op: fxcost.Cost(other_flops=1)}
    report = fxcost.analyze(Net(), (3, 5), rules=mine)
    assert report.by_family()["custom"].other_flops == 3
    assert (report.macs, report.assumptions) == (3 * 7 * 2, ())
    of_one_overload = {OPS.mix.default: lambda op: fxcost.Cost(other_flops=1)}
    assert fxcost.analyze(Net(), (3, 5), rules=of_one_overload).macs == 3 * 7 * 2
    assert fxcost.analyze(nn.GELU(), (3, 5)).macs == 0


def test_lists_tuples_and_odd_numbers() -> None:
    """A formula gets nests of shapes as PyTorch gives them; an odd number of FLOPs has one that is no half of a MAC."""
    seen: list[Any] = []

    @register_flop_formula(OPS.halves)
    def halves_flops(shapes: Any, *, out_shape: Any = None) -> int:
        seen.append((shapes, out_shape))
        return prod(shapes[0]) + prod(shapes[1])

    @torch.no_grad()
    def call(a: Tensor, b: Tensor) -> Any:
        return OPS.halves([a, b])

    a, b = torch.randn(3, 3), torch.randn(4)
    report = fxcost.analyze(call, (a, b))
    with FlopCounterMode(display=False) as counter:
        call(a, b)
    assert (report.cost.macs, report.cost.other_flops, report.flops) == (6, 1, counter.get_total_flops())
    assert seen[0] == seen[1] == ([(3, 3), (4,)], ((3, 3), (4,)))


def test_raw_formulas_get_tensors() -> None:
    """On meta, with the dtype and strides that they had."""

    @register_flop_formula(OPS.mix, get_raw=True)
    def mix_flops_raw(x: Tensor, w: Tensor, bias: Any = None, *, scale: float = 1.0, out_val: Any = None) -> int:
        assert isinstance(out_val, Tensor)
        return int(x.numel() * w.shape[1] * (2 if w.stride() == (7, 1) else 0) * x.element_size())

    assert fxcost.analyze(Net().double(), torch.randn(3, 5, dtype=torch.float64)).macs == 3 * 7 * 2 + 3 * 3 * 5 * 7 * 8


@pytest.mark.parametrize("answer", [1.5, -2, None, "many"])
def test_what_is_no_number_of_operations_is_refused(answer: Any) -> None:
    """The message names the operator and what to do."""
    register_flop_formula(OPS.mix)(lambda *args, **kwargs: answer)
    with pytest.raises(fxcost.RuleError, match=r"registered formula.*mix"):
        fxcost.analyze(Net(), (3, 5))
