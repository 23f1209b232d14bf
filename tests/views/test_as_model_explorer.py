"""Graphs for Model Explorer: read by its own package, with layers by module and an overlay for each number."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hand_made import Builder, module, residual_net
from torch import nn

import fxcost
from fxcost.views.as_model_explorer import OVERLAYS, node_data


def graph_of(report: fxcost.Report) -> dict[str, Any]:
    """The one graph of the file."""
    (graph,) = json.loads(report.to_model_explorer())["graphs"]
    return graph  # type: ignore[no-any-return]


def nodes_of(report: fxcost.Report) -> dict[str, Any]:
    """Nodes by id."""
    return {node["id"]: node for node in graph_of(report)["nodes"]}


def test_layers_are_modules() -> None:
    """A node lies in the layer of the module around it; layers carry what the module costs."""
    report = residual_net()
    nodes, groups = nodes_of(report), graph_of(report)["groupNodeAttributes"]
    assert list(nodes) == [node.name for node in report.nodes]
    assert nodes["stem"]["namespace"] == ""
    assert nodes["stem"]["label"] == "stem (Conv2d)"
    assert nodes["blocks_1_conv"]["namespace"] == nodes["add_1"]["namespace"] == "blocks/1"
    assert groups["blocks/1"]["FLOPs"] == f"{report.cost_of('blocks.1').flops:,}"
    assert groups[""]["parameters"] == f"{report.params:,}"


def test_edges_and_tensors() -> None:
    """Edges lead from what a node reads; outputs say shape, dtype and bytes."""
    nodes = nodes_of(residual_net())
    assert [edge["sourceNodeId"] for edge in nodes["add_2"]["incomingEdges"]] == ["add_1", "relu_2"]
    (output,) = nodes["stem"]["outputsMetadata"]
    assert output["attrs"] == [{"key": "shape", "value": "float32[2,4,8,8], 2.00 KiB"}]


def test_overlays_name_nodes_of_the_graph(tmp_path: Path) -> None:
    """Beside the graph stands a file for each number; its values add up to the total."""
    report = residual_net()
    report.to_model_explorer(tmp_path / "net.json")
    assert {path.name for path in tmp_path.iterdir()} == {"net.json", *(f"net.{name}.json" for name in OVERLAYS)}
    for number, total in (("flops", report.flops), ("macs", report.macs), ("bytes", report.cost.bytes_moved)):
        data = json.loads((tmp_path / f"net.{number}.json").read_text("utf-8"))["model"]
        assert set(data["results"]) <= set(nodes_of(report))
        assert sum(result["value"] for result in data["results"].values()) == total


def test_names_that_would_break_layers() -> None:
    """A slash in a name makes no layer of its own."""
    build = Builder().node("n", "call_function", "f", "a/b.c", reads=())
    report = build.report((module("", "Net"), module("a/b", "A"), module("a/b.c", "C")))
    assert nodes_of(report)["n"]["namespace"] == "a∕b/c"


def test_the_package_itself_reads_it(tmp_path: Path) -> None:
    """Model Explorer's own records take every field, of the right type, and no other is there."""
    explorer = pytest.importorskip("model_explorer", reason="the extra model-explorer")
    dacite = pytest.importorskip("dacite")
    report = fxcost.analyze(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten()), (1, 3, 8, 8))
    strict = dacite.Config(strict=True)
    collection = dacite.from_dict(
        explorer.graph_builder.GraphCollection, json.loads(report.to_model_explorer()), strict
    )
    (graph,) = collection.graphs
    assert [node.id for node in graph.nodes] == [node.name for node in report.nodes]
    for number in OVERLAYS:
        (data,) = json.loads(node_data(report, number)).values()
        read = dacite.from_dict(explorer.node_data_builder.GraphNodeData, data, strict)
        assert set(read.results) <= {node.id for node in graph.nodes}
    path = tmp_path / "net.json"
    report.to_model_explorer(path)
    config = explorer.config()
    config.add_model_from_path(str(path)).add_node_data_from_path(str(tmp_path / "net.flops.json"))
    assert config.has_data_to_encode_in_url()
