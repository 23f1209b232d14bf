"""What conventions need of a capture beside operators: calls inside nodes, arguments, and how code spells them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import fx, nn

import fxcost
from fxcost.records.recording import TensorSpec
from fxcost.report import Report


class Spelled(nn.Module):
    """Every operator beside the method of the same name."""

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        c = a + b - a * b / a
        c = a.add(b).sub(a.mul(b).div(a)) + c @ b
        c += a
        return c.matmul(b) + c.mul_(b)


@pytest.mark.parametrize("capture", ["symbolic", "concrete"])
def test_operators_are_told_from_methods(capture: str) -> None:
    """`a + b` is operator.add and `a.add(b)` is a method call, in both captures."""
    report = fxcost.analyze(Spelled(), [(3, 3), (3, 3)], capture=capture)
    called = [
        node.target.removeprefix("_operator.") + ("()" if node.kind == "call_method" else "") for node in report.nodes
    ]
    assert [name for name in called if name not in ("a", "b", "output")] == [
        *("add", "mul", "truediv", "sub"),
        *("add()", "mul()", "div()", "sub()", "matmul", "add", "iadd"),
        *("matmul()", "mul_()", "add"),
    ]


@pytest.mark.parametrize("capture", ["symbolic", "concrete"])
def test_calls_inside_a_layer(capture: str) -> None:
    """A transformer layer is one node; its modules and functions are noted with their operations."""
    model = nn.Sequential(nn.TransformerEncoderLayer(8, 2, 16)).eval()
    report = fxcost.analyze(model, (5, 1, 8), capture=capture)
    (node,) = (node for node in report.nodes if node.kind == "call_module")
    modules = [call.target for call in node.record.calls if call.is_module]
    assert modules == ["self_attn", "dropout1", "norm1", "linear1", "dropout", "linear2", "dropout2", "norm2"]
    functions = {call.target: call for call in node.record.calls if not call.is_module}
    assert functions["torch._C._nn.linear"].scope == "linear2"
    assert functions["torch._C._nn.linear"].args[1].shape == (8, 16)
    assert "torch.nn.functional.multi_head_attention_forward" in functions
    (norm,) = (call for call in node.record.calls if call.target == "norm1")
    assert [str(op.op) for op in node.record.operations[norm.start : norm.stop]] == ["aten.native_layer_norm.default"]
    assert norm.output == TensorSpec((5, 1, 8), torch.float32, (8, 8, 1))


@pytest.mark.parametrize("capture", ["symbolic", "concrete"])
def test_the_model_itself_is_a_call(capture: str) -> None:
    """With its inputs, by name too, and what it returned."""

    class Named(nn.Module):
        def forward(self, x: torch.Tensor, scale: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
            assert scale is not None
            return F.relu(x), x * scale

    report = fxcost.analyze(Named(), [(2, 3)], {"scale": (3,)}, capture=capture)
    (call,) = (call for call in report.recording.calls if call.module == "")
    assert [spec.shape for spec in call.args] == [(2, 3)]
    assert [(name, spec.shape) for name, spec in call.kwargs] == [("scale", (3,))]
    assert [spec.shape for spec in call.output] == [(2, 3), (2, 3)]


def test_repeated_layers_keep_their_calls() -> None:
    """A layer that is replayed from memory has the calls of the one that ran."""
    model = nn.Sequential(*(nn.MultiheadAttention(8, 2) for _ in range(2)))

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = model

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for layer in self.layers:
                x, _ = layer(x, x, x)
            return x

    report = fxcost.analyze(Twice(), (5, 1, 8), capture="symbolic")
    first, second = (node.record for node in report.nodes if node.kind == "call_module")
    assert first.calls
    assert [c.target for c in first.calls] == [c.target for c in second.calls]


def arguments(report: Report, name: str) -> tuple[object, dict[str, object]]:
    """What a node was given."""
    (node,) = (node.record for node in report.nodes if node.name == name)
    return node.args, dict(node.kwargs)


def test_nodes_know_their_arguments() -> None:
    """Specs in place of tensors, other values as they are."""

    class Resized(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.interpolate(x, scale_factor=(2.0, 3.0), mode="bilinear")

    for capture in ("symbolic", "concrete"):
        args, kwargs = arguments(fxcost.analyze(Resized(), (1, 2, 3, 4), capture=capture), "interpolate")
        assert args[0].shape == (1, 2, 3, 4)  # type: ignore[index,union-attr]
        assert (kwargs["scale_factor"], kwargs["mode"]) == ((2.0, 3.0), "bilinear")


def test_a_graph_that_is_given_shows_its_leaves() -> None:
    """Containers' calls are gone, so thop still counts, and what a graph shows stays the same."""
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)).eval()
    traced = fx.symbolic_trace(model)
    assert fxcost.analyze(traced, (3, 4)).count("thop") == fxcost.analyze(model, (3, 4)).count("thop")
    assert fxcost.analyze(traced, (3, 4)).count("ptflops") == fxcost.analyze(model, (3, 4)).count("ptflops")
