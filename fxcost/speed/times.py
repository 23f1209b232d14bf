"""The times of a model on a device: of each node, and what they add up to. How they are found is in roofline.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from ..errors import UnknownNameError, shown
from .devices import Device

if TYPE_CHECKING:
    import networkx as nx

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
class Times:
    """The times of a model's nodes on a device, by the roofline model: `nodes` in execution order, all in seconds.

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

    def _summed(self, key: Callable[[NodeTime], str]) -> dict[str, float]:
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
            raise UnknownNameError(f"{self.model_type} has no node named {shown(name)}; report.nodes lists them")
        return found

    @cached_property
    def _by_name(self) -> dict[str, NodeTime]:
        return {node.name: node for node in self.nodes}
