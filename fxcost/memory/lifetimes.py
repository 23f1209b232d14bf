"""From when until when each piece of memory is alive, and how much of it at each moment.

Time is counted in operators: at tick t the t-th operator of the pass runs, its inputs and results being alive. A
storage that an operator makes is born with it; when it dies is up to the caller: after its last use in the graph
(:func:`deaths_in_graph`), or as a recorder saw it die.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from ..records.ranges import Count, Position, Storage
from ..records.recording import NodeRecord, Operator, OpRecord, ParameterRecord, TensorSpec, tensor_specs


@dataclass(frozen=True, slots=True)
class LiveTensor:
    """A piece of memory that an operator made: at which node, in which module, and how large (bytes of its storage).

    It is alive at the ticks born ≤ t < died.
    """

    node: str
    module: str
    operator: str
    spec: TensorSpec
    nbytes: Count
    storage: Storage
    born: Position
    died: Position


class Residents:
    """Memory that is there all the time: parameters, buffers, inputs and state, each storage once.

    State is what inputs hold inside objects (a cache of keys and values), and constants of the graph.
    """

    def __init__(
        self,
        parameters: Iterable[ParameterRecord],
        inputs: Iterable[TensorSpec],
        constants: Iterable[TensorSpec],
        storage_bytes: Sequence[int],
    ) -> None:
        self.kinds: dict[int, str] = {}
        self._bytes: Counter[str] = Counter()
        self.by_dtype: Counter[str] = Counter()
        found = [("buffer" if p.is_buffer else "parameter", spec) for p in parameters for spec in p.held]
        found.sort(key=lambda entry: entry[0] == "buffer")  # memory that is both belongs to the parameter
        found.extend(("input", spec) for spec in inputs)
        found.extend(("state", spec) for spec in constants)
        for kind, spec in found:
            self._add(kind, spec, storage_bytes)

    def _add(self, kind: str, spec: TensorSpec, storage_bytes: Sequence[int]) -> None:
        if spec.storage in self.kinds:
            return
        known = spec.storage >= 0  # sparse and quantized tensors have no number; each stands for itself
        nbytes = storage_bytes[spec.storage] if known else spec.stored_bytes
        if known:
            self.kinds[spec.storage] = kind
        self._bytes[kind] += nbytes
        self.by_dtype[spec.dtype_name] += nbytes

    def bytes_of(self, kind: str) -> int:
        """Bytes of all parameters, buffers, inputs or state."""
        return self._bytes[kind]


@dataclass(frozen=True, slots=True)
class _Birth:
    node: str
    module: str
    operator: str
    spec: TensorSpec
    tick: int


class Births:
    """Where and when each storage was made by `nodes`, those in `resident` excepted.

    `starts[i]` is the tick at which node i begins; `starts[-1]` is the number of ticks. A storage that is first seen as
    an operator's input, and is not resident, was made by code that runs no operator: it is born with its node.
    """

    def __init__(self, nodes: Sequence[NodeRecord], storage_bytes: Sequence[int], resident: Mapping[int, str]) -> None:
        self.starts = [0, *accumulate(len(node.operations) for node in nodes)]
        self.ticks = self.starts[-1]
        self._storage_bytes = storage_bytes
        self._births: dict[int, _Birth] = {}
        self._given: dict[int, frozenset[int]] = {}
        self._names: dict[int, str] = {}
        for i, node in enumerate(nodes):
            unseen = {
                slot: number
                for slot, number in enumerate(node.storages)
                if number not in self._births and number not in resident
            }
            if unseen:
                self._at_node(i, node, unseen)

    def _at_node(self, i: int, node: NodeRecord, unseen: dict[int, int]) -> None:
        for k, op in enumerate(node.operations):
            for spec in op.outputs:
                if spec is not None and spec.storage in unseen:
                    number = unseen.pop(spec.storage)
                    tick = self.starts[i] + k
                    if spec.storage in self._storages_given(op):
                        tick = self.starts[i]
                    module = f"{node.module}.{op.scope}".strip(".") if op.scope else node.module
                    self._births[number] = _Birth(node.name, module, self._name(op.op), spec, tick)
            if not unseen:
                return
        for op in node.operations:
            for spec in tensor_specs(op.args):
                if spec.storage in unseen:
                    self._births[unseen.pop(spec.storage)] = _Birth(node.name, node.module, "", spec, self.starts[i])

    def _name(self, op: Operator) -> str:
        known = self._names.get(id(op))
        if known is None:
            known = self._names[id(op)] = str(op)
        return known

    def _storages_given(self, op: OpRecord) -> frozenset[int]:
        """Storages of an operator's inputs; repeated layers share their arguments, which the nodes keep alive."""
        given = self._given.get(id(op.args))
        if given is None:
            alone = [a.storage for a in op.args if type(a) is TensorSpec]
            rows = [a for a in op.args if type(a) is tuple]
            given = self._given[id(op.args)] = frozenset((*alone, *[s.storage for s in tensor_specs(rows)]))
        return given

    def lifetimes(self, deaths: Mapping[int, int]) -> tuple[LiveTensor, ...]:
        """Everything that was made, with the tick at which it died; what has no death lives beyond the end."""
        forever, sizes = self.ticks + 1, self._storage_bytes
        return tuple(
            LiveTensor(b.node, b.module, b.operator, b.spec, sizes[n], n, b.tick, deaths.get(n, forever))
            for n, b in self._births.items()
        )


def storages_made(nodes: Iterable[NodeRecord]) -> set[int]:
    """Storages that operators made: results in memory that was not among what they were given.

    What a transform such as `torch.func.grad` hands back stands in the graph as a constant, and is none.
    """
    found: set[int] = set()
    for node in nodes:
        given: set[int] = set()
        for op in node.operations:
            given.update(spec.storage for spec in op.inputs)
            made = {s.storage for s in op.outputs if s is not None and s.storage >= 0} - given
            found.update(node.storages[slot] for slot in made)
            given |= made
    return found


def deaths_in_graph(nodes: Sequence[NodeRecord], starts: Sequence[int]) -> dict[int, int]:
    """The tick at which each storage dies if it is freed after the last node that uses it.

    Storages that died inside a node die there. What the graph returns does not die.
    """
    deaths: dict[int, int] = {}
    for i, node in enumerate(nodes):
        if node.kind == "output":
            for spec in node.inputs:
                deaths.pop(spec.storage, None)
            continue
        end = starts[i + 1]
        for number in node.storages:
            deaths[number] = end
        for spec in (*node.inputs, *node.outputs):
            deaths[spec.storage] = end
        for slot, operations in node.freed:
            deaths[node.storages[slot]] = starts[i] + operations
    return deaths


def live_bytes(tensors: Iterable[LiveTensor], ticks: int) -> list[int]:
    """Bytes alive at each tick, and after the last one (`ticks` + 1 numbers)."""
    change = [0] * (ticks + 2)
    for tensor in tensors:
        change[tensor.born] += tensor.nbytes
        change[tensor.died] -= tensor.nbytes
    return list(accumulate(change[: ticks + 1]))


def alive(tensors: Iterable[LiveTensor], tick: int) -> tuple[LiveTensor, ...]:
    """What is alive at a tick, largest first."""
    found = [t for t in tensors if t.born <= tick < t.died]
    return tuple(sorted(found, key=lambda t: -t.nbytes))
