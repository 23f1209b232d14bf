"""Did two runs do the same? Operator by operator: the same ones on the same shapes, layouts and memory, in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

from ..records.recording import NodeRecord, OpRecord, TensorSpec, tensor_specs


def difference(graph: Sequence[NodeRecord], run: Sequence[NodeRecord], same: SameMemory | None = None) -> str | None:
    """Where the run of a graph first does something else than the run of the model's own code; None if nowhere.

    Both are nodes in execution order, the last one the output. Memory is compared by who shares it: each storage of
    one run must be one storage of the other; `same` knows afterwards which is which.
    """
    same = same or SameMemory()
    for ours, theirs in zip_longest(_operations(graph), _operations(run)):
        if ours is None or theirs is None:
            node, op, _ = ours or theirs
            return f"{op.op} at {node.module or 'the top'} runs in {'the graph' if ours else 'the model'} alone"
        if not _alike(ours, theirs, same):
            return f"{_shown(theirs)} runs where the graph has {_shown(ours)}"
    returned = [tuple(tensor_specs(nodes[-1].inputs)) if nodes else () for nodes in (graph, run)]
    if not same.values(returned[0], returned[1], _as_it_is, _as_it_is):
        return "the graph returns something else than the model does"
    return None


Operation = tuple[NodeRecord, OpRecord, tuple[int, ...]]


def _operations(nodes: Sequence[NodeRecord]) -> Iterator[Operation]:
    for node in nodes:
        for op in node.operations:
            yield node, op, node.storages


def _alike(ours: Operation, theirs: Operation, same: SameMemory) -> bool:
    (_, a, in_a), (_, b, in_b) = ours, theirs
    return a.op is b.op and same.values((a.args, a.outputs), (b.args, b.outputs), in_a.__getitem__, in_b.__getitem__)


def _shown(operation: Operation) -> str:
    node, op, _ = operation
    shapes = ", ".join(map(str, tensor_specs(op.args)))
    return f"{op.op}({shapes}) in {node.module or 'the model'}"


class SameMemory:
    """Compares values, and which storage of one run is which of the other."""

    def __init__(self) -> None:
        self._theirs: dict[int, int] = {}
        self._ours: dict[int, int] = {}

    def values(self, a: Any, b: Any, in_a: Any, in_b: Any) -> bool:
        """True if two values are equal but for the numbers of storages, and these fit what was seen so far."""
        kind = type(a)
        if kind is not type(b):
            return False
        if kind is TensorSpec:
            alike = a is b or (a.shape, a.dtype, a.stride, a.offset, a.stored) == (
                b.shape, b.dtype, b.stride, b.offset, b.stored
            )  # fmt: skip
            return alike and (a.storage < 0 or self._is_one(in_a(a.storage), in_b(b.storage)))
        if kind is tuple or kind is list:
            return len(a) == len(b) and all(self.values(x, y, in_a, in_b) for x, y in zip(a, b, strict=True))
        if kind is OpRecord:  # the body of an operator that takes a function
            return a.op is b.op and self.values((a.args, a.outputs), (b.args, b.outputs), _apart, _apart)
        if kind is dict:
            return a.keys() == b.keys() and all(self.values(a[k], b[k], in_a, in_b) for k in a)
        return bool(a is b or a == b or (a != a and b != b))

    def ours(self, theirs: int) -> int:
        """The graph's number of a storage of the run's; −1 if it was not met."""
        return self._ours.get(theirs, -1)

    def _is_one(self, ours: int, theirs: int) -> bool:
        return self._theirs.setdefault(ours, theirs) == theirs and self._ours.setdefault(theirs, ours) == ours


def _as_it_is(number: int) -> int:
    return number


def _apart(slot: int) -> tuple[str, int]:
    return "apart", slot
