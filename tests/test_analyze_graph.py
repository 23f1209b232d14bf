"""The classic road of torch.fx: symbolic_trace, ShapeProp, cost; and fake tensors where shapes are from elsewhere."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp

import fxcost


class Branches(nn.Module):
    """Layers that were drawn, a residual sum where shapes allow it, and functions between them."""

    def __init__(self, layers: list[nn.Module], function: str) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            y = layer(x)
            x = {"relu": torch.relu, "mul": lambda t: t * 2, "cat": lambda t: torch.cat([t, t], -1)}[self.function](y)
        return torch.flatten(x.transpose(-1, -2), 1).mean(0)


@st.composite
def models(draw: st.DrawFn) -> tuple[nn.Module, torch.Tensor]:
    """A small network of convolutions, norms and pools, with an input that fits."""
    channels = width = draw(st.integers(1, 4))
    layers: list[nn.Module] = []
    for kind in draw(st.lists(st.sampled_from(["conv", "norm", "pool", "group"]), min_size=1, max_size=4)):
        if kind == "conv":
            following = draw(st.integers(1, 4))
            layers.append(nn.Conv2d(width, following, draw(st.sampled_from([1, 3])), padding=1))
            width = following
        elif kind == "group":
            layers.append(nn.Conv2d(width, 2 * width, 3, padding=1, groups=width))
            width *= 2
        else:
            layers.append(nn.BatchNorm2d(width) if kind == "norm" else nn.MaxPool2d(2, 1, padding=1))
    size = draw(st.integers(3, 8))
    x = torch.empty(draw(st.integers(1, 3)), channels, size, draw(st.integers(3, 8)))
    return Branches(layers, draw(st.sampled_from(["relu", "mul", "cat"]))).eval(), x


@given(models())
@settings(max_examples=40, deadline=None)
def test_shapes_are_shapeprops_and_costs_those_of_the_model(drawn: tuple[nn.Module, torch.Tensor]) -> None:
    """Every node has the shape, dtype and strides that ShapeProp found; the costs are those of the model itself."""
    model, x = drawn
    traced = fx.symbolic_trace(model)
    ShapeProp(traced).propagate(x)
    report = fxcost.analyze_graph(traced)
    ours = {node.name: node.meta["tensor_meta"] for node in report.graph.graph.nodes if node.op != "output"}
    theirs = {node.name: node.meta["tensor_meta"] for node in traced.graph.nodes if node.op != "output"}
    assert list(ours) == list(theirs)
    for name, meta in theirs.items():
        assert (ours[name].shape, ours[name].dtype, ours[name].stride) == (meta.shape, meta.dtype, meta.stride)
    whole = fxcost.analyze(model, x)
    assert (report.cost, report.params) == (whole.cost, whole.params)
    assert report.cost == fxcost.analyze_graph(traced, x).cost


def test_fake_values_serve_too() -> None:
    """What an exported program carries on its placeholders, whatever its parameters are."""
    program = torch.export.export(nn.Linear(4, 3), (torch.empty(2, 4),))
    module = program.graph_module
    assert all("val" in node.meta for node in module.graph.nodes if node.op == "placeholder")
    assert fxcost.analyze_graph(module).macs == 24


def test_nested_inputs_and_defaults() -> None:
    """A list of tensors is a list of metadata; an argument with a default value may be left alone."""

    def sums(pair: list[torch.Tensor], bias: torch.Tensor | None = None) -> torch.Tensor:
        return pair[0] @ pair[1]

    traced = fx.symbolic_trace(sums, concrete_args={"bias": None})
    traced.graph.find_nodes(op="placeholder")[0].meta["val"] = [torch.empty(2, 3), torch.empty(3, 4)]
    assert fxcost.analyze_graph(traced).macs == 24


def test_nothing_was_left() -> None:
    """The error says what is missing, and both ways to give it; a size that is a symbol is none."""
    traced = fx.symbolic_trace(nn.Linear(4, 3))
    with pytest.raises(fxcost.InputError, match=r"placeholder 'input_1'.*ShapeProp"):
        fxcost.analyze_graph(traced)
    program = torch.export.export(
        nn.Linear(4, 3), (torch.empty(2, 4),), dynamic_shapes=({0: torch.export.Dim("batch")},)
    )
    with pytest.raises(fxcost.InputError, match="a size that is a symbol"):
        fxcost.analyze_graph(program.graph_module)
    assert fxcost.analyze_graph(traced, (2, 4)).macs == 24
