"""The whole report as plain data: dicts, lists, strings and exact integers, in a layout with a version.

The modules are a flat list in which each names its parent, so that no depth of nesting is too much for a reader.
`recording` is for programs: all that the report rests on, without loss (codec.py), from which `Report.from_json` makes
it again.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib.resources import files
from typing import Any

from ..memory.analysis import Analysis
from ..memory.lifetimes import LiveTensor
from ..memory.memory import Memory
from ..memory.training import StepCost, Training
from ..records.codec import Packer
from ..records.communication import Collective
from ..records.cost import NodeCost, OpCost
from ..records.plain import cost_dict, spec_dict
from ..records.recording import ParameterRecord
from ..records.skeleton import bones
from ..text.version import VERSION
from ..totals.module_tree import ModuleCost
from ..totals.parameters import ParameterTotals
from ..totals.sums import OperatorCost

SCHEMA = "fxcost.report/1"
"""Name and version of the layout. The version goes up when a field is removed or changes its meaning."""


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of what :func:`to_dict` gives: of the layout's current version.

    >>> schema()["properties"]["schema"]["const"]
    'fxcost.report/1'
    """
    name = f"{SCHEMA.removeprefix('fxcost.').replace('/', '-')}.schema.json"
    found: dict[str, Any] = json.loads(files("fxcost").joinpath("schemas", name).read_text(encoding="utf-8"))
    return found


def to_json(report: Analysis) -> str:
    """The report as JSON text, ending in a newline; a module, node or tensor stands in one line."""
    parts = [f" {_dumped(name)}: {_lines(value)}" for name, value in to_dict(report).items()]
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _lines(value: Any) -> str:
    if not isinstance(value, list) or not value:
        return _dumped(value)
    return "[\n  " + ",\n  ".join(map(_dumped, value)) + "\n ]"


_dumped = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


def to_dict(report: Analysis) -> dict[str, Any]:
    """The report as plain data."""
    import torch

    return {
        "schema": SCHEMA,
        "fxcost": VERSION,
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
        "expert_layers": [{**asdict(layer), "touched": layer.touched} for layer in report.expert_layers],
        "memory": _memory(report.memory),
        "training": None if report.training is None else _training(report.training),
        "rank": None if report.rank is None else _rank(report),
        "formula": report.formulas,
        "recording": _recording(report),
    }


def _recording(report: Analysis) -> dict[str, Any]:
    """All that the report rests on; the graph can't be written, the modules become bones."""
    recording, packer = report.recording, Packer()
    return {
        "run": packer.pack(recording),
        "nodes": packer.pack(report.nodes),
        "training": packer.pack(report.training),
        "modules": packer.pack(bones(recording.root, recording.parameters)),
        "tables": packer.tables,
    }


def _parameters(report: Analysis) -> dict[str, Any]:
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


def _memory(memory: Memory) -> dict[str, Any]:
    return {
        "parameter_bytes": memory.parameter_bytes,
        "buffer_bytes": memory.buffer_bytes,
        "input_bytes": memory.input_bytes,
        "state_bytes": memory.state_bytes,
        "peak_activation_bytes": memory.peak_activation_bytes,
        "peak_bytes": memory.peak_bytes,
        "peak_eager_bytes": memory.peak_eager_bytes,
        "by_dtype": memory.by_dtype,
        "at_peak": [_live(tensor) for tensor in memory.at_peak],
        "timeline": [asdict(moment) for moment in memory.timeline],
    }


def _live(tensor: LiveTensor) -> dict[str, Any]:
    return {
        "node": tensor.node,
        "module": tensor.module,
        "operator": tensor.operator,
        **spec_dict(tensor.spec),
        "storage_bytes": tensor.nbytes,
    }


def _training(training: Training) -> dict[str, Any]:
    return {
        **_step(training.cost),
        "parameter_bytes": training.parameter_bytes,
        "buffer_bytes": training.buffer_bytes,
        "input_bytes": training.input_bytes,
        "gradient_bytes": training.gradient_bytes,
        "optimizer": training.optimizer,
        "optimizer_bytes": training.optimizer_bytes,
        "peak_bytes": training.peak_bytes,
        "peak_parts": dict(training.peak_parts),
        "at_peak": [_live(tensor) for tensor in training.at_peak],
        "modules": [{"name": name, **_step(step)} for name, step in training.modules.items()],
        "nodes": [{"name": node.name, "module": node.module, **_step(node.cost)} for node in training.nodes],
        "uncosted": dict(training.uncosted),
        "assumptions": list(training.assumptions),
    }


def _rank(report: Analysis) -> dict[str, Any]:
    rank = report.rank
    assert rank is not None
    step = report.training.collectives if report.training is not None else ()
    return {
        "rank": rank.rank,
        "world_size": rank.world_size,
        "mesh": [
            {"name": name, "size": size, "at": at} for (name, size), at in zip(rank.mesh, rank.coordinates, strict=True)
        ],
        "unsharded_params": rank.unsharded_params,
        "collectives": [_collective(c) for c in report.communication.collectives],
        "step_collectives": [_collective(c) for c in step],
    }


def _collective(c: Collective) -> dict[str, Any]:
    return {
        "kind": c.kind,
        "operator": c.op,
        "dtype": c.dtype,
        "payload_bytes": c.payload_bytes,
        "sent_bytes": c.sent_bytes,
        "received_bytes": c.received_bytes,
        "mesh_dim": c.mesh_dim,
        "ranks": c.group.size,
        "peer": c.peer,
        "module": c.module,
        "node": c.node,
        "phase": c.phase,
        "position": c.position,
        "blocking": c.blocking,
    }


def _step(step: StepCost) -> dict[str, Any]:
    costs = {"forward": step.forward, "backward": step.backward, "recomputed": step.recomputed, "total": step.total}
    return {**{name: cost_dict(cost) for name, cost in costs.items()}, "saved_bytes": step.saved_bytes}
