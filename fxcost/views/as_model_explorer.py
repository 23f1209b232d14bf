"""Graphs for Model Explorer (ai-edge-model-explorer): every node, in layers by module, with its cost.

The graph is one file; what colours its nodes ("node data") is a file for each number, because Model Explorer reads them
one by one. Layers are the calls of modules; nodes and layers carry their costs as attributes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ..records.cost import Cost, NodeCost
from ..records.recording import TensorSpec
from ..text import units
from ..totals.sums import Sums
from .as_dot import RAMP, readable_on
from .blocks import MOST_LEVELS, call_paths
from .rows import operation_name

OVERLAYS: Mapping[str, tuple[str, Callable[[Cost], int]]] = {
    "flops": ("FLOPs", lambda cost: cost.flops),
    "macs": ("MACs", lambda cost: cost.macs),
    "bytes": ("bytes moved", lambda cost: cost.bytes_moved),
    "activations": ("activations", lambda cost: cost.activations),
}
"""Name and number of each overlay, by the ending of its file."""
GRAPH = "model"
"""The id of the graph, by which node data finds it."""


def to_model_explorer(report: Sums) -> str:
    """The graph as JSON text."""
    paths = call_paths(report, MOST_LEVELS)
    nodes = [_node(report, node, _layer(node, path)) for node, path in zip(report.nodes, paths, strict=True)]
    graph = {"id": GRAPH, "nodes": nodes, "groupNodeAttributes": _groups(report)}
    return _dumped({"label": report.model_type, "graphs": [graph]})


def node_data(report: Sums, number: str) -> str:
    """One overlay (a key of :data:`OVERLAYS`) as JSON text."""
    name, amount = OVERLAYS[number]
    results = {node.name: {"value": amount(node.cost)} for node in report.nodes if node.record.is_call}
    return _dumped({GRAPH: {"name": name, "results": results, "gradient": list(_stops())}})


def _stops() -> Iterator[dict[str, Any]]:
    """The colours of the ramp; where text turns from black to white it does so at once, as it is blended in between."""
    last, before = len(RAMP) - 1, ""
    for i, colour in enumerate(RAMP):
        text = readable_on(colour)
        if before not in ("", text):
            yield {"stop": (i - 0.5) / last, "bgColor": RAMP[i - 1], "textColor": before}
            yield {"stop": (i - 0.49) / last, "bgColor": colour, "textColor": text}
        yield {"stop": i / last, "bgColor": colour, "textColor": text}
        before = text


def _dumped(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")) + "\n"


def _layer(node: NodeCost, path: Iterable[tuple[str, int]]) -> str:
    """The layer of a node: the modules around it, parts of their names apart; not the module that it calls itself."""
    modules = [module for module, _ in path]
    if node.kind == "call_module" and modules and modules[-1] == node.target:
        modules.pop()
    return _namespace(modules[-1]) if modules else ""


def _namespace(module: str) -> str:
    return "/".join(part.replace("/", "∕") for part in module.split("."))


def _node(report: Sums, node: NodeCost, layer: str) -> dict[str, Any]:
    operation = operation_name(report, node.kind, node.target)
    attributes = {"name": node.name, "kind": node.kind, "target": node.target, "module": node.module}
    operators = dict.fromkeys(str(op.record.op) for op in node.operations)
    uncosted = ", ".join(map(str, node.uncosted))
    extra = {"operators": ", ".join(operators), **_numbers(node.cost), "not costed": uncosted}
    return {
        "id": node.name,
        "label": _label(node, operation),
        "namespace": layer,
        "attrs": _pairs({**attributes, **extra}),
        "incomingEdges": [
            {"sourceNodeId": source, "sourceNodeOutputId": "0", "targetNodeInputId": str(i)}
            for i, source in enumerate(node.record.input_nodes)
        ],
        "outputsMetadata": [
            {"id": str(i), "attrs": _pairs({"shape": _shape(spec)})} for i, spec in enumerate(node.outputs)
        ],
    }


def _label(node: NodeCost, operation: str) -> str:
    """A module's own name with its class, a function's last name, or a node's name."""
    if node.kind == "call_module":
        return f"{node.target.rpartition('.')[2]} ({operation})"
    return operation.rpartition(".")[2] or operation if node.record.is_call else node.name


def _shape(spec: TensorSpec) -> str:
    return f"{spec}, {units.byte_size(spec.nbytes)}"


def _numbers(cost: Cost) -> dict[str, str]:
    return {name: units.exact(amount(cost)) for name, amount in OVERLAYS.values()}


def _pairs(values: dict[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in values.items() if value]


def _groups(report: Sums) -> dict[str, dict[str, str]]:
    """What the side panel says of layers; the layer "" is the model."""
    found = {}
    for module in report.modules.values():
        numbers = {"parameters": units.exact(module.parameters.params), **_numbers(module.cost)}
        found[_namespace(module.name)] = {"class": module.type_name or report.model_type, **numbers}
    return found
