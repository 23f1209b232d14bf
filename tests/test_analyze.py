"""The three entry points: analyze, trace, analyze_graph."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from models import Lambda
from torch import Tensor, fx, nn

import fxcost
from fxcost.errors import InputError, UncostedOperatorError
from fxcost.records.recording import OpRecord
from fxcost.rules import default_registry


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))


MLP_MACS = 8 * 16 + 16 * 4


def test_a_traced_graph_is_costed_at_other_shapes() -> None:
    """One trace serves many shapes, in either argument style."""
    graph = fxcost.trace(mlp(), (2, 8))
    assert isinstance(graph, fx.GraphModule)
    for inputs in ((5, 8), [(5, 8)], {"input": (5, 8)}, torch.ones(5, 8)):
        report = fxcost.analyze_graph(graph, inputs)
        assert (report.capture, report.macs) == ("given", 5 * MLP_MACS)
    assert fxcost.analyze_graph(graph, (3, 7, 8)).macs == 21 * MLP_MACS


@pytest.mark.parametrize("capture", ["symbolic", "concrete"])
def test_a_trace_costs_what_its_model_costs(capture: str) -> None:
    """analyze_graph(trace(model)) = analyze(model), in every count, by module as well."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(144, 5))
    direct = fxcost.analyze(model, (2, 3, 8, 8), capture=capture)
    traced = fxcost.analyze_graph(fxcost.trace(model, (2, 3, 8, 8), capture=capture), (2, 3, 8, 8))
    assert traced.cost == direct.cost
    assert traced.by_module() == direct.by_module()
    assert traced.params == direct.params


@pytest.mark.parametrize("capture", ["symbolic", "concrete"])
def test_a_trace_runs(capture: str) -> None:
    """The graph is code that PyTorch executes, with the model's shapes, and every node says what it makes."""
    graph = fxcost.trace(mlp(), (2, 8), capture=capture)
    assert graph(torch.empty(2, 8, device="meta")).shape == (2, 4)
    assert [n.name for n in graph.graph.nodes if n.op != "output" and n.meta["tensor_meta"] is None] == []
    graph.graph.lint()


def test_the_reports_graph_carries_costs() -> None:
    """`Report.graph` has the cost of each node beside its tensors."""
    graph = fxcost.analyze(mlp(), (2, 8)).graph
    macs = [node.meta["fxcost"].cost.macs for node in graph.graph.nodes if node.op == "call_module"]
    assert macs == [2 * 8 * 16, 0, 2 * 16 * 4]


def test_a_graph_module_is_given() -> None:
    """What torch.fx traced is propagated as it is, and not changed."""
    graph = fx.symbolic_trace(mlp())
    code = graph.code
    report = fxcost.analyze(graph, (2, 8))
    assert (report.capture, report.macs, report.params) == ("given", 2 * MLP_MACS, 8 * 16 + 16 + 16 * 4 + 4)
    assert graph.code == code
    assert not any("fxcost" in node.meta or "tensor_meta" in node.meta for node in graph.graph.nodes)
    assert {p.device.type for p in graph.parameters()} == {"cpu"}


def test_a_graph_with_defaults_and_keywords() -> None:
    """Placeholders are filled by position, by name, or by their default; too many or too few are errors."""

    class Scaled(nn.Module):
        def forward(self, x: Tensor, y: Tensor, scale: float = 2.0) -> Tensor:
            return x @ y * scale

    graph = fx.symbolic_trace(Scaled())
    assert fxcost.analyze_graph(graph, [(2, 8), (8, 3)]).macs == 48
    assert fxcost.analyze_graph(graph, {"y": (8, 3), "x": (2, 8)}).macs == 48
    assert fxcost.analyze_graph(graph, [(2, 8)], {"y": (8, 3), "scale": 3.0}).macs == 48
    with pytest.raises(InputError, match="'y'"):
        fxcost.analyze_graph(graph, [(2, 8)])
    with pytest.raises(InputError):
        fxcost.analyze_graph(graph, [(2, 8), (8, 3), 1.0, 2.0])


def test_an_exported_program() -> None:
    """torch.export's graph has its own inputs, or takes the user's."""
    program = torch.export.export(mlp(), (torch.ones(2, 8),))
    report = fxcost.analyze(program)
    assert (report.macs, report.uncosted) == (2 * MLP_MACS, {})
    assert report.params == 8 * 16 + 16 + 16 * 4 + 4
    assert fxcost.analyze(program, torch.ones(2, 8)).cost == report.cost


def test_an_exported_program_with_a_dynamic_batch() -> None:
    """Where the batch is dynamic, other shapes do."""
    batch = torch.export.Dim("batch", min=2, max=64)
    program = torch.export.export(mlp(), (torch.ones(4, 8),), dynamic_shapes=({0: batch},))
    assert fxcost.analyze(program, (7, 8)).macs == 7 * MLP_MACS


def test_rules_of_one_analysis() -> None:
    """`rules` go before all others, for this analysis only."""

    def tenfold(op: OpRecord) -> fxcost.Cost:
        return fxcost.Cost(other_flops=10 * op.out.numel)

    report = fxcost.analyze(nn.ReLU(), (2, 3), rules={torch.ops.aten.relu: tenfold})
    assert report.flops == 60
    assert list(report.by_family()) == ["custom"]
    assert fxcost.analyze(nn.ReLU(), (2, 3)).flops == 6
    assert default_registry().find(torch.ops.aten.relu.default).function is not tenfold


def test_a_custom_operator_from_end_to_end() -> None:
    """Without a rule it is listed; strict refuses; with a rule it is costed."""
    library = torch.library.Library("fxcost_test_analyze", "DEF")
    library.define("mix(Tensor x, Tensor w) -> Tensor")
    library.impl("mix", lambda x, w: x.new_empty(x.shape[0], w.shape[1]), "Meta")
    mix = torch.ops.fxcost_test_analyze.mix
    model = Lambda(lambda self, x: mix(self.layer(x), torch.ones(8, 3)), layer=nn.Linear(8, 8))
    assert fxcost.analyze(model, (2, 8)).uncosted == {"fxcost_test_analyze.mix.default": 1}
    with pytest.raises(UncostedOperatorError, match=r"mix\.default"):
        fxcost.analyze(model, (2, 8), strict=True)

    def rule(op: OpRecord) -> fxcost.Cost:
        x, w = op.inputs
        return fxcost.Cost(macs=x.numel * w.shape[1])

    report = fxcost.analyze(model, (2, 8), strict=True, rules={mix: rule})
    assert (report.macs, report.uncosted) == (2 * 8 * 8 + 2 * 8 * 3, {})


@pytest.mark.parametrize("inputs", [(2, 8), (0, 8), (1, 8)], ids=str)
def test_empty_and_single_batches(inputs: Any) -> None:
    """A batch of none costs nothing but the reading of weights."""
    report = fxcost.analyze(mlp(), inputs)
    assert report.macs == inputs[0] * MLP_MACS
    assert (report.activations == 0) == (inputs[0] == 0)


def test_numbers_are_python_ints() -> None:
    """Exact, never NumPy's or floats, whatever their size."""
    report = fxcost.analyze(nn.Linear(10**6, 10**6, device="meta"), (10**6, 10**6))
    assert report.macs == 10**18
    assert {type(value) for value in (report.macs, report.flops, report.params, report.bytes_read)} == {int}
