"""A report as it is when weights and caches are stored in other formats: the same graph, other bytes.

Which weights: a format by name changes the matrices of products (embeddings, norms and small convolutions stay); a
mapping says it by patterns of names, first match first; `"config"` follows the `quantization_config` of a model,
`"files"` the headers of the files in its folder. Arithmetic stays as it is: weights that are only stored small are
multiplied in the activations' dtype.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from math import prod
from typing import Any, TypeVar

import torch

from ..errors import InputError
from ..memory.analysis import Analysis
from ..records.cost import Cost, NodeCost
from ..records.recording import ParameterRecord, Recording, TensorSpec
from ..totals.parameters import unique_parameters
from .formats import Format, named
from .reads import Residents, reads_of

Weights = str | Mapping[str, str] | None
"""A format for all matrices, formats by pattern, or None: as they are."""
Kind = TypeVar("Kind", bound=Analysis)
SMALLEST = 16
"""A tensor with a shorter side is no matrix that a format by name changes."""


@dataclass(frozen=True, slots=True)
class Held:
    """How one weight is stored: the format's name, bytes, and in what dtype products of it are done at best."""

    format: str
    stored_bytes: int
    compute: str = ""


def held_weights(report: Analysis, weights: Weights) -> dict[str, Held]:
    """How each parameter is stored, by its name; those that stay as they are left out.

    Raises:
        InputError: there is no such format, it doesn't fit a shape, or a pattern fits no weight.
    """
    if weights is None:
        return {}
    recording = report.recording
    patterns = {"*": weights} if isinstance(weights, str) else dict(weights)
    formats = {pattern: named(text) for pattern, text in patterns.items()}
    looked_up = looked_up_only(report)
    found: dict[str, Held] = {}
    used: set[str] = set()
    for parameter in unique_parameters(recording.parameters):
        if parameter.is_buffer or not parameter.spec.is_floating:
            continue
        pattern = next((p for p in formats if matches(p, parameter.names)), None)
        if pattern is None:
            continue
        used.add(pattern)
        if pattern == "*" and (parameter.name in looked_up or not is_matrix(parameter.spec)):
            continue
        found[parameter.name] = in_format(formats[pattern], parameter)
    idle = [p for p in formats if p not in used and p != "*"]
    if idle:
        names = ", ".join(p.name for p in recording.parameters[:3])
        raise InputError(f"weights: {idle[0]!r} fits the name of no weight (they are called {names} …)")
    return found


def in_format(chosen: Format, parameter: ParameterRecord) -> Held:
    """A weight in a format, scales along its last dimension, or along the one before where they fit only there.

    Raises:
        InputError: the format doesn't fit.
    """
    shape = parameter.spec.shape
    try:
        size = chosen.stored_bytes(shape)
    except InputError as error:
        try:
            if len(shape) < 3:
                raise error
            size = chosen.stored_bytes((*shape[:-2], shape[-1], shape[-2]))
        except InputError:
            raise InputError(f"{parameter.name}: {error}") from None
    return Held(chosen.name, size, chosen.compute)


def matches(pattern: str, names: tuple[str, ...]) -> bool:
    """Whether a pattern is the name of a weight, of a module around it, or matches one with `*`."""
    return any(name == pattern or name.startswith(f"{pattern}.") or fnmatchcase(name, pattern) for name in names)


def is_matrix(spec: TensorSpec) -> bool:
    """True for a matrix, or a stack of them."""
    return len(spec.shape) in (2, 3) and min(spec.shape[-2:]) >= SMALLEST


def looked_up_only(report: Analysis) -> frozenset[str]:
    """Names of the parameters that nothing but embeddings reads."""
    residents = Residents(report.recording)
    tables: dict[str, bool] = {}
    for read in reads_of(report, residents):
        parameter = residents.weights.get(read.storage)
        if parameter is not None:
            is_lookup = "embedding" in str(report.nodes[read.node].operations[read.operation].record.op)
            tables[parameter.name] = tables.get(parameter.name, True) and is_lookup
    return frozenset(name for name, only in tables.items() if only)


def stored(report: Kind, held: Mapping[str, Held], kv: Format | None) -> Kind:
    """The report with its weights, and its caches, stored otherwise: traffic and memory follow.

    The costs of its nodes are re-priced; what operators write, and the training step, stay as they are.
    """
    residents = Residents(report.recording)
    saved: dict[tuple[int, int], int] = {}
    for read in reads_of(report, residents):
        parameter = residents.weights.get(read.storage)
        size = read.spec.dtype.itemsize * read.numbers
        if parameter is not None and parameter.name in held:
            whole = prod(parameter.spec.shape)
            now = -(-read.numbers * held[parameter.name].stored_bytes // whole)
        elif parameter is None and kv is not None:
            now = kv_bytes(kv, residents.states[read.storage], read.numbers)
        else:
            continue
        key = read.node, read.operation
        saved[key] = saved.get(key, 0) + size - now
    nodes = tuple(_cheaper(i, node, saved) for i, node in enumerate(report.nodes))
    return replace(report, recording=_resized(report.recording, residents, held, kv), nodes=nodes)


def kv_bytes(kv: Format, spec: TensorSpec, numbers: int) -> int:
    """Bytes of so many numbers of a cache, of whose tensor (…, tokens, d) the last dimension shares scales.

    What a format keeps once for a tensor is left out.
    """
    d = spec.shape[-1]
    return -(-numbers * row_bytes(kv, d) // d)


def row_bytes(kv: Format, d: int) -> int:
    """Bytes that one more row of `d` numbers takes."""
    return kv.stored_bytes((2, d)) - kv.stored_bytes((1, d))


def _cheaper(i: int, node: NodeCost, saved: Mapping[tuple[int, int], int]) -> NodeCost:
    changed = {k: saved[i, k] for k in range(len(node.operations)) if saved.get((i, k))}
    if not changed:
        return node
    operations = tuple(
        replace(op, cost=_read_less(op.cost, changed[k])) if k in changed else op
        for k, op in enumerate(node.operations)
    )
    return NodeCost(node.record, operations, Cost.total(op.cost for op in operations))


def _read_less(cost: Cost, nbytes: int) -> Cost:
    return replace(cost, bytes_read=cost.bytes_read - nbytes)


def _resized(recording: Recording, residents: Residents, held: Mapping[str, Held], kv: Format | None) -> Recording:
    """The recording with storages and parameters of their new sizes."""
    sizes = list(recording.storage_bytes)
    for number, parameter in residents.weights.items():
        if parameter.name in held:
            sizes[number] = held[parameter.name].stored_bytes
    for number, spec in residents.states.items() if kv is not None else ():
        assert kv is not None
        sizes[number] = kv_bytes(kv, spec, sizes[number] // spec.dtype.itemsize)
    names = dict.fromkeys(h.format for h in held.values())
    told = [f"weights are stored as {', '.join(names)}: {len(held):,} of them"] if held else []
    told += [f"caches are stored as {kv.name}"] if kv is not None else []
    return replace(
        recording,
        parameters=tuple(_repacked(p, held) for p in recording.parameters),
        storage_bytes=tuple(sizes),
        assumptions=(*recording.assumptions, *told),
    )


def _repacked(parameter: ParameterRecord, held: Mapping[str, Held]) -> ParameterRecord:
    """The same elements in other memory: bytes, as many as are stored."""
    if parameter.name not in held:
        return parameter
    size = held[parameter.name].stored_bytes
    return replace(parameter, parts=(TensorSpec((size,), torch.uint8, (1,), 0, parameter.spec.storage),))


def stored_report(report: Kind, weights: Any, kv: Any) -> Kind:
    """As :meth:`fxcost.Report.stored`.

    Raises:
        InputError: there is no such format, or it doesn't fit a shape.
    """
    chosen = None if kv is None else named(kv)
    if isinstance(weights, dict) and all(isinstance(h, Held) for h in weights.values()):
        return stored(report, weights, chosen)
    return stored(report, held_weights(report, weights), chosen)
