"""What operators read of weights and of caches: bytes for each byte that a number takes, exactly, without a new rule.

The traffic of every operator is linear in the item size of each of its inputs. So the same rule, asked about the same
operator with one input's dtype changed, says by the difference how many numbers of it are read: all of a matrix, the
rows that an embedding picks, the experts that are touched, the keys that a window leaves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from ..records.cost import OpCost
from ..records.recording import OpRecord, ParameterRecord, Recording, TensorSpec
from ..rules import default_registry
from ..rules.pricing import cost_operation
from ..totals.sums import Sums


@dataclass(frozen=True, slots=True)
class Read:
    """One input of one operator that is a weight or a cache: which storage, and how many numbers are read."""

    node: int
    operation: int
    storage: int
    spec: TensorSpec
    numbers: int


class Residents:
    """The storages of a recording that are weights, and those that are caches (`states`).

    Caches are tensors that the run was given inside objects: in the graph they are constants that are no parameters.
    """

    def __init__(self, recording: Recording) -> None:
        self.weights: dict[int, ParameterRecord] = {}
        for parameter in recording.parameters:
            for spec in parameter.held:
                if spec.storage >= 0:
                    self.weights.setdefault(spec.storage, parameter)
        self.states: dict[int, TensorSpec] = {}
        for node in recording.nodes:
            for spec in node.outputs if node.kind in ("get_attr", "placeholder") else ():
                if spec.storage in self.weights or not spec.is_floating or len(spec.shape) < 3:
                    continue
                if node.kind == "get_attr":
                    self.states.setdefault(spec.storage, spec)


def reads_of(report: Sums, residents: Residents) -> Iterator[Read]:
    """What a report's operators read of resident memory."""
    wanted = {**residents.weights, **residents.states}
    known: dict[Any, tuple[tuple[TensorSpec, int], ...]] = {}
    for i, node in enumerate(report.nodes):
        storages = node.record.storages
        local = {k for k, number in enumerate(storages) if number in wanted}
        if not local:
            continue
        for k, op in enumerate(node.operations):
            if not op.cost.bytes_read:
                continue
            for spec, numbers in _numbers_of(op, local, known):
                yield Read(i, k, storages[spec.storage], spec, numbers)


def _numbers_of(
    op: OpCost, local: set[int], known: dict[Any, tuple[tuple[TensorSpec, int], ...]]
) -> tuple[tuple[TensorSpec, int], ...]:
    record = op.record
    specs = [s for s in dict.fromkeys(record.inputs) if s.storage in local]
    if not specs:
        return ()
    key = (id(record.args), record.op, tuple(s.storage for s in specs))
    if key not in known:
        known[key] = tuple((spec, numbers) for spec in specs if (numbers := numbers_read(record, op, spec)))
    return known[key]


def numbers_read(record: OpRecord, op: OpCost, spec: TensorSpec) -> int:
    """How many numbers of one of its inputs an operator reads."""
    size = spec.dtype.itemsize
    other = torch.float8_e4m3fn if size != 1 else torch.float16
    twin = replace(record, args=_with_dtype(record.args, spec, replace(spec, dtype=other)))
    changed = cost_operation(twin, default_registry()).cost.bytes_read
    return (op.cost.bytes_read - changed) // (size - other.itemsize)


def _with_dtype(value: Any, spec: TensorSpec, twin: TensorSpec) -> Any:
    if type(value) is TensorSpec:
        return twin if value == spec else value
    if isinstance(value, (tuple, list)):
        return type(value)(_with_dtype(v, spec, twin) for v in value)
    return value


def by_parameter(report: Sums, residents: Residents) -> Mapping[str, int]:
    """Numbers of each weight that a run reads, all operators together, by the weight's name."""
    found: dict[str, int] = {}
    for read in reads_of(report, residents):
        parameter = residents.weights.get(read.storage)
        if parameter is not None:
            found[parameter.name] = found.get(parameter.name, 0) + read.numbers
    return found
