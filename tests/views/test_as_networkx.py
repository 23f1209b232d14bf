"""The networkx graph."""

from __future__ import annotations

import networkx as nx
from hand_made import residual_net


def test_nodes_carry_what_is_known_of_them() -> None:
    """Name, kind, target, module, shapes, dtypes and each number of the cost."""
    graph = residual_net(True, ("Routing is uniform.",)).to_networkx()
    node = graph.nodes["blocks_1_conv"]
    assert (node["name"], node["kind"], node["target"]) == ("blocks_1_conv", "call_module", "blocks.1.conv")
    assert (node["module"], node["shapes"], node["dtypes"]) == ("blocks.1.conv", ((2, 4, 8, 8),), ("float32",))
    assert (node["macs"], node["flops"], node["bytes_read"]) == (18_432, 36_864, 2_640)
    assert graph.nodes["head"]["uncosted"] == ("aten.grid_sampler_3d.default",)
    assert graph.graph["assumptions"] == ("Routing is uniform.",)
    assert graph.graph["uncosted"] == {"aten.grid_sampler_3d.default": 1}


def test_edges_carry_tensors() -> None:
    """2·4·8·8 floats of 4 bytes pass from a block to the next one's convolution and addition."""
    graph = residual_net().to_networkx()
    for target in ("blocks_1_conv", "add_1"):
        assert graph.edges["add_0", target]["bytes"] == 2_048
        assert graph.edges["add_0", target]["shape"] == (2, 4, 8, 8)
    assert sorted(graph.predecessors("add_1")) == ["add_0", "relu_1"]


def test_the_graph_is_what_ran() -> None:
    """No cycles; execution order is kept; the numbers add up to the total."""
    report = residual_net()
    graph = report.to_networkx()
    assert nx.is_directed_acyclic_graph(graph)
    assert list(graph) == [node.name for node in report.nodes]
    assert sum(graph.nodes[name]["flops"] for name in graph) == report.flops
