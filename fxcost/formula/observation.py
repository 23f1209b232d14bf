"""What one analysis saw, taken apart: a *structure* without sizes, and all sizes as plain ints.

Two analyses with one structure ran the same operators in the same modules, with the same sharing of memory; so their
sizes can be compared one by one, fitted, and put back in place of the ints (`decoded`). What costs nothing whatever its
sizes (views, metadata) is left out: whether a slice that keeps everything is an alias or a slice says nothing on cost.

Strides and offsets are left out too. Of them counts alone whether a dimension is broadcast, and whether two tensors of
one operator are the same; both are part of the structure.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..memory.analysis import Analysis
from ..memory.lifetimes import Births, LiveTensor, deaths_in_graph
from ..records.cost import Cost, OpCost
from ..records.recording import OpRecord, ParameterRecord, Recording, TensorSpec, TrainingRecord
from ..rules.pricing import cost_operation
from ..rules.registry import Registry

Sizes = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Item:
    """A part of an observation that is fitted as one: what it is (`key`), without its `sizes`.

    `label` says for messages what it is. `cost` is what an operation cost in this analysis, None for other items.
    """

    kind: str
    module: str
    key: Any
    sizes: Sizes
    label: str
    cost: Cost | None = None
    family: str = ""

    @property
    def structure(self) -> tuple[str, str, Any]:
        """What two analyses must have in common."""
        return self.kind, self.module, self.key


@dataclass(frozen=True, slots=True)
class Observation:
    """An analysis as items, in order, and lifetimes by the pass that they belong to.

    `lifetimes` maps "graph", "eager" and "step" to (born, died) for each item of kind "graph", "eager", "step": counted
    in moments at which memory is made, so that operators which make none do not matter.
    """

    items: tuple[Item, ...]
    lifetimes: Mapping[str, tuple[tuple[int, int], ...]]


def observe(report: Analysis, step: TrainingRecord | None, registry: Registry) -> Observation:
    """Take an analysis apart."""
    encoder = Encoder(registry)
    items = [*_operations(report, encoder), *_parameters(report)]
    lifetimes: dict[str, tuple[tuple[int, int], ...]] = {}
    recording = report.recording
    residents = list(_residents(recording))
    items.extend(_resident_items(residents, recording.storage_bytes, "resident"))
    kept = frozenset(spec.storage for _, spec in residents)
    births = Births(recording.nodes, recording.storage_bytes, dict.fromkeys(kept, ""))
    passes = {"graph": births.lifetimes(deaths_in_graph(recording.nodes, births.starts))}
    if recording.deaths is not None:
        passes["eager"] = births.lifetimes(dict(recording.deaths))
    if step is not None:
        assert report.training is not None
        items.extend(_step_operations(report, step, encoder))
        sizes = step.storage_bytes
        constants = [("parameter", p.spec) for p in step.parameters] + [("input", s) for s in step.inputs]
        there = frozenset(spec.storage for _, spec in constants)
        nodes = (*step.nodes, *step.backward)
        born = Births(nodes, sizes, dict.fromkeys(there, "")).lifetimes(dict(step.deaths))
        passes["step"] = born
        items.extend(_saved(report, step, {t.storage: t.spec for t in born}, there))
        totals = (
            ("parameter_bytes", report.training.parameter_bytes),
            ("buffer_bytes", report.training.buffer_bytes),
            ("input_bytes", report.training.input_bytes),
            ("optimizer_bytes", report.training.optimizer_bytes),
            ("gradient_bytes", report.training.gradient_bytes),
        )
        items.extend(Item("total", "", name, (value,), name) for name, value in totals)
    for name, tensors in passes.items():
        found, spans = _lived(name, tensors)
        items.extend(found)
        lifetimes[name] = spans
    return Observation(tuple(items), lifetimes)


# Operations -----------------------------------------------------------------------------------------------------


def _operations(report: Analysis, encoder: Encoder) -> Iterator[Item]:
    for node in report.nodes:
        for op in node.operations:
            yield from encoder.item("forward", _module(report, node.module, op.record.scope), op)


def _step_operations(report: Analysis, step: TrainingRecord, encoder: Encoder) -> Iterator[Item]:
    """Operators of both passes, booked as `memory/training.py` does."""
    counted = step.counted
    for node in counted:
        for op in node.operations:
            yield from encoder.item("step.forward", _module(report, node.module, op.scope), encoder.priced(op))
    ran = (op for node in step.backward for op in node.operations)
    for op, owner, again in zip(ran, step.owners, step.recomputed, strict=True):
        if owner < len(counted):
            module = _module(report, step.nodes[owner].module if owner >= 0 else "", op.scope)
            yield from encoder.item("step.recomputed" if again else "step.backward", module, encoder.priced(op))


def _module(report: Analysis, module: str, scope: str) -> str:
    return report.canonical(f"{module}.{scope}".strip(".") if scope else module)


class Encoder:
    """Takes records apart; equal records of a report share their arguments, and are taken apart once."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self._known: dict[tuple[int, int, int], tuple[Any, Sizes] | None] = {}
        self._prices: dict[tuple[int, int, int], OpCost] = {}
        self._kept: list[OpRecord] = []

    def item(self, kind: str, module: str, op: OpCost) -> Iterator[Item]:
        """The item of an operation, none if it is free."""
        record = op.record
        identity = id(record.op), id(record.args), id(record.outputs)
        if identity not in self._known:
            rule = self.registry.find(record.op)
            free = rule is not None and rule.function is None
            self._known[identity] = None if free else encoded(record)
            self._kept.append(record)
        known = self._known[identity]
        if known is not None:
            yield Item(kind, module, known[0], known[1], str(record.op), op.cost, op.family)

    def priced(self, record: OpRecord) -> OpCost:
        """The price of an operation of a training step."""
        identity = id(record.op), id(record.args), id(record.outputs)
        if identity not in self._prices:
            self._prices[identity] = cost_operation(record, self.registry)
            self._kept.append(record)
        return self._prices[identity]


def encoded(record: OpRecord) -> tuple[Any, Sizes]:
    """A record without its sizes, and the sizes."""
    sizes: list[int] = []
    windows: dict[TensorSpec, int] = {}
    storages: dict[int, int] = {}

    def spec(value: TensorSpec) -> Any:
        sizes.extend(value.shape)
        if value.stored is not None:
            sizes.append(value.stored)
        window = windows.setdefault(value, len(windows))
        storage = storages.setdefault(value.storage, len(storages)) if value.storage >= 0 else -1
        broadcast = tuple(bool(s) for s in value.stride)
        return "tensor", len(value.shape), value.dtype, broadcast, window, storage, value.stored is not None

    def walk(value: Any) -> Any:
        if isinstance(value, TensorSpec):
            return spec(value)
        if isinstance(value, (tuple, list)):
            return type(value), tuple(walk(item) for item in value)
        if isinstance(value, OpRecord):
            return "operation", value.op, walk(value.args), walk(value.outputs)
        if type(value) is int:
            sizes.append(value)
            return "size"
        if isinstance(value, float):
            return "float", 0 if value == 0 else 1 if value == 1 else _Any(value)
        try:
            hash(value)
        except TypeError:
            return "object", _Any(value)
        return "object", value

    return (record.op, walk(record.args), walk(record.outputs)), tuple(sizes)


class _Any:
    """A value that is not compared: one analysis's stands for all."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Any) and type(self.value) is type(other.value)

    def __hash__(self) -> int:
        return hash(type(self.value))


def decoded(key: Any, sizes: Iterable[int]) -> OpRecord:
    """The record again, with other sizes."""
    left = iter(sizes)

    def walk(part: Any) -> Any:
        if part == "size":
            return next(left)
        kind = part[0]
        if kind == "tensor":
            _, rank, dtype, broadcast, window, storage, sparse = part
            shape = tuple(next(left) for _ in range(rank))
            stored = next(left) if sparse else None
            return TensorSpec(shape, dtype, tuple(map(int, broadcast)), window, storage, stored)
        if kind == "operation":
            return OpRecord(part[1], walk(part[2]), walk(part[3]))
        if kind in ("float", "object"):
            return part[1].value if isinstance(part[1], _Any) else float(part[1]) if kind == "float" else part[1]
        return kind(walk(item) for item in part[1])

    op, args, outputs = key
    return OpRecord(op, walk(args), walk(outputs))


# Parameters and memory ------------------------------------------------------------------------------------------


def _parameters(report: Analysis) -> Iterator[Item]:
    for record in report.parameters:
        spec, module = record.spec, record.name.rpartition(".")[0]
        key = (*_tensor_key(spec), record.is_buffer, record.trainable)
        yield Item("parameter", report.canonical(module), key, _tensor_sizes(spec), record.name)


def _tensor_key(spec: TensorSpec) -> tuple[Any, ...]:
    return len(spec.shape), spec.dtype, tuple(bool(s) for s in spec.stride), spec.stored is not None


def _tensor_sizes(spec: TensorSpec) -> Sizes:
    return spec.shape if spec.stored is None else (*spec.shape, spec.stored)


def parameter_of(key: tuple[Any, ...], sizes: Iterable[int], name: str) -> ParameterRecord:
    """The record of a parameter again, with other sizes."""
    rank, dtype, broadcast, sparse, is_buffer, trainable = key
    values = tuple(sizes)
    stored = values[rank] if sparse else None
    spec = TensorSpec(values[:rank], dtype, tuple(map(int, broadcast)), 0, -1, stored)
    return ParameterRecord((name,), spec, is_buffer, trainable)


def _residents(recording: Recording) -> Iterator[tuple[str, TensorSpec]]:
    """Parameters, buffers, inputs and constants: each storage once, as `memory/lifetimes.py` has them."""
    found = [("buffer" if p.is_buffer else "parameter", p.spec) for p in recording.parameters]
    found.sort(key=lambda entry: entry[0] == "buffer")
    found.extend(("input", s) for node in recording.nodes if node.kind == "placeholder" for s in node.outputs)
    found.extend(("buffer", s) for node in recording.nodes if node.kind == "get_attr" for s in node.outputs)
    seen: set[int] = set()
    for kind, spec in found:
        if spec.storage not in seen:
            yield kind, spec
        if spec.storage >= 0:
            seen.add(spec.storage)


def _resident_items(residents: Iterable[tuple[str, TensorSpec]], sizes: Sizes, kind: str) -> Iterator[Item]:
    for name, spec in residents:
        yield _memory_item(kind, name, spec, sizes[spec.storage] if spec.storage >= 0 else spec.nbytes, name)


def _memory_item(kind: str, module: str, spec: TensorSpec | None, nbytes: int, label: str) -> Item:
    """Memory by the sizes of the tensor that it was made for, or by its bytes where these are others."""
    if spec is not None and spec.stored is None and spec.nbytes == nbytes:
        return Item(kind, module, spec.dtype.itemsize, spec.shape, label)
    return Item(kind, module, 0, (nbytes,), label)


def memory_of(key: int, sizes: Iterable[int]) -> int:
    """Bytes of a memory item."""
    total = key or 1
    for size in sizes:
        total = total * size
    return total


def _saved(
    report: Analysis, step: TrainingRecord, specs: Mapping[int, TensorSpec], resident: frozenset[int]
) -> Iterator[Item]:
    counted = step.counted
    for number, i in step.saved:
        if number not in resident and i < len(counted):
            module = _module(report, counted[i].module, "")
            yield _memory_item("saved", module, specs.get(number), step.storage_bytes[number], "saved for backward")


def _lived(name: str, tensors: Iterable[LiveTensor]) -> tuple[list[Item], tuple[tuple[int, int], ...]]:
    """Memory in the order in which it is made, and from which moment until which it lives.

    A moment is a tick at which some memory is made: no other one can be the worst.
    """
    ordered = sorted(tensors, key=lambda t: t.born)
    moments = sorted({t.born for t in ordered})
    spans = tuple((bisect_left(moments, t.born), bisect_left(moments, t.died)) for t in ordered)
    items = [_memory_item(name, t.module, t.spec, t.nbytes, t.operator) for t in ordered]
    return items, spans
