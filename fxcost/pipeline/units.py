"""What can't be cut, and what crosses between: the nodes of a graph in units, and tensors alive at their borders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..records.cost import NodeCost
from ..records.recording import Recording, TensorSpec

if TYPE_CHECKING:
    import networkx as nx

LISTS = frozenset({"ModuleList", "Sequential", "ModuleDict"})
"""Classes of modules whose members follow each other."""
GIVEN = frozenset({"placeholder", "get_attr"})


@dataclass(frozen=True, slots=True)
class Unit:
    """Nodes `start` to `stop` of a graph that stay together, and the module that they begin; "" if they begin none."""

    module: str
    start: int
    stop: int


def units(recording: Recording, by: str) -> list[Unit]:
    """The units of a graph: single nodes, or modules: members of the outermost lists, and what stands beside these.

    A unit of `by="module"` begins where a module is called for the first time; what runs between goes with the unit
    before it, and what runs before all with the first.
    """
    nodes = recording.nodes
    first = next((i for i, node in enumerate(nodes) if node.is_call), len(nodes))
    end = len(nodes) - sum(node.kind == "output" for node in nodes)
    if by == "node":
        places = [i for i in range(first, end) if nodes[i].is_call]
        names = {i: nodes[i].name for i in places}
    else:
        names = _first_calls(recording, first, end)
        if names:
            names = {first: names.pop(min(names)), **names}
        places = sorted(names)
    places = places or [0]
    borders = [0, *places[1:], len(nodes)]
    return [Unit(names.get(at, ""), a, b) for at, a, b in zip(places, borders, borders[1:], strict=False)]


def _first_calls(recording: Recording, first: int, end: int) -> dict[int, str]:
    """The nodes with which a module begins that is a unit, each module once."""
    types = {module.name: module.type_name for module in recording.modules}
    blocks: dict[str, str] = {}
    begun: dict[str, int] = {}
    for i in range(first, end):
        name = recording.nodes[i].module
        if name not in blocks:
            blocks[name] = _block(name, types)
        if blocks[name] and recording.nodes[i].is_call:
            begun.setdefault(blocks[name], i)
    return {i: name for name, i in begun.items()}


def _block(name: str, types: dict[str, str]) -> str:
    """The member of an outermost list that a module is in, or else itself if it has no members; "" for the root."""
    path = name.split(".") if name else []
    for depth in range(1, len(path)):
        around, inner = ".".join(path[:depth]), ".".join(path[: depth + 1])
        if types.get(around) in LISTS and types.get(inner) not in LISTS:
            return inner
    holds = any(other.startswith(f"{name}.") for other in types)
    return "" if not name or holds else name


def dependences(nodes: Sequence[NodeCost]) -> nx.DiGraph[int]:
    """Which node reads what which other one made, for networkx: nodes by their positions, edges with their `specs`."""
    import networkx as nx

    place = {node.name: i for i, node in enumerate(nodes)}
    graph: nx.DiGraph[int] = nx.DiGraph()
    graph.add_nodes_from(range(len(nodes)))
    for i, node in enumerate(nodes):
        for name in node.record.input_nodes:
            graph.add_edge(place[name], i, specs=nodes[place[name]].outputs)
    return graph


def across(nodes: Sequence[NodeCost], graph: nx.DiGraph[int], cut: int) -> tuple[list[TensorSpec], list[TensorSpec]]:
    """The tensors that nodes before a cut make and nodes from it on read; and the model's inputs that these read."""
    made: list[TensorSpec] = []
    given: list[TensorSpec] = []
    for i in range(cut):
        if nodes[i].kind != "get_attr" and any(j >= cut for j in graph.successors(i)):
            (given if nodes[i].kind in GIVEN else made).extend(nodes[i].outputs)
    return made, given


def crossing_bytes(nodes: Sequence[NodeCost], graph: nx.DiGraph[int]) -> list[int]:
    """Bytes made before each position and read from it on; a place for each node, and one for the end."""
    change = [0] * (len(nodes) + 2)
    for i, node in enumerate(nodes):
        last = max(graph.successors(i), default=i)
        if node.kind not in GIVEN and last > i:
            nbytes = sum(spec.nbytes for spec in node.outputs)
            change[i + 1] += nbytes
            change[last + 1] -= nbytes
    found, alive = [], 0
    for i in range(len(nodes) + 1):
        alive += change[i]
        found.append(alive)
    return found
