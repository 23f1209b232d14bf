"""Laws that hold for every model, tried on random ones: residual graphs with views, in-place writes, shared modules."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models import Lambda, Repeated, Residual, Transposed, ViewsOfViews
from torch import Tensor, nn

import fxcost
from fxcost.capture.capture import record
from fxcost.meta import answers
from fxcost.meta.answers import forgotten
from fxcost.records.cost import Cost
from fxcost.records.recording import NodeRecord, Recording, TensorSpec

CHANNELS, SIZE = 4, 6
few = settings(max_examples=int(os.environ.get("FXCOST_EXAMPLES", "15")), deadline=None)

Make = Callable[[], nn.Module]


class Asking(nn.Module):
    """Asks for sizes, and has a layer that returns a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(SIZE, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        n, c, height, width = x.size()
        x.stride()
        rows = x.reshape(n * c, height, width)
        out, weights = self.attention(rows, rows, rows)
        return (out + weights.sum()).reshape(x.size())


_PLAIN_BLOCKS: tuple[Make, ...] = (
    lambda: nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1),
    lambda: nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, groups=2, bias=False),
    lambda: nn.Conv2d(CHANNELS, CHANNELS, 1),
    lambda: nn.BatchNorm2d(CHANNELS),
    lambda: nn.GroupNorm(2, CHANNELS),
    lambda: nn.LayerNorm(SIZE),
    lambda: nn.ReLU(inplace=True),
    lambda: nn.GELU(),
    lambda: nn.Hardswish(),
    lambda: nn.Dropout(0.5),
    lambda: nn.Softmax(-1),
    lambda: nn.AvgPool2d(3, 1, 1),
    lambda: nn.MaxPool2d(3, 1, 1),
    lambda: nn.Linear(SIZE, SIZE),
    lambda: nn.Identity(),
    ViewsOfViews,
    Transposed,
    Asking,
    lambda: Lambda(lambda _, x: x.permute(0, 2, 3, 1).permute(0, 3, 1, 2).contiguous()),
    lambda: Lambda(lambda _, x: x.add_(1).sigmoid_()),
)


def blocks() -> st.SearchStrategy[list[Make]]:
    """Lists of makers of modules that keep the shape (N, CHANNELS, SIZE, SIZE)."""
    plain = st.sampled_from(_PLAIN_BLOCKS)
    residual = st.builds(lambda b, i: lambda: Residual(nn.Sequential(b(), nn.Identity()), i), plain, st.booleans())
    repeated = st.builds(lambda b, n: lambda: Repeated(b(), n), plain, st.integers(0, 3))
    return st.lists(st.one_of(plain, residual, repeated), min_size=1, max_size=6)


def build(makers: list[Make], training: bool = False) -> nn.Sequential:
    """A clone comes first, so that no block writes into the model's input."""
    with torch.device("meta"):
        return nn.Sequential(Lambda(lambda _, x: x.clone()), *(make() for make in makers)).train(training)


def shape(batch: int) -> tuple[int, ...]:
    return (batch, CHANNELS, SIZE, SIZE)


@few
@given(blocks(), st.booleans())
def test_symbolic_and_concrete_capture_agree_on_every_total(makers: list[Make], training: bool) -> None:
    """Tracing with proxies and running the forward are two ways to one cost."""
    model = build(makers, training)
    symbolic = fxcost.analyze(model, shape(2), capture="symbolic")
    concrete = fxcost.analyze(model, shape(2), capture="concrete")
    assert (symbolic.capture, concrete.capture) == ("symbolic", "concrete")
    assert symbolic.cost == concrete.cost
    assert symbolic.by_operator() == concrete.by_operator()
    assert symbolic.uncosted == concrete.uncosted == {}


@few
@given(blocks(), st.integers(2, 5))
def test_work_is_linear_in_the_batch(makers: list[Make], more: int) -> None:
    """A sample more costs the same each time; all multiply-accumulates are for samples, none is shared.

    Traffic and the other operations have a shared part: weights are read once, and a batch norm takes the roots of its
    variances once.
    """
    model = build(makers)
    one, two, many = (fxcost.analyze(model, shape(n)).cost for n in (1, 2, 1 + more))
    assert (two.macs, many.macs) == (2 * one.macs, (1 + more) * one.macs)
    assert many + one * more == one + two * more


@few
@given(blocks())
def test_every_way_of_adding_up_gives_the_total(makers: list[Make]) -> None:
    """Nodes, operators, families and modules partition the same cost."""
    report = fxcost.analyze(build(makers), shape(2))
    assert Cost.total(node.cost for node in report.nodes) == report.cost
    assert Cost.total(op.cost for node in report.nodes for op in node.operations) == report.cost
    assert Cost.total(report.by_operator().values()) == report.cost
    assert Cost.total(report.by_family().values()) == report.cost
    assert Cost.total(report.by_module(own=True).values()) == report.cost
    modules = report.by_module()
    assert modules[""] == report.cost
    assert Cost.total(cost for name, cost in modules.items() if name and "." not in name) == report.cost


@few
@given(blocks())
def test_names_and_wrappers_cost_nothing(makers: list[Make]) -> None:
    """A model within models, under other names, costs the same."""
    torch.manual_seed(0)
    model = build(makers)
    wrapped = nn.ModuleDict({"a_b": nn.Sequential(nn.Sequential(model))})
    renamed = Lambda(lambda self, picture: self.inner["a_b"](picture), inner=wrapped)
    assert fxcost.analyze(renamed, shape(2)).cost == fxcost.analyze(model, shape(2)).cost


@few
@pytest.mark.parametrize("capture", ["symbolic", "concrete"])
@given(blocks(), st.booleans())
def test_answers_from_memory_equal_operators_that_ran(capture: str, makers: list[Make], training: bool) -> None:
    """What is remembered of operators gives the records, aliases and deaths of running them again."""
    model = build(makers * 2, training)  # the second half repeats the first
    with forgotten(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(answers.Answers, "get", lambda *_: None)
        ran = record(model, shape(2), capture=capture)
    with forgotten():
        here = record(model, shape(2), capture=capture)
        earlier = record(model, shape(2), capture=capture)
    assert canonical(here) == canonical(earlier) == canonical(ran)


def canonical(recording: Recording) -> list[Any]:
    """A recording's nodes with storages numbered by first appearance: equal for equal runs."""
    numbers: dict[int, tuple[int, int]] = {}

    def tensor(spec: TensorSpec, storages: tuple[int, ...] | None) -> Any:
        storage = spec.storage if storages is None else storages[spec.storage]
        size = recording.storage_bytes[storage]
        return spec.shape, spec.dtype, spec.stride, spec.offset, numbers.setdefault(storage, (len(numbers), size))

    def tree(value: Any, storages: tuple[int, ...] | None) -> Any:
        if isinstance(value, TensorSpec):
            return tensor(value, storages)
        return tuple(tree(v, storages) for v in value) if isinstance(value, tuple) else value

    def node(record: NodeRecord) -> Any:
        given = tree(record.inputs, None)
        ran = [
            (op.op, op.scope, tree(op.args, record.storages), tree(op.outputs, record.storages))
            for op in record.operations
        ]
        return record.name, record.kind, record.target, record.module, given, ran, tree(record.outputs, None)

    nodes = [node(record) for record in recording.nodes]
    died = sorted((numbers[n], after) for n, after in recording.deaths or () if n in numbers)
    return [*nodes, died]


@few
@given(st.integers(1, 3), st.integers(1, 4), st.sampled_from([1, 2, 4]), st.integers(1, 3), st.booleans())
def test_a_grouped_convolution_is_its_groups_side_by_side(
    batch: int, width: int, groups: int, kernel: int, bias: bool
) -> None:
    """Split the channels, convolve each group apart: the same multiply-accumulates and other operations."""
    c = 4 * width
    whole = nn.Conv2d(c, c, kernel, groups=groups, bias=bias)
    parts = nn.ModuleList(nn.Conv2d(c // groups, c // groups, kernel, bias=bias) for _ in range(groups))
    split = Lambda(
        lambda self, x: [part(piece) for part, piece in zip(self.parts, x.chunk(groups, 1), strict=True)], parts=parts
    )
    one, many = (fxcost.analyze(m, (batch, c, 5, 5)) for m in (whole, split))
    assert (one.macs, one.flops, one.activations, one.params) == (many.macs, many.flops, many.activations, many.params)


@few
@given(st.integers(1, 3), st.integers(1, 8), st.integers(1, 8), st.booleans())
def test_a_pointwise_convolution_is_a_linear_layer(batch: int, c_in: int, c_out: int, bias: bool) -> None:
    """A 1×1 convolution over places equals a linear layer over rows, in every count."""
    convolution = fxcost.analyze(nn.Conv2d(c_in, c_out, 1, bias=bias), (batch, c_in, 3, 5)).cost
    linear = fxcost.analyze(nn.Linear(c_in, c_out, bias=bias), (batch * 15, c_in)).cost
    assert convolution == linear
