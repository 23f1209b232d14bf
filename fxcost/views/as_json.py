"""The whole report as plain data: dicts, lists, strings and exact integers, in a layout with a version.

The modules are a flat list in which each names its parent, so that no depth of nesting is too much for a reader.
"""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from ..cost import Cost, NodeCost, OpCost
from ..records import ParameterRecord, TensorSpec

if TYPE_CHECKING:
    from ..module_tree import ModuleCost
    from ..parameters import ParameterTotals
    from ..report import Report
    from ..sums import OperatorCost

SCHEMA = "fxcost.report/1"
"""Name and version of the layout. The version goes up when a field is removed or changes its meaning."""

COST_FIELDS = (
    "macs",
    "flops",
    "other_flops",
    "transcendentals",
    "zero_accumulators",
    "bytes_read",
    "bytes_written",
    "activations",
)
"""The numbers of a cost that views list, in order."""


def to_json(report: Report) -> str:
    """The report as JSON text, ending in a newline."""
    return json.dumps(to_dict(report), indent=1, ensure_ascii=False) + "\n"


def to_dict(report: Report) -> dict[str, Any]:
    """The report as plain data."""
    import torch

    return {
        "schema": SCHEMA,
        "fxcost": _version(),
        "torch": str(torch.__version__),
        "model": {
            "type": report.model_type,
            "capture": report.capture,
            "inputs": [
                {"name": node.name, "tensors": [spec_dict(spec) for spec in node.outputs]}
                for node in report.nodes
                if node.kind == "placeholder"
            ],
        },
        "totals": cost_dict(report.cost),
        "parameters": _parameters(report),
        "families": [_group(entry) for entry in report.families],
        "operators": [{**_group(entry), "family": entry.family} for entry in report.operators],
        "modules": [_module(module) for module in report.modules.values()],
        "nodes": [_node(node) for node in report.nodes],
        "coverage": {"nodes": len(report.nodes), "costed_nodes": report.costed_nodes},
        "uncosted": report.uncosted,
        "assumptions": list(report.assumptions),
    }


def cost_dict(cost: Cost) -> dict[str, int]:
    """A cost by the names of its numbers."""
    return {name: getattr(cost, name) for name in COST_FIELDS}


def spec_dict(spec: TensorSpec) -> dict[str, Any]:
    """A tensor's shape, dtype and bytes."""
    return {"shape": list(spec.shape), "dtype": spec.dtype_name, "bytes": spec.nbytes}


def _version() -> str:
    try:
        return version("fxcost")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "unknown"


def _parameters(report: Report) -> dict[str, Any]:
    return {
        **_elements(report.parameter_totals),
        "params_by_dtype": report.params_by_dtype,
        "macs_by_dtype": report.macs_by_dtype,
        "tensors": [_parameter(record) for record in report.parameters],
    }


def _elements(totals: ParameterTotals) -> dict[str, int]:
    return {
        "params": totals.params,
        "trainable_params": totals.trainable_params,
        "buffers": totals.buffers,
        "param_bytes": totals.param_bytes,
        "buffer_bytes": totals.buffer_bytes,
    }


def _parameter(record: ParameterRecord) -> dict[str, Any]:
    kind = "buffer" if record.is_buffer else "parameter"
    return {"names": list(record.names), "kind": kind, "trainable": record.trainable, **spec_dict(record.spec)}


def _group(entry: OperatorCost) -> dict[str, Any]:
    return {"name": entry.name, "count": entry.count, "cost": cost_dict(entry.cost)}


def _module(module: ModuleCost) -> dict[str, Any]:
    return {
        "name": module.name,
        "type": module.type_name,
        "parent": module.parent,
        "aliases": list(module.aliases),
        "calls": module.calls,
        "outputs": [spec_dict(spec) for spec in module.outputs],
        "parameters": _elements(module.parameters),
        "cost": cost_dict(module.cost),
        "own_cost": cost_dict(module.own),
    }


def _node(node: NodeCost) -> dict[str, Any]:
    return {
        "name": node.name,
        "kind": node.kind,
        "target": node.target,
        "module": node.module,
        "input_nodes": list(node.record.input_nodes),
        "inputs": [spec_dict(spec) for spec in node.inputs],
        "outputs": [spec_dict(spec) for spec in node.outputs],
        "cost": cost_dict(node.cost),
        "operations": [_operation(op) for op in node.operations],
    }


def _operation(op: OpCost) -> dict[str, Any]:
    return {
        "operator": str(op.record.op),
        "family": op.family or None,
        "reason": op.reason,
        "scope": op.record.scope,
        "inputs": [spec_dict(spec) for spec in op.record.inputs],
        "outputs": [spec_dict(spec) for spec in op.record.outputs if spec is not None],
        "cost": cost_dict(op.cost),
    }
