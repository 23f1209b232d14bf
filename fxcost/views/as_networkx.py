"""The graph for networkx, to be searched, cut and measured with its algorithms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..records.cost import NodeCost
from ..records.plain import COST_FIELDS
from ..records.recording import TensorSpec
from ..totals.sums import Sums

if TYPE_CHECKING:
    import networkx as nx


def to_networkx(report: Sums) -> nx.DiGraph[str]:
    """A directed graph whose nodes have the names of the fx nodes, in execution order.

    Nodes carry `name`, `kind`, `target`, `module`, `shapes` and `dtypes` of their results, `uncosted` operators, and
    each number of their cost by its name (`macs`, `flops`, `bytes_read` …). An edge carries what the first node hands
    to the second: `bytes`, `shape` and `dtype` of the (first) tensor, and `shapes` of all.
    The graph carries `model`, `capture`, `assumptions` and `uncosted`.
    """
    import networkx as nx

    graph: nx.DiGraph[str] = nx.DiGraph(
        model=report.model_type, capture=report.capture, assumptions=report.assumptions, uncosted=report.uncosted
    )
    outputs = {node.name: node.outputs for node in report.nodes}
    for node in report.nodes:
        graph.add_node(node.name, **_node(node))
    for node in report.nodes:
        for source in node.record.input_nodes:
            graph.add_edge(source, node.name, **_edge(outputs.get(source, ())))
    return graph


def _node(node: NodeCost) -> dict[str, Any]:
    return {
        "name": node.name,
        "kind": node.kind,
        "target": node.target,
        "module": node.module,
        "shapes": tuple(spec.shape for spec in node.outputs),
        "dtypes": tuple(spec.dtype_name for spec in node.outputs),
        "uncosted": tuple(map(str, node.uncosted)),
        **{name: getattr(node.cost, name) for name in COST_FIELDS},
    }


def _edge(specs: tuple[TensorSpec, ...]) -> dict[str, Any]:
    return {
        "bytes": sum(spec.nbytes for spec in specs),
        "shape": specs[0].shape if specs else None,
        "dtype": specs[0].dtype_name if specs else None,
        "shapes": tuple(spec.shape for spec in specs),
    }
