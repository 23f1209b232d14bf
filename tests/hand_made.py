"""Recordings and reports written by hand, so that reports and views are tested without tracing a model."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from fxcost.records.cost import Cost, NodeCost, OpCost
from fxcost.records.recording import (
    ModuleCall,
    ModuleRecord,
    NodeRecord,
    Operator,
    OpRecord,
    ParameterRecord,
    Recording,
    TensorSpec,
)
from fxcost.report import Report

aten = torch.ops.aten
CONV, RELU, ADD, FLATTEN = aten.convolution.default, aten.relu.default, aten.add.Tensor, aten.flatten.using_ints
LINEAR, UNKNOWN = aten.addmm.default, aten.grid_sampler_3d.default


def spec(*shape: int, dtype: torch.dtype = torch.float32, storage: int = -1, offset: int = 0) -> TensorSpec:
    """A contiguous tensor."""
    stride, step = [], 1
    for n in reversed(shape):
        stride.append(step)
        step *= n
    return TensorSpec(shape, dtype, tuple(reversed(stride)), offset, storage)


def parameter(*names: str, shape: tuple[int, ...], storage: int = -1, **kwargs: object) -> ParameterRecord:
    """A parameter; `is_buffer`, `trainable`, `dtype` and `offset` as keywords."""
    is_buffer, trainable = bool(kwargs.pop("is_buffer", False)), bool(kwargs.pop("trainable", True))
    return ParameterRecord(names, spec(*shape, storage=storage, **kwargs), is_buffer, trainable and not is_buffer)


def operation(
    op: Operator,
    cost: Cost,
    inputs: tuple[TensorSpec, ...] = (),
    outputs: tuple[TensorSpec, ...] = (),
    *,
    family: str = "test",
    scope: str = "",
    reason: str | None = None,
) -> OpCost:
    """A priced operation."""
    return OpCost(OpRecord(op, inputs, outputs, scope), cost, family, reason)


@dataclass
class Builder:
    """Writes nodes down in execution order, each reading the node before it unless told otherwise."""

    nodes: list[NodeCost] = field(default_factory=list)

    def node(
        self,
        name: str,
        kind: str,
        target: str,
        module: str = "",
        out: tuple[TensorSpec, ...] = (),
        operations: tuple[OpCost, ...] = (),
        reads: tuple[str, ...] | None = None,
    ) -> Builder:
        """Append a node."""
        if reads is None:
            reads = (self.nodes[-1].name,) if self.nodes else ()
        outputs = {n.name: n.outputs for n in self.nodes}
        inputs = tuple(s for source in reads for s in outputs[source])
        record = NodeRecord(name, kind, target, module, reads, inputs, out, tuple(op.record for op in operations))
        self.nodes.append(NodeCost(record, operations, Cost.total(op.cost for op in operations)))
        return self

    def report(
        self,
        modules: tuple[ModuleRecord, ...],
        parameters: tuple[ParameterRecord, ...] = (),
        calls: tuple[ModuleCall, ...] = (),
        assumptions: tuple[str, ...] = (),
        model_type: str = "Net",
    ) -> Report:
        """A report on the nodes so far."""
        sizes = {record.spec.storage: record.spec.nbytes for record in parameters}
        recording = Recording(
            graph=torch.fx.Graph(),
            root=torch.nn.Module(),
            capture="symbolic",
            model_type=model_type,
            nodes=tuple(node.record for node in self.nodes),
            modules=modules,
            calls=calls,
            parameters=parameters,
            storage_bytes=tuple(sizes.get(i, 0) for i in range(max(sizes, default=-1) + 1)),
            assumptions=assumptions,
        )
        return Report(recording, tuple(self.nodes))


def module(name: str, type_name: str, *aliases: str) -> ModuleRecord:
    """A module of class `type_name`."""
    return ModuleRecord(name, type_name, f"tests.{type_name}", aliases)


IMAGE, FEATURES, FLAT, LOGITS = spec(2, 3, 8, 8), spec(2, 4, 8, 8), spec(2, 256), spec(2, 10)
CONV_COST = Cost(macs=13_824, bytes_read=1_984, bytes_written=2_048, activations=512)
BLOCK_COST = Cost(macs=18_432, bytes_read=2_640, bytes_written=2_048, activations=512)
RELU_COST = Cost(other_flops=512, bytes_read=2_048, bytes_written=2_048, activations=512)
ADD_COST = Cost(other_flops=512, bytes_read=4_096, bytes_written=2_048, activations=512)
HEAD_COST = Cost(macs=5_120, other_flops=20, bytes_read=12_328, bytes_written=80, activations=20)


def residual_net(uncosted: bool = False, assumptions: tuple[str, ...] = (), model_type: str = "Net") -> Report:
    """A stem, three equal residual blocks that share one ReLU, and a head: all that a view has to show.

    With `uncosted` the head's operator has no rule. The head's weight is tied to `tied.weight`.
    """
    build = Builder()
    conv, relu = operation(CONV, CONV_COST, (IMAGE,), (FEATURES,)), operation(RELU, RELU_COST, (FEATURES,), (FEATURES,))
    block, add = operation(CONV, BLOCK_COST, (FEATURES,), (FEATURES,)), operation(ADD, ADD_COST, (FEATURES,) * 2)
    build.node("x", "placeholder", "x", out=(IMAGE,))
    build.node("stem", "call_module", "stem", "stem", (FEATURES,), (conv,))
    modules = [
        module("", model_type),
        module("stem", "Conv2d"),
        module("relu", "ReLU", *(f"blocks.{i}.act" for i in range(3))),
    ]
    modules.append(module("blocks", "Sequential"))
    parameters = [parameter("stem.weight", shape=(4, 3, 3, 3), storage=0)]
    for i in range(3):
        before, path = build.nodes[-1].name, f"blocks.{i}"
        modules += [module(path, "Block"), module(f"{path}.conv", "Conv2d")]
        parameters.append(parameter(f"{path}.conv.weight", shape=(4, 4, 3, 3), storage=i + 1))
        build.node(f"blocks_{i}_conv", "call_module", f"{path}.conv", f"{path}.conv", (FEATURES,), (block,))
        build.node(f"relu_{i}", "call_module", "relu", "relu", (FEATURES,), (relu,))
        build.node(f"add_{i}", "call_function", "operator.add", path, (FEATURES,), (add,), (before, f"relu_{i}"))
    free = operation(FLATTEN, Cost(), (FEATURES,), (FLAT,), family="free", reason="a view")
    build.node("flatten", "call_function", "torch.flatten", "", (FLAT,), (free,))
    head = HEAD_COST if not uncosted else Cost(bytes_read=12_328, bytes_written=80, activations=20)
    op = operation(UNKNOWN if uncosted else LINEAR, head, (FLAT,), (LOGITS,), family="" if uncosted else "matmul")
    build.node("head", "call_module", "head", "head", (LOGITS,), (op,))
    build.node("output", "output", "output")
    calls = [ModuleCall(f"blocks.{i}", (), (), FEATURES, 2 + 3 * i, 5 + 3 * i) for i in range(3)]
    calls.append(ModuleCall("blocks", (), (), FEATURES, 2, 11))
    modules += [module("head", "Linear"), module("tied", "Embedding")]
    parameters.append(parameter("head.weight", "tied.weight", shape=(10, 256), storage=9))
    parameters.append(parameter("head.bias", shape=(10,), storage=10, trainable=False))
    parameters.append(parameter("counter", shape=(), storage=11, is_buffer=True, dtype=torch.int64))
    return build.report(tuple(modules), tuple(parameters), tuple(calls), assumptions, model_type)


def deep_chain(depth: int) -> Report:
    """`depth` modules inside each other, each of which adds its input to itself."""
    build = Builder()
    modules, path = [module("", "Net")], ""
    op = operation(ADD, ADD_COST, (FEATURES,), (FEATURES,))
    for i in range(depth):
        path = f"{path}.m".lstrip(".")
        modules.append(module(path, "Wrapper"))
        build.node(f"add_{i}", "call_function", "operator.add", path, (FEATURES,), (op,))
    return build.report(tuple(modules))


def transformer(layers: int, calls: bool = True) -> Report:
    """An embedding, equal layers in a list that is never called itself, each reading a mask, and a head."""
    build, modules, seen = Builder(), [module("", "Net"), module("layers", "ModuleList")], []
    op = operation(LINEAR, HEAD_COST, (FLAT,), (FLAT,))
    build.node("x", "placeholder", "x", out=(FLAT,)).node("mask", "placeholder", "mask", out=(FLAT,), reads=())
    build.node("embed", "call_module", "embed", "embed", (FLAT,), (op,), ("x",))
    modules.append(module("embed", "Embedding"))
    for i in range(layers):
        path, before, start = f"layers.{i}", build.nodes[-1].name, len(build.nodes)
        modules += [module(path, "Layer"), module(f"{path}.attn", "Attention"), module(f"{path}.fc", "Linear")]
        build.node(f"attn_{i}", "call_module", f"{path}.attn", f"{path}.attn", (FLAT,), (op,), (before, "mask"))
        build.node(f"size_{i}", "call_method", "size", path)
        build.node(f"fc_{i}", "call_module", f"{path}.fc", f"{path}.fc", (FLAT,), (op,), (f"attn_{i}",))
        build.node(f"add_{i}", "call_function", "operator.add", path, (FLAT,), (op,), (before, f"fc_{i}"))
        spans = ((f"{path}.attn", start, start + 1), (f"{path}.fc", start + 2, start + 3), (path, start, start + 4))
        seen += [ModuleCall(name, (), (), FLAT, begin, end) for name, begin, end in spans]
    build.node("head", "call_module", "head", "head", (LOGITS,), (op,)).node("output", "output", "output")
    modules.append(module("head", "Linear"))
    return build.report(tuple(modules), calls=tuple(seen) if calls else ())
