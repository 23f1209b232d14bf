"""The captured graph as an `fx.GraphModule`, every node carrying what was found out about it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import fx
from torch.fx.passes.shape_prop import TensorMetadata, _extract_tensor_metadata

from ..errors import ReportFileError
from ..records.cost import NodeCost
from ..records.recording import NodeRecord, Recording, TensorSpec


def to_graph_module(recording: Recording, nodes: Iterable[NodeCost] = ()) -> fx.GraphModule:
    """Generate the code of a recording's graph.

    Every node gets `meta["tensor_meta"]` (as ShapeProp sets it) and `meta["nn_module"]`, the FQN of its module; with
    `nodes` also `meta["fxcost"]`, the :class:`~fxcost.records.recording.NodeCost` of the node.

    Raises:
        ReportFileError: the recording was read from a file, and has no graph.
    """
    if recording.graph is None:
        raise ReportFileError("a report that is read from a file has no graph; analyse the model again to have one")
    costs = {node.name: node for node in nodes}
    records = {record.name: record for record in recording.nodes}
    for node in recording.graph.nodes:
        record = records.get(node.name)
        if record is None:
            continue
        node.meta["nn_module"] = record.module
        if (meta := tensor_meta(record)) is not None:
            node.meta["tensor_meta"] = meta
        if node.name in costs:
            node.meta["fxcost"] = costs[node.name]
    module = fx.GraphModule(recording.root, recording.graph, class_name=recording.model_type)
    module.meta["fxcost_capture"] = recording.capture
    return module


def tensor_meta(record: NodeRecord) -> Any:
    """`TensorMetadata` of what a node returns: one, a tuple for several tensors, None for none."""
    metas = tuple([_metadata(spec) for spec in record.outputs])
    return metas if len(metas) > 1 else metas[0] if metas else None


def _metadata(spec: TensorSpec) -> TensorMetadata:
    if len(spec.stride) != len(spec.shape):  # sparse, nested or quantized: no strides
        return _extract_tensor_metadata(torch.empty(spec.shape, dtype=spec.dtype, device="meta"))
    return _extract_tensor_metadata(torch.empty_strided(spec.shape, spec.stride, dtype=spec.dtype, device="meta"))
