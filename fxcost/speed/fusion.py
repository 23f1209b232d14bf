"""Which operators run as one: the kernels that a device is given.

Without fusion each operator is a kernel. With pointwise fusion, an operator that maps elements to elements joins the
kernel that made its input, as compilers do: what it reads from there stays in registers, and is not written to memory
at all if nobody else reads it.

An operator joins if the last of its inputs to be made has as many elements as its own result. Views cost nothing and
change nothing. Not here: how long a kernel takes (roofline.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from ..records.cost import NodeCost, OpCost
from ..records.recording import TensorSpec

FUSIONS = ("none", "pointwise")
_RMS_NORM = ["pow", "mean", "add", "rsqrt", "mul"]


@dataclass(slots=True)
class Kernel:
    """Operators that run as one, at the place of the first: (position of its node, operator). `saved` are the bytes
    that they need not move because they run together."""

    operations: list[tuple[int, OpCost]]
    saved: int = 0

    @property
    def node(self) -> int:
        """Position of the node whose operator began it."""
        return self.operations[0][0]

    @property
    def bytes_moved(self) -> int:
        """Bytes read and written."""
        return max(0, sum(op.cost.bytes_moved for _, op in self.operations) - self.saved)


def kernels(nodes: Sequence[NodeCost], fusion: str) -> list[Kernel]:
    """The kernels of a graph in the order in which they start; operators that do nothing are left out."""
    return alone(nodes) if fusion == "none" else Fuser(nodes).run()


def alone(nodes: Sequence[NodeCost]) -> list[Kernel]:
    """A kernel for each operator, and one for each norm that PyTorch took apart."""
    found = []
    for i, node in enumerate(nodes):
        norm = rms_norm(i, node)
        found += [norm] if norm else [Kernel([(i, op)]) for op in node.operations if _works(op)]
    return found


def rms_norm(i: int, node: NodeCost) -> Kernel | None:
    """A call of `rms_norm` as a kernel: without a device PyTorch takes it apart, GPUs run `_fused_rms_norm` since 2.9.

    One in a model's own code has a node for each of its operators, and runs as they are.
    """
    working = [(i, op) for op in node.operations if _works(op)]
    names = [str(op.record.op).split(".")[1].rstrip("_") for _, op in working]
    if [name for name in names if name != "_to_copy"] not in (_RMS_NORM, [*_RMS_NORM, "mul"]):
        return None
    moved = sum(spec.stored_bytes for spec in (*_given(working), *working[-1][1].record.written))
    return Kernel(working, max(0, sum(op.cost.bytes_moved for _, op in working) - moved))


def _given(working: Iterable[tuple[int, OpCost]]) -> list[TensorSpec]:
    """What operators read and none of them makes, each storage once."""
    made = {spec.storage for _, op in working for spec in op.record.written}
    reads = {spec.storage: spec for _, op in working for spec in op.record.inputs}
    return [spec for storage, spec in reads.items() if storage not in made]


def shares_memory_known(nodes: Iterable[NodeCost]) -> bool:
    """True if the records say which tensors share memory, without which nothing can be fused."""
    return any(node.record.storages for node in nodes)


def _works(op: OpCost) -> bool:
    return op.cost.flops > 0 or op.cost.bytes_moved > 0


def is_pointwise(op: OpCost) -> bool:
    """True for an operator each of whose results hangs on one element of each input: what compilers fuse.

    Batch norm with fixed statistics is one: it multiplies and adds per element.
    """
    name = str(op.record.op)
    if name == "aten.native_batch_norm.default":
        return len(op.record.args) > 5 and op.record.args[5] is False
    return op.family == "pointwise" or name == "aten._to_copy.default"


@dataclass(slots=True)
class Version:
    """What a storage holds from one write to the next: the kernel that wrote it, and bytes by each that reads."""

    kernel: int
    nbytes: int
    numel: int
    readers: list[tuple[int, int]] = field(default_factory=list)
    needed: bool = False
    """It must be in memory whoever reads it: a result of the model, or overwritten in part only."""


class Fuser:
    """Walks the operators in order, with the latest version of each storage.

    What joins what is up to :meth:`joins`, which the room `estimate` has its own for.
    """

    norms_whole = True
    """Norms that PyTorch took apart run as one kernel, as they do without a compiler."""

    def __init__(self, nodes: Sequence[NodeCost]) -> None:
        self._nodes = nodes
        self.kernels: list[Kernel] = []
        self.latest: dict[int, Version] = {}
        self._versions: list[Version] = []
        self.last_use: dict[int, int] = {}
        """The last kernel that read or wrote each storage."""
        self._inside = {s for node in nodes for s in _made_here(node)}
        """Storages that the graph itself makes; others (parameters, buffers, inputs) outlive it."""

    def run(self) -> list[Kernel]:
        """Fuse, then count what need not be moved."""
        for i, node in enumerate(self._nodes):
            norm = rms_norm(i, node) if self.norms_whole else None
            if norm:
                self._add(len(self.kernels), norm)
            else:
                for op in filter(_works, node.operations):
                    self._place(i, op)
            if node.kind == "output":
                for spec in node.inputs:
                    if spec.storage in self.latest:
                        self.latest[spec.storage].needed = True
        for version in self._versions:
            inside = [nbytes for kernel, nbytes in version.readers if kernel == version.kernel]
            kernel = self.kernels[version.kernel]
            kernel.saved += sum(inside)
            if inside and len(inside) == len(version.readers) and not version.needed:
                kernel.saved += version.nbytes
        return self.kernels

    def _place(self, i: int, op: OpCost) -> None:
        reads = list(self._numbered(i, op.record.inputs))
        writes = list(self._numbered(i, op.record.written))
        at = self.joins(op, reads, writes)
        if at is None:
            at = len(self.kernels)
            self.kernels.append(Kernel([]))
        self.kernels[at].operations.append((i, op))
        self._touch(at, reads, writes)

    def _add(self, at: int, kernel: Kernel) -> None:
        """A kernel that nothing joins."""
        self.kernels.append(kernel)
        i, last = kernel.operations[-1]
        self._touch(
            at, list(self._numbered(i, _given(kernel.operations))), list(self._numbered(i, last.record.written))
        )

    def _touch(self, at: int, reads: list[tuple[int, TensorSpec]], writes: list[tuple[int, TensorSpec]]) -> None:
        """Note what a kernel reads and writes."""
        for storage, spec in dict(reads).items():
            self.last_use[storage] = at
            if storage in self.latest:
                self.latest[storage].readers.append((at, spec.stored_bytes))
        for storage, spec in writes:
            before = self.latest.get(storage)
            if before is not None and spec.numel < before.numel:
                before.needed = True
            version = Version(at, spec.stored_bytes, spec.numel, needed=storage not in self._inside)
            self.latest[storage] = version
            self._versions.append(version)
            self.last_use[storage] = at

    def joins(
        self, op: OpCost, reads: list[tuple[int, TensorSpec]], writes: list[tuple[int, TensorSpec]]
    ) -> int | None:
        """The kernel that an operator can join: the one that made the last of its inputs; None if it can't."""
        if not is_pointwise(op) or not writes:
            return None
        made = [self.latest[storage] for storage, _ in reads if storage in self.latest]
        last = max(made, key=lambda version: version.kernel, default=None)
        if last is None or last.numel != writes[0][1].numel:
            return None
        overwritten = [self.last_use.get(storage, -1) for storage, _ in writes]
        return last.kernel if max(overwritten) <= last.kernel else None

    def _numbered(self, i: int, specs: Iterable[TensorSpec]) -> Iterator[tuple[int, TensorSpec]]:
        """Specs of an operator with the graph-wide number of their storage, where it is known."""
        storages = self._nodes[i].record.storages
        return ((storages[s.storage], s) for s in specs if 0 <= s.storage < len(storages))


def _made_here(node: NodeCost) -> Iterator[int]:
    """Storages that a node's operators return without having been given them."""
    storages = node.record.storages
    for op in node.operations:
        given = {spec.storage for spec in op.record.inputs}
        for spec in op.record.outputs:
            if spec is not None and spec.storage not in given and 0 <= spec.storage < len(storages):
                yield storages[spec.storage]
