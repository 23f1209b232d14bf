"""Propagation: specs, aliases and operators per node, in linear time and without recursion."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from models import Lambda, Residual
from torch import Tensor, fx, nn

import fxcost
from fxcost.capture.capture import record
from fxcost.records.recording import NodeRecord, Recording


def nodes(recording: Recording) -> dict[str, NodeRecord]:
    return {node.name: node for node in recording.nodes}


def storages(model: Any, inputs: Any, capture: str) -> list[int]:
    """The storage of each node's first output, numbered by first appearance."""
    numbers: dict[int, int] = {}
    found = [node.outputs[0].storage for node in record(model, inputs, capture=capture).nodes if node.outputs]
    return [numbers.setdefault(storage, len(numbers)) for storage in found]


def chain(x: Tensor) -> Tensor:
    a = x.view(4, 4)  # of x
    b = a.transpose(0, 1)  # of x
    c = b.contiguous()  # new
    d = c[1:]  # of c
    e = d.add_(1)  # d itself
    f = torch.relu(e)  # new
    return f.reshape(12)  # of f


@pytest.mark.parametrize("capture", ["symbolic", "concrete"])
def test_views_and_in_place_results_share_their_storage(capture: str) -> None:
    """Views of views, in-place writes and fresh results are told apart."""
    assert storages(chain, (2, 8), capture) == [0, 0, 0, 1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize("capture", ["symbolic", "concrete"])
def test_view_metadata_is_that_of_the_view(capture: str) -> None:
    """Offset, stride and shape are recorded as PyTorch has them."""
    got = [node.outputs[0] for node in record(chain, (2, 8), capture=capture).nodes if node.is_call]
    real = torch.arange(16.0).view(2, 8)
    b = real.view(4, 4).transpose(0, 1)
    d = b.contiguous()[1:]
    assert [(s.shape, s.stride, s.offset) for s in got[1:2]] == [(tuple(b.shape), b.stride(), b.storage_offset())]
    assert [(s.shape, s.stride, s.offset) for s in got[3:4]] == [(tuple(d.shape), d.stride(), d.storage_offset())]


@pytest.mark.parametrize("capture", ["symbolic", "concrete"])
@pytest.mark.parametrize(
    ("change", "shape"),
    [
        (lambda y: y.t_(), (8, 2)),
        (lambda y: y.unsqueeze_(0), (1, 2, 8)),
        (lambda y: y.resize_(3, 3), (3, 3)),
        (lambda y: y.transpose_(0, 1), (8, 2)),
    ],
)
def test_who_reads_later_sees_a_shape_changed_in_place(change: Any, shape: tuple[int, ...], capture: str) -> None:
    """`y.t_()` changes y for all its readers, and not what was a view of it before."""

    def forward(x: Tensor) -> tuple[Tensor, Tensor]:
        y = x.clone()
        flat = y.view(-1)
        change(y)
        return y + 1, flat + 1

    outputs = record(forward, (2, 8), capture=capture).nodes[-1].outputs
    assert [spec.shape for spec in outputs] == [shape, (16,)]


@pytest.mark.parametrize(
    "layers",
    [
        [nn.Dropout(0.5).train(), nn.Dropout(0.5).eval()],
        [nn.LeakyReLU(0.1), nn.LeakyReLU(0.1, inplace=True)],
        [nn.Linear(8, 8), nn.Linear(8, 8, bias=False)],
        [nn.Linear(8, 8), nn.Linear(8, 8, dtype=torch.float64).float()],
        [nn.Softmax(0), nn.Softmax(1)],
        [nn.BatchNorm1d(8).train(), nn.BatchNorm1d(8).eval(), nn.BatchNorm1d(8, track_running_stats=False)],
        [nn.LayerNorm(8), nn.LayerNorm((2, 8)), nn.LayerNorm(8, elementwise_affine=False)],
        [nn.Sequential(nn.ReLU()), nn.ReLU(), nn.ReLU6()],
    ],
)
def test_layers_that_differ_are_not_taken_for_each_other(layers: list[nn.Module]) -> None:
    """Mode, flags, parameters and class decide what runs: each costs what it costs alone."""
    for order in (layers, layers[::-1]):
        alone = [fxcost.analyze(layer, (2, 8), capture="concrete").cost for layer in order]
        side_by_side = Lambda(lambda self, x: [layer(x) for layer in self.layers], layers=nn.ModuleList(order))
        together = fxcost.analyze(side_by_side, (2, 8))
        total = alone[0]
        for cost in alone[1:]:
            total = total + cost
        assert together.cost == total


def test_arguments_that_differ_are_not_taken_for_each_other() -> None:
    """1, 1.0 and True are equal and hash alike, and mean different things."""

    def forward(x: Tensor) -> tuple[Tensor, ...]:
        return torch.mul(x, 1), torch.mul(x, 1.0), torch.mul(x, True), x.sum(0), x.sum(0, True), x.sum((0, 1))

    outputs = record(forward, fxcost.spec(2, 8, dtype="int64"), capture="symbolic").nodes[-1].outputs
    assert [spec.dtype_name for spec in outputs[:3]] == ["int64", "float32", "int64"]
    assert [spec.shape for spec in outputs[3:]] == [(8,), (1, 8), ()]


class Alternating(nn.Module):
    """A leaf of the user's whose behaviour hangs on its state."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x @ x.T @ x if self.calls % 2 else x


def test_a_users_leaf_runs_each_time() -> None:
    """The model's own code runs each time that it is called."""
    leaf = Alternating()
    model = Lambda(lambda self, x: self.leaf(self.leaf(self.leaf(x))), leaf=leaf)
    report = fxcost.analyze(model, (2, 8), leaf_modules=(Alternating,))
    assert [node.cost.macs for node in report.nodes if node.record.is_call] == [64, 0, 64]


def test_a_hooked_layer_runs_its_hook() -> None:
    """A hook may do anything, so it runs."""
    plain, hooked = nn.Linear(8, 8), nn.Linear(8, 8)
    hooked.register_forward_hook(lambda module, given, out: out @ out.T)
    report = fxcost.analyze(Lambda(lambda self, x: [self.a(x), self.b(x)], a=plain, b=hooked), (2, 8))
    assert report.macs == 128 + 128 + 32


def test_one_argument_given_twice_is_one_object() -> None:
    """Self-attention asks `query is key` and then projects once, not three times, as it does in a run."""
    attend = Lambda(lambda self, q, k, v: self.layer(q, k, v)[0], layer=nn.MultiheadAttention(8, 2))
    own = Lambda(lambda self, x: self.layer(x, x, x), layer=attend)
    assert [products(m, n, c) for m, n in ((own, 1), (attend, 3)) for c in ("symbolic", "concrete")] == [2, 2, 4, 4]


def products(model: nn.Module, inputs: int, capture: str) -> int:
    report = fxcost.analyze(model, [(5, 2, 8)] * inputs, capture=capture)
    return [op.record.op for node in report.nodes for op in node.operations].count(torch.ops.aten.addmm.default)


def deep(blocks: int) -> nn.Module:
    with torch.device("meta"):
        return nn.Sequential(*(nn.Linear(8, 8) for _ in range(blocks)))


@pytest.mark.parametrize("capture", ["symbolic", "concrete"])
def test_a_thousand_layers(capture: str) -> None:
    """No recursion limit, and a node for each layer."""
    report = fxcost.analyze(deep(1000), (2, 8), capture=capture)
    assert report.macs == 1000 * 128
    assert len([node for node in report.nodes if node.record.is_call]) == 1000


@pytest.mark.parametrize("capture", ["symbolic", "concrete"])
def test_a_graph_of_two_thousand_nodes(capture: str) -> None:
    """A residual chain; deep nesting of values is no deep nesting of calls."""
    with torch.device("meta"):
        model = nn.Sequential(*(Residual(nn.Linear(8, 8), in_place=i % 2 == 0) for i in range(1000)))
    report = fxcost.analyze(model, (2, 8), capture=capture)
    calls = [node for node in report.nodes if node.record.is_call]
    assert (len(calls), report.macs, report.flops - 2 * report.macs) == (2000, 128_000, 16_000)


def test_work_does_not_grow_with_the_size_of_tensors() -> None:
    """The same graph on 10¹⁵ elements: numbers are exact Python ints."""
    report = fxcost.analyze(nn.ReLU(), (10**9, 10**6))
    assert report.flops == 10**15


def test_a_shape_prop_graph_agrees() -> None:
    """`tensor_meta` on the traced graph is what PyTorch's own ShapeProp finds."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5))
    ours = fxcost.trace(model, (2, 3, 8, 8), capture="symbolic")
    theirs = fx.symbolic_trace(model)
    fx.passes.shape_prop.ShapeProp(theirs).propagate(torch.zeros(2, 3, 8, 8))
    pairs = list(zip(ours.graph.nodes, theirs.graph.nodes, strict=True))
    assert [a.op for a, _ in pairs] == [b.op for _, b in pairs]
    for a, b in pairs:
        one, other = a.meta["tensor_meta"], b.meta["tensor_meta"]
        assert (one.shape, one.dtype, one.stride) == (other.shape, other.dtype, other.stride)
