"""How fast a model could run on a device: the time of each node by the roofline model, and what bounds it.

An operator takes at least as long as its arithmetic does at the device's peak, and as its memory traffic does at the
device's bandwidth; the longer of the two is its time [1]. One after the other, the operators' times add up to a lower
bound of the latency; along the longest path through the graph, to what unlimited parallelism would leave.

The peak is that of the highest clock (`Device.clock`), which lies above the printed one for NVIDIA's RTX cards.

All FLOPs are reckoned at the peak of the operator's dtype, but for those of pairs that a causal mask or a window throws
away, which a kernel can leave out. Traffic goes to memory: what stays in a cache is faster.

[1] S. Williams, A. Waterman, D. Patterson, "Roofline: an insightful visual performance model for multicore
    architectures", Communications of the ACM 52 (4), 2009.

Not here: communication between devices, the transfer of inputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

from ..errors import DeviceError, UnknownNameError, shown
from ..errors.arguments import checked
from ..memory.training import Training
from ..records.cost import Cost, NodeCost, OpCost
from ..text import files
from ..totals.sums import UNCOSTED_FAMILY, Sums
from .devices import Device
from .dtypes import dtype_key
from .fusion import FUSIONS, Kernel, kernels, shares_memory_known
from .times import NodeTime, Times


@checked
@dataclass(frozen=True, kw_only=True)
class Roofline(Times):
    """The roofline of a model on a device: its times, as text and as a picture."""

    def table(self, top: int | None = 20, format: str = "rounded_outline", *, sort: bool = True) -> str:  # noqa: A002
        """The totals and a row for each node that takes time, as text in any format of tabulate.

        Args:
            top: only so many rows; None for all.
            format: any format of the tabulate library.
            sort: the longest first; else in execution order.

        Raises:
            UnknownNameError: the format is not known.
        """
        from .as_roofline import roofline_table

        return roofline_table(self, top, format, sort)

    def to_chrome_trace(self, path: str | PathLike[str] | None = None) -> str:
        """The estimated timeline as JSON for https://ui.perfetto.dev; written to `path` if one is given."""
        from .as_chrome_trace import chrome_trace

        text = chrome_trace(self)
        if path is not None:
            files.write(path, text)
        return text

    def plot(self, path: str | PathLike[str]) -> None:
        """Draw FLOPS over FLOPs per byte, both logarithmic, a dot for each node (the extra `fxcost[plot]`).

        Raises:
            MissingLibraryError: matplotlib is not installed.
            UnknownNameError: the ending of the path is no format of a picture.
        """
        from .as_roofline_plot import plot_roofline

        plot_roofline(self, path)

    def __str__(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        return f"<Roofline: {self.model_type} on {self.device.name}, {1e3 * self.latency_s:.3g} ms at least>"

    def _repr_html_(self) -> str:
        from ..text.notebook import preformatted

        return preformatted(str(self))


def roofline(report: Sums, device: Device | str, dtype: Any = None, fusion: str = "none") -> Roofline:
    """The roofline of a report's nodes. See :meth:`fxcost.Report.roofline`.

    Raises:
        DeviceError: no such device, or it has no peak for a dtype that the model computes in.
        UnknownNameError: no such fusion.
    """
    found = Device.named(device)
    if fusion not in FUSIONS:
        raise UnknownNameError(f"there is no fusion {shown(fusion)}; choose from {', '.join(FUSIONS)}")
    notes = []
    if fusion != "none" and not shares_memory_known(report.nodes):
        notes.append("the report does not say which tensors share memory, so nothing is fused")
    by_family = {name: dtype_key(kind) for name, kind in dtype.items()} if isinstance(dtype, Mapping) else {}
    wanted = dtype_key(dtype) if dtype is not None and not isinstance(dtype, Mapping) else ""
    reckoner = _Reckoner(found, wanted, by_family)
    nodes = reckoner.nodes(report.nodes, kernels(report.nodes, fusion))
    notes += [
        f"{found.name} has no peak for {name}: elementwise work in it is reckoned at its fastest peak"
        for name in sorted(reckoner.replaced)
    ]
    if found.efficiency:
        notes.append("times are estimates: they are divided by the efficiency measured for each family of operators")
    return Roofline(
        model_type=report.model_type,
        device=found,
        dtype=reckoner.wanted,
        fusion=fusion,
        nodes=nodes,
        edges=tuple(_between_hosts(dependences(report.nodes), nodes)),
        uncosted=sum(report.uncosted.values()),
        notes=tuple(notes),
    )


def step_seconds(training: Training, device: Device, dtype: str) -> tuple[float, float]:
    """Lower bounds (seconds) of a step's forward and backward pass, recomputation being part of the latter.

    Nodes one after the other, each as long as its arithmetic at the peak for `dtype`, or as its traffic.

    Raises:
        DeviceError: the device has no peak for `dtype`.
    """

    def bound(cost: Cost) -> float:
        return max(cost.masked_flops / device.highest(dtype), cost.bytes_moved / device.bytes_per_s)

    forward = sum(bound(node.cost.forward) for node in training.nodes)
    return forward, sum(bound(node.cost.backward + node.cost.recomputed) for node in training.nodes)


@dataclass(slots=True)
class _Timed:
    """A kernel with its times in seconds."""

    kernel: Kernel
    flops: int
    compute_s: float
    memory_s: float
    time_s: float
    family: str
    dtype: str


class _Reckoner:
    """Times of kernels and nodes on a device; `wanted` is the dtype that the user named, or "", also by family."""

    def __init__(self, device: Device, wanted: str, by_family: Mapping[str, str]) -> None:
        self.device = device
        self.wanted = wanted
        self.by_family = by_family
        self.replaced: set[str] = set()
        """Dtypes of which the device has no peak, and in which nothing but elementwise work is done."""

    def nodes(self, nodes: Sequence[NodeCost], groups: Iterable[Kernel]) -> tuple[NodeTime, ...]:
        """The times of all nodes; a kernel counts for the node in which it begins."""
        begun: list[list[_Timed]] = [[] for _ in nodes]
        joined: dict[int, str] = {}
        for group in groups:
            begun[group.node].append(self._timed(nodes[group.node], group))
            for i, _ in group.operations[1:]:
                joined[i] = nodes[group.node].name
        return tuple(
            self._node(node, timed, joined.get(i, "")) for i, (node, timed) in enumerate(zip(nodes, begun, strict=True))
        )

    def _node(self, node: NodeCost, timed: list[_Timed], host: str) -> NodeTime:
        longest = max(timed, key=lambda t: t.time_s, default=None)
        return NodeTime(
            name=node.name,
            module=node.module,
            family=longest.family if longest else "",
            dtype=longest.dtype if longest else "",
            flops=sum(t.flops for t in timed),
            bytes_moved=sum(t.kernel.bytes_moved for t in timed),
            compute_s=sum(t.compute_s for t in timed),
            memory_s=sum(t.memory_s for t in timed),
            overhead_s=self.device.overhead_s * len(timed),
            time_s=sum(t.time_s for t in timed),
            fused_into="" if timed else host,
        )

    def _timed(self, node: NodeCost, kernel: Kernel) -> _Timed:
        flops, compute = 0, 0.0
        for _, op in kernel.operations:
            flops += op.cost.masked_flops
            compute += self._compute_s(node, op)
        first = kernel.operations[0][1]
        family = first.family or UNCOSTED_FAMILY
        memory = kernel.bytes_moved / self.device.bytes_per_s
        bound = max(compute, memory) / self.device.efficiency.get(family, 1.0)
        time = max(bound, self.device.overhead_s)
        return _Timed(kernel, flops, compute, memory, time, family, self._dtype(first))

    def _compute_s(self, node: NodeCost, op: OpCost) -> float:
        if not op.cost.masked_flops:
            return 0.0
        dtype, rates = self._dtype(op), self.device.flops_per_s
        if dtype == "float32" and dtype not in rates and not op.cost.macs and not self.wanted:
            self.replaced.add(dtype)
            return op.cost.masked_flops / (max(rates.values()) * self.device.clock)
        try:
            return op.cost.masked_flops / self.device.highest(dtype)
        except DeviceError as error:
            raise DeviceError(f"{error} (node {node.name!r}, {op.record.op})") from error

    def _dtype(self, op: OpCost) -> str:
        """The dtype in which an operator computes: that of its first floating-point tensor, or else number.

        A dtype that the user named stands for all floating-point ones.
        """
        specs = (*op.record.inputs, *(s for s in op.record.outputs if s is not None))
        floating = [s for s in specs if s.is_floating]
        wanted = self.by_family.get(op.family, self.wanted)
        if wanted and (floating or not specs):
            return wanted
        numbers = floating or [s for s in specs if s.dtype_name != "bool"]
        return dtype_key(numbers[0].dtype_name) if numbers else self.wanted


def dependences(nodes: Sequence[NodeCost]) -> list[tuple[str, str]]:
    """Pairs of nodes of which the second must wait for the first: what it reads, and what it overwrites."""
    found: dict[tuple[str, str], None] = {}
    writers: dict[int, str] = {}
    readers: dict[int, list[str]] = {}
    for node in nodes:
        storages, written = node.record.storages, _written(node)
        before = [*node.record.input_nodes, *(writers[s] for s in storages if s in writers)]
        before += [reader for s in written for reader in readers.pop(s, ())]
        found.update(dict.fromkeys((name, node.name) for name in before if name != node.name))
        for s in storages:
            readers.setdefault(s, []).append(node.name)
        writers.update(dict.fromkeys(written, node.name))
    return list(found)


def _between_hosts(edges: Iterable[tuple[str, str]], nodes: Sequence[NodeTime]) -> Iterator[tuple[str, str]]:
    """The same edges, each node that runs inside another one's kernel replaced by that one."""
    host = {node.name: node.fused_into or node.name for node in nodes}
    order = {node.name: i for i, node in enumerate(nodes)}
    for a, b in dict.fromkeys((host[a], host[b]) for a, b in edges):
        if order[a] < order[b]:  # not within one kernel
            yield a, b


def _written(node: NodeCost) -> list[int]:
    """Numbers of the storages whose elements a node produces."""
    storages = node.record.storages
    specs = (spec for op in node.operations for spec in op.record.written)
    return [storages[spec.storage] for spec in specs if 0 <= spec.storage < len(storages)]
