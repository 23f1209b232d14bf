"""Symbolic tracing: what becomes a node, what stays Python, and what is too doubtful to believe."""

from __future__ import annotations

import copy
import math
from collections import namedtuple
from collections.abc import Callable
from typing import Any

import pytest
import torch
from models import Buffered, Lambda
from torch import Tensor, nn
from torch._higher_order_ops.scan import scan

import fxcost
from fxcost.capture.capture import record
from fxcost.errors import CaptureError

Pair = namedtuple("Pair", "left right")


def calls(model: Any, inputs: Any) -> list[str]:
    return [node.target for node in record(model, inputs, capture="symbolic").nodes if node.is_call]


@pytest.mark.parametrize("operator", ["iadd", "isub", "imul", "itruediv", "ipow"])
def test_in_place_operators_stay_in_place(operator: str) -> None:
    """`x += y` writes into x: no new storage, as in a run."""

    def forward(x: Tensor) -> Tensor:
        return getattr(x.clone(), f"__{operator}__")(2.0)

    nodes = record(forward, (2, 3), capture="symbolic").nodes
    assert nodes[2].target == f"_operator.{operator}"
    assert nodes[2].outputs[0].storage == nodes[1].outputs[0].storage


COMPUTED: dict[str, tuple[Callable[[], Any], int]] = {
    "a buffer": (lambda: Buffered(lambda x, t: x * (t * 2).sin(), torch.ones(8)), 16 + 8 + 8),
    "a factory": (lambda: lambda x: x * (torch.arange(8.0) * 2).sin(), 16 + 8 + 8),
    "a plain attribute": (lambda: _with_attribute(), 16 + 8),
    "a parameter": (lambda: _with_parameter(), 16 + 8 + 8),
    "random numbers": (lambda: lambda x: x + torch.rand(8) * 2, 16 + 8),
}


def _with_attribute() -> nn.Module:
    model = Lambda(lambda self, x: x * (self.table * 2))
    model.table = torch.ones(8)
    return model


def _with_parameter() -> nn.Module:
    model = Lambda(lambda self, x: x * (self.weight * 2).exp())
    model.weight = nn.Parameter(torch.ones(8))
    return model


@pytest.mark.parametrize("name", COMPUTED)
def test_what_is_computed_without_inputs_is_counted(name: str) -> None:
    """Plain tracing computes such things once, on the spot, and leaves them out of the graph."""
    make, flops = COMPUTED[name]
    symbolic = fxcost.analyze(make(), (2, 8), capture="symbolic")
    concrete = fxcost.analyze(make(), (2, 8), capture="concrete")
    assert symbolic.cost == concrete.cost
    assert symbolic.flops == flops


def test_a_model_without_inputs() -> None:
    """All of it is constants, and all of it is counted."""
    assert fxcost.analyze(lambda: torch.ones(3) + 1, capture="symbolic").flops == 3


def _assigned(x: Tensor) -> Tensor:
    x = x.clone()
    x[0] = 1.0
    return x


DOUBTS: dict[str, Callable[[Tensor], Any]] = {
    "isinstance": lambda x: x if isinstance(x, Tensor) else -x,
    "torch.is_tensor": lambda x: x if torch.is_tensor(x) else -x,
    "an unknown attribute": lambda x: x if not hasattr(x, "logits") else -x,
    "deepcopy": lambda x: copy.deepcopy(x) + 1,
    "truth": lambda x: x if x.sum() > 0 else -x,
    "iteration": lambda x: [row + 1 for row in x],
    "a range": lambda x: [x + i for i in range(x.shape[0])],
    "item assignment": lambda x: _assigned(x),
    "len": lambda x: x * len(x),
    "scan": lambda x: scan(lambda c, r: (c + r, r * 2), torch.zeros(8), x),
}


@pytest.mark.parametrize("name", DOUBTS)
def test_doubt_is_raised_and_auto_believes_the_run(name: str) -> None:
    """Where a proxy can't answer as a tensor would, tracing refuses, and auto runs the forward."""
    with pytest.raises(CaptureError):
        fxcost.analyze(DOUBTS[name], (2, 8), capture="symbolic")
    assert fxcost.analyze(DOUBTS[name], (2, 8)).capture == "concrete"


@pytest.mark.parametrize("capture", ["symbolic", "concrete"])
def test_a_constant_of_the_users_is_not_written_to(capture: str) -> None:
    """Tensors in containers are copied too: what is done with them is counted, and done to the copy."""
    table = [torch.ones(8)]
    assert fxcost.analyze(lambda x: x + table[0].add_(1), (2, 8), capture=capture).flops == 8 + 16
    assert table[0].tolist() == [1.0] * 8


@pytest.mark.parametrize(
    ("inputs", "names"),
    [
        ([(2, 8), (8, 3)], ["x", "y"]),
        ([[(2, 8), (8, 3)]], ["pair_0", "pair_1"]),
        ([Pair((2, 8), (8, 3))], ["pair_left", "pair_right"]),
        ([{"a": (2, 8), "b": (8, 3)}], ["pair_a", "pair_b"]),
    ],
    ids=["arguments", "list", "named tuple", "dict"],
)
def test_every_tensor_among_the_inputs_is_a_placeholder(inputs: Any, names: list[str]) -> None:
    """Structures are traced leaf by leaf; the product sees both."""

    def product(pair: Any) -> Tensor:
        x, y = pair.values() if isinstance(pair, dict) else pair
        return x @ y

    function = (lambda x, y: x @ y) if len(inputs) == 2 else product
    recording = record(function, inputs, capture="symbolic")
    assert [node.name for node in recording.nodes if node.kind == "placeholder"] == names
    assert fxcost.analyze(function, inputs, capture="symbolic").macs == 48


def test_arguments_that_are_no_tensors_take_part_as_they_are() -> None:
    """`mask=None` and flags decide as they do in a run; they are no placeholders."""

    def forward(x: Tensor, mask: Tensor | None = None, times: int = 1, how: str = "sum") -> Tensor:
        x = x * times if mask is None else x + mask
        return x.sum() if how == "sum" else x.mean()

    assert calls(forward, [(2, 8), None, 3]) == ["_operator.mul", "sum"]
    assert calls(forward, [(2, 8), (2, 8), 3, "mean"]) == ["_operator.add", "mean"]


def test_shared_modules_have_one_name() -> None:
    """A module under two names is called by the first."""
    layer = nn.Linear(8, 8)
    model = Lambda(lambda self, x: self.second(self.first(x)), first=layer, second=layer)
    assert calls(model, (2, 8)) == ["first", "first"]


def test_nodes_know_their_module() -> None:
    """A function inside a container stands in that container; a leaf is its own module."""
    inner = Lambda(lambda self, x: torch.relu(self.layer(x)), layer=nn.Linear(8, 8))
    model = nn.Sequential(Lambda(lambda self, x: self.inner(x) + 1, inner=inner))
    for capture in ("symbolic", "concrete"):
        found = [(n.target, n.module) for n in record(model, (2, 8), capture=capture).nodes if n.is_call]
        assert found == [("0.inner.layer", "0.inner.layer"), ("torch.relu", "0.inner"), ("_operator.add", "0")]


@pytest.mark.parametrize("capture", ["symbolic", "concrete"])
def test_module_calls_are_listed(capture: str) -> None:
    """Every call of a module, containers included, with its arguments, results and span of nodes."""
    model = nn.Sequential(nn.Sequential(nn.Linear(8, 4), nn.ReLU()), nn.Linear(4, 2))
    recording = record(model, (3, 8), capture=capture)
    found = {call.module: call for call in recording.calls}
    assert set(found) - {""} == {"0", "0.0", "0.1", "1"}
    shapes = {name: (call.args[0].shape, call.output.shape) for name, call in found.items() if name}
    assert shapes == {"0": ((3, 8), (3, 4)), "0.0": ((3, 8), (3, 4)), "0.1": ((3, 4), (3, 4)), "1": ((3, 4), (3, 2))}
    spans = {name: [n.name for n in recording.nodes[c.start : c.stop]] for name, c in found.items() if name}
    assert spans == {"0": ["_0_0", "_0_1"], "0.0": ["_0_0"], "0.1": ["_0_1"], "1": ["_1"]}


def test_functions_of_math_are_nodes() -> None:
    """`math.ceil` of a size is a node; Python's own module is never touched."""
    before = dict(vars(math))
    assert "math.ceil" in calls(lambda x: x[:, : math.ceil(x.shape[1] / 2)], (2, 5))
    with pytest.raises(CaptureError):
        record(lambda x: x if math.ceil(x.shape[1] / 2) > 2 else -x, (2, 5), capture="symbolic")
    assert vars(math) == before


@pytest.mark.parametrize("count", [2, 300])
def test_values_are_unpacked_into_as_many_names_as_there_are(count: int) -> None:
    """`a, b = x`: an element each, also where the number takes more than a byte of bytecode."""
    names = ", ".join(f"x{i}" for i in range(count))
    space: dict[str, Any] = {}
    exec(f"def forward(x):\n    {names} = x.unbind(0)\n    return x0 + x{count - 1}", space)
    assert calls(space["forward"], (count, 3)) == ["unbind", *["_operator.getitem"] * count, "_operator.add"]


def test_a_value_that_is_iterated_otherwise_is_left_to_the_run() -> None:
    """How many elements a `for` takes is not known: concrete capture sees them."""
    report = fxcost.analyze(lambda x: sum(row * 2 for row in x), (3, 4))
    assert (report.capture, report.flops) == ("concrete", 3 * 4 + 3 * 4)


def test_a_tensor_that_is_a_plain_attribute_goes_by_its_path() -> None:
    """Not registered as a buffer, and in a module below."""
    inner = Lambda(lambda self, x: x * self.table)
    inner.table = torch.ones(8)
    nodes = record(Lambda(lambda self, x: self.inner(x), inner=inner), (2, 8), capture="symbolic").nodes
    assert [n.target for n in nodes if n.kind == "get_attr"] == ["inner.table"]
