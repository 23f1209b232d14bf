"""How fast a model could run on a device: the time of each node by the roofline model, and what bounds it.

An operator takes at least as long as its arithmetic does at the device's peak, and as its memory traffic does at the
device's bandwidth; the longer of the two is its time [1]. One after the other, the operators' times add up to a lower
bound of the latency; along the longest path through the graph, to what unlimited parallelism would leave.

All FLOPs are reckoned at the peak of the operator's dtype. Traffic goes to memory: what stays in a cache is faster.

[1] S. Williams, A. Waterman, D. Patterson, "Roofline: an insightful visual performance model for multicore
    architectures", Communications of the ACM 52 (4), 2009.

Not here: communication between devices, the transfer of inputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING, Any

from ..errors import DeviceError, UnknownNameError
from ..records.cost import Cost, NodeCost, OpCost
from ..totals.sums import UNCOSTED_FAMILY, Sums
from .devices import Device, dtype_key
from .fusion import FUSIONS, Kernel, kernels, shares_memory_known

if TYPE_CHECKING:
    import networkx as nx

    from ..memory.training import Training

BOUNDS = ("compute", "memory", "overhead")
"""What can bound a node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeTime:
    """The times of a node in seconds.

    `flops` and `bytes_moved` are those of the kernels that begin in this node, `compute_s` and `memory_s` their times
    at the device's peak and bandwidth, `overhead_s` the least time of so many kernels. `time_s` is the sum over kernels
    of the longest of the three. A node whose operators all run in kernels of another node has no time of its own:
    `fused_into` names that node. `family` is that of the operator that takes longest.
    """

    name: str
    module: str
    family: str
    dtype: str
    flops: int
    bytes_moved: int
    compute_s: float
    memory_s: float
    overhead_s: float
    time_s: float
    fused_into: str = ""

    @property
    def bound(self) -> str:
        """What takes longest: "compute", "memory" or "overhead"; "" for a node without time."""
        times = (self.compute_s, self.memory_s, self.overhead_s)
        return BOUNDS[times.index(max(times))] if self.time_s else ""

    @property
    def arithmetic_intensity(self) -> float:
        """FLOPs per byte; 0.0 where nothing is moved."""
        return self.flops / self.bytes_moved if self.bytes_moved else 0.0


@dataclass(frozen=True, kw_only=True)
class Roofline:
    """The roofline of a model on a device: `nodes` in execution order, all times in seconds.

    `edges` are the dependences between nodes: what one makes and another uses. `uncosted` counts operators whose
    arithmetic is not known, so that their time is too short; `notes` say what the numbers assume.
    """

    model_type: str
    device: Device
    dtype: str
    fusion: str
    nodes: tuple[NodeTime, ...]
    edges: tuple[tuple[str, str], ...]
    uncosted: int = 0
    notes: tuple[str, ...] = ()

    @cached_property
    def latency_s(self) -> float:
        """All nodes one after the other: no run that works through the graph in order can be faster."""
        return sum(node.time_s for node in self.nodes)

    @cached_property
    def compute_s(self) -> float:
        """All arithmetic at the peak."""
        return sum(node.compute_s for node in self.nodes)

    @cached_property
    def memory_s(self) -> float:
        """All traffic at full bandwidth."""
        return sum(node.memory_s for node in self.nodes)

    @cached_property
    def flops(self) -> int:
        """Floating-point operations of all nodes."""
        return sum(node.flops for node in self.nodes)

    @cached_property
    def bytes_moved(self) -> int:
        """Bytes read and written, after fusion."""
        return sum(node.bytes_moved for node in self.nodes)

    @property
    def flops_per_s(self) -> float:
        """The speed (FLOPS) at that latency; 0.0 for a model that does nothing."""
        return self.flops / self.latency_s if self.latency_s else 0.0

    @cached_property
    def critical_path(self) -> tuple[str, ...]:
        """The nodes of the longest chain of dependences: with unlimited parallelism they alone set the time.

        Nodes that take no time are left out.
        """
        import networkx as nx

        path = nx.dag_longest_path(self.graph(), weight="time_s")
        return tuple(name for name in path if name in self._by_name and self._by_name[name].time_s)

    @cached_property
    def critical_path_s(self) -> float:
        """The time of :attr:`critical_path`."""
        return sum(self._by_name[name].time_s for name in self.critical_path)

    def graph(self) -> nx.DiGraph[str]:
        """The dependences for networkx; an edge weighs what the node that it leads to takes (`time_s`).

        A node "" stands before all others, so that the weight of a path from there is the time of its nodes.
        """
        import networkx as nx

        graph: nx.DiGraph[str] = nx.DiGraph()
        graph.add_edges_from(("", node.name, {"time_s": node.time_s}) for node in self.nodes)
        graph.add_edges_from((a, b, {"time_s": self._by_name[b].time_s}) for a, b in self.edges)
        return graph

    def by_family(self) -> dict[str, float]:
        """Seconds by family of operators, longest first."""
        return self._summed(lambda node: node.family)

    def by_bound(self) -> dict[str, float]:
        """Seconds by what bounds the nodes: "compute", "memory", "overhead", longest first."""
        return self._summed(lambda node: node.bound)

    def _summed(self, key: Any) -> dict[str, float]:
        sums: dict[str, float] = {}
        for node in self.nodes:
            if node.time_s:
                sums[key(node)] = sums.get(key(node), 0.0) + node.time_s
        return dict(sorted(sums.items(), key=lambda item: -item[1]))

    def time_of(self, name: str) -> NodeTime:
        """The times of a node by its name.

        Raises:
            UnknownNameError: there is no such node.
        """
        found = self._by_name.get(name)
        if found is None:
            raise UnknownNameError(f"{self.model_type} has no node named {name!r}; report.nodes lists them")
        return found

    @cached_property
    def _by_name(self) -> dict[str, NodeTime]:
        return {node.name: node for node in self.nodes}

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

    def plot(self, path: str | PathLike[str]) -> None:
        """Draw FLOPS over FLOPs per byte, both logarithmic, a dot for each node (the extra `fxcost[plot]`).

        Raises:
            MissingLibraryError: matplotlib is not installed.
        """
        from .as_roofline_plot import plot_roofline

        plot_roofline(self, path)

    def __str__(self) -> str:
        return self.table()


def roofline(report: Sums, device: Device | str, dtype: Any = None, fusion: str = "none") -> Roofline:
    """The roofline of a report's nodes. See :meth:`fxcost.Report.roofline`.

    Raises:
        DeviceError: no such device, or it has no peak for a dtype that the model computes in.
        UnknownNameError: no such fusion.
    """
    found = Device.named(device)
    if fusion not in FUSIONS:
        raise UnknownNameError(f"there is no fusion {fusion!r}; choose from {', '.join(FUSIONS)}")
    notes = []
    if fusion != "none" and not shares_memory_known(report.nodes):
        notes.append("the report does not say which tensors share memory, so nothing is fused")
    reckoner = _Reckoner(found, dtype_key(dtype) if dtype is not None else "")
    nodes = reckoner.nodes(report.nodes, kernels(report.nodes, fusion))
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
        return max(cost.flops / device.peak(dtype), cost.bytes_moved / device.bytes_per_s)

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
    """Times of kernels and nodes on a device; `wanted` is the dtype that the user named, or ""."""

    def __init__(self, device: Device, wanted: str) -> None:
        self.device = device
        self.wanted = wanted

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
            flops += op.cost.flops
            compute += self._compute_s(node, op)
        first = kernel.operations[0][1]
        family = first.family or UNCOSTED_FAMILY
        memory = kernel.bytes_moved / self.device.bytes_per_s
        bound = max(compute, memory) / self.device.efficiency.get(family, 1.0)
        time = max(bound, self.device.overhead_s)
        return _Timed(kernel, flops, compute, memory, time, family, self._dtype(first))

    def _compute_s(self, node: NodeCost, op: OpCost) -> float:
        if not op.cost.flops:
            return 0.0
        try:
            return op.cost.flops / self.device.peak(self._dtype(op))
        except DeviceError as error:
            raise DeviceError(f"{error} (node {node.name!r}, {op.record.op})") from error

    def _dtype(self, op: OpCost) -> str:
        """The dtype in which an operator computes: that of its first floating-point tensor, or else number.

        A dtype that the user named stands for all floating-point ones.
        """
        specs = (*op.record.inputs, *(s for s in op.record.outputs if s is not None))
        floating = [s for s in specs if s.is_floating]
        if self.wanted and (floating or not specs):
            return self.wanted
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
