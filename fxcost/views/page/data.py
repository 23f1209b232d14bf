"""The page's data: modules, nodes and operators as arrays of numbers that refer to the tables of store.py.

`assets/core.js` reads this layout; the two are one format without a version, as a page carries its own reader.
"""

from __future__ import annotations

from typing import Any

from ...explain.explain import explained
from ...memory.analysis import Analysis
from ...records.cost import NodeCost, OpCost
from ...records.plain import COST_FIELDS
from ...records.recording import TensorSpec, tensor_specs
from ...text.words import printable
from ...totals.module_tree import ModuleCost
from ...totals.parameters import ParameterTotals
from ..rows import operation_name, runs_of
from .graph import graph_data
from .memory import memory_data
from .store import Store, number


def page_data(report: Analysis) -> dict[str, Any]:
    """Everything that the page's scripts draw, but a diff."""
    store = Store(explained)
    module_number = {name: i for i, name in enumerate(report.modules)}
    node_number = {node.name: i for i, node in enumerate(report.nodes)}
    saved, given = _Saved(report), _Given(report)
    data: dict[str, Any] = {
        "model": printable(report.model_type),
        "costFields": COST_FIELDS,
        "hasSaved": report.training is not None,
        "modules": [_module(store, report, m, module_number, saved, given) for m in report.modules.values()],
        "nodes": [_node(store, report, node, module_number, node_number, saved) for node in report.nodes],
        "operators": [
            [store.text(o.name), store.text(o.family), o.count, store.cost(o.cost)] for o in report.operators
        ],
        "total": store.cost(report.cost),
        "memory": memory_data(report),
        "graph": graph_data(store, report),
    }
    return {**data, **store.tables()}


class _Saved:
    """Bytes saved for backward, by node and by module; None everywhere if no training step was analysed."""

    def __init__(self, report: Analysis) -> None:
        self.training = report.training
        nodes = report.training.nodes if report.training is not None else ()
        self._nodes = {node.name: node.cost.saved_bytes for node in nodes}

    def of_node(self, name: str) -> int | None:
        """What a node saves."""
        return None if self.training is None else self._nodes.get(name, 0)

    def of_module(self, name: str) -> int | None:
        """What a module saves, children included."""
        if self.training is None:
            return None
        step = self.training.modules.get(name)
        return step.saved_bytes if step is not None else 0


class _Given:
    """What the first call of each module was given, and the size of the kernel that it moves over its input."""

    def __init__(self, report: Analysis) -> None:
        self.inputs: dict[str, tuple[TensorSpec, ...]] = {}
        self.kernels: dict[str, str] = {}
        for call in report.recording.calls:
            self.inputs.setdefault(report.canonical(call.module), tuple(tensor_specs((call.args, call.kwargs))))
        for node in report.nodes:
            if node.kind == "call_module":
                self.inputs.setdefault(report.canonical(node.target), node.inputs)
            for op in node.operations:
                kernel = _kernel(op)
                if kernel:
                    inside = f"{node.module}.{op.record.scope}".strip(".")
                    self.kernels.setdefault(report.canonical(inside), kernel)


def _kernel(op: OpCost) -> str:
    """The size of a convolution's or a pool's kernel; "" for all else."""
    schema = getattr(op.record.op, "_schema", None)
    named = dict(zip((a.name for a in schema.arguments), op.record.args, strict=False)) if schema is not None else {}
    size, weight = named.get("kernel_size"), named.get("weight")
    if op.family == "convolution" and isinstance(weight, TensorSpec):
        size = weight.shape[2:]
    return "×".join(map(str, size)) if isinstance(size, tuple) else ""


def _runs(report: Analysis, module: ModuleCost) -> list[int]:
    """How many of a module's children, one after the other, are drawn as one; [] if each is alone."""
    lengths = [len(run) for run in runs_of([report.modules[child] for child in module.children], fold=True)]
    return lengths if any(length > 1 for length in lengths) else []


def _module(
    store: Store, report: Analysis, module: ModuleCost, numbers: dict[str, int], saved: _Saved, given: _Given
) -> list[Any]:
    """[FQN, class, parent, calls, outputs, own cost, cost, own parameters, parameters, saved, operators, aliases,
    inputs, kernel, lengths of runs of children].
    """
    operators = dict.fromkeys(name.split(".")[-2] if "." in name else name for name in module.own_operators)
    return [
        store.text(module.name),
        store.text(module.type_name),
        -1 if module.parent is None else numbers[module.parent],
        module.calls,
        store.specs_of(module.outputs),
        store.cost(module.own),
        store.cost(module.cost),
        _parameters(module.own_parameters),
        _parameters(module.parameters),
        saved.of_module(module.name),
        [store.text(name) for name in operators],
        [store.text(name) for name in module.aliases],
        store.specs_of(given.inputs.get(module.name, ())),
        store.text(given.kernels.get(module.name, "")),
        _runs(report, module),
    ]


def _parameters(totals: ParameterTotals) -> list[int | str]:
    """[parameters, trainable ones, their bytes, buffers, their bytes]; short where there is nothing."""
    numbers = (totals.params, totals.trainable_params, totals.param_bytes, totals.buffers, totals.buffer_bytes)
    return [number(n) for n in numbers] if any(numbers) else []


def _node(
    store: Store,
    report: Analysis,
    node: NodeCost,
    modules: dict[str, int],
    nodes: dict[str, int],
    saved: _Saved,
) -> list[Any]:
    """[name, kind, what is called, module, inputs, outputs, run, cost, nodes read, saved, target]."""
    return [
        store.text(node.name),
        store.text(node.kind),
        store.text(operation_name(report, node.kind, node.target)),
        modules.get(report.canonical(node.module), 0),
        store.specs_of(node.inputs),
        store.specs_of(node.outputs),
        store.run(node.operations),
        store.cost(node.cost),
        [nodes[name] for name in node.record.input_nodes if name in nodes],
        saved.of_node(node.name),
        store.text(node.target),
    ]
