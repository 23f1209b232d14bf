"""The graph for the page: a tree of groups with boxes in them, repeats folded, and the edges between boxes.

Groups are the modules' calls, as in every picture (blocks.py); the page opens and closes them. A group with very many
members, such as the root of a model without modules, is divided into parts so that no single layout is large.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...memory.analysis import Analysis
from ...records.cost import Cost, NodeCost
from ...text.words import printable
from ..blocks import MOST_LEVELS, Blocks, Box, Cluster, blocks
from ..rows import operation_name, stepped_name
from .store import Store, number

MOST_MEMBERS = 40
"""Members of a group that are drawn beside each other; more are divided into parts of this size."""
PART = -1
"""The number of a cluster that is such a part."""


def graph_data(store: Store, report: Analysis) -> dict[str, Any]:
    """`groups` (the root first, parents before children), `boxes` in order of execution, and `edges` between boxes.

    A group is [parent, name, class, module's position or -1, repeats, cost, saved bytes, first box], a box [group,
    node's position, name, class, times, cost, saved bytes], an edge [box, box, tensors].
    """
    return _Writer(store, report, blocks(report, MOST_LEVELS)).written()


@dataclass(slots=True)
class _Sum:
    """What the boxes of a group add up to."""

    cost: Cost
    saved: int

    def add(self, cost: Cost, saved: int) -> None:
        """One member more."""
        self.cost, self.saved = self.cost + cost, self.saved + saved


class _Writer:
    """Numbers groups and boxes while it walks down the tree of clusters."""

    def __init__(self, store: Store, report: Analysis, drawing: Blocks) -> None:
        self.store, self.report, self.drawing = store, report, drawing
        self.saved = {n.name: n.cost.saved_bytes for n in report.training.nodes} if report.training else {}
        self.node_number = {node.name: i for i, node in enumerate(report.nodes)}
        self.module_number = {name: i for i, name in enumerate(report.modules)}
        self.box_number = {box.start: i for i, box in enumerate(drawing.boxes)}
        self.groups: list[list[Any]] = [[-1, printable(report.model_type), "", 0, 1]]
        self.boxes: list[list[Any]] = [[]] * len(drawing.boxes)
        self.sums = [_Sum(Cost(), 0)]

    def written(self) -> dict[str, Any]:
        """The whole graph."""
        stack: list[tuple[Box | Cluster, int, str]]
        stack = [(item, 0, "") for item in reversed(in_parts(self.drawing.root.items))]
        while stack:
            item, group, within = stack.pop()
            if isinstance(item, Box):
                self._write_box(item, group, within)
            else:
                opened, inner = self._write_group(item, group, within), item.module or within
                stack.extend((member, opened, inner) for member in reversed(in_parts(item.items)))
        return {"groups": self._summed(), "boxes": self.boxes, "edges": self._edges()}

    def _write_group(self, cluster: Cluster, parent: int, within: str) -> int:
        name, type_name = self._module(cluster.module, cluster.last_module, within, cluster.repeats)
        if cluster.number == PART:
            members = _whole(cluster)
            first, last = (self._member_name(item, within) for item in (members[0], members[-1]))
            name, type_name = f"{first} … {last}", f"{len(members):,} in sequence"
        elif not cluster.module:
            name = f"{len(cluster.items)} in turn"
        module = self.module_number.get(self.report.canonical(cluster.module), -1) if cluster.module else -1
        self.groups.append([parent, name, type_name, module, cluster.repeats])
        self.sums.append(_Sum(Cost(), 0))
        return len(self.groups) - 1

    def _write_box(self, box: Box, group: int, within: str) -> None:
        nodes = self.drawing.nodes[box.start : box.stop]
        cost = nodes[0].cost if len(nodes) == 1 else Cost.total(node.cost for node in nodes)
        cost = cost * box.times if box.times > 1 else cost
        saved = sum(self.saved.get(node.name, 0) for node in nodes) * box.times
        name, kind = self._names(box, nodes[0], within)
        at = self.node_number[nodes[0].name]
        row = [group, at, printable(name), printable(kind), box.times, self.store.cost(cost), number(saved)]
        self.boxes[self.box_number[box.start]] = row
        self.sums[group].add(cost, saved)

    def _member_name(self, item: Box | Cluster, within: str) -> str:
        if isinstance(item, Box):
            return self._names(item, self.drawing.nodes[item.start], within)[0]
        return self._module(item.module, item.last_module, within, item.repeats)[0] or "pattern"

    def _names(self, box: Box, node: NodeCost, within: str) -> tuple[str, str]:
        """What a box is called, and the class of its module."""
        if box.module or node.kind == "call_module":
            module = box.module or node.target
            return self._module(module, box.last_module or module, within, box.times)
        operation = operation_name(self.report, node.kind, node.target)
        return (operation.rpartition(".")[2] or operation if node.record.is_call else node.name), ""

    def _module(self, module: str, last: str, within: str, times: int) -> tuple[str, str]:
        """A module's name as seen from the frame that it stands in, and its class."""
        prefix = f"{within}." if within and module.startswith(f"{within}.") else ""
        name = module[len(prefix) :]
        if last and last != module:
            name = stepped_name(name, last[len(prefix) :], times)
        known = self.report.modules.get(self.report.canonical(module)) if module else None
        return printable(name), printable(known.type_name) if known else ""

    def _summed(self) -> list[list[Any]]:
        """The groups with their sums, those of members that are groups among them."""
        for i in range(len(self.groups) - 1, 0, -1):
            self.sums[self.groups[i][0]].add(self.sums[i].cost, self.sums[i].saved)
        sums = ([self.store.cost(total.cost), number(total.saved)] for total in self.sums)
        return [[*group, *total] for group, total in zip(self.groups, sums, strict=True)]

    def _edges(self) -> list[list[Any]]:
        return [
            [*edge, list(dict.fromkeys(self.store.spec(t) for node in sources for t in node.outputs))]
            for edge, sources in self.drawing.edges().items()
        ]


def in_parts(items: Sequence[Box | Cluster]) -> list[Box | Cluster]:
    """The members of a group, or parts of it if they are many: clusters without a module, in levels if need be."""
    members = list(items)
    while len(members) > MOST_MEMBERS:
        pieces = [members[i : i + MOST_MEMBERS] for i in range(0, len(members), MOST_MEMBERS)]
        members = [Cluster(PART, items=piece) if len(piece) > 1 else piece[0] for piece in pieces]
    return members


def _whole(part: Cluster) -> list[Box | Cluster]:
    """The members of a part, those of parts within it among them, in order."""
    found: list[Box | Cluster] = []
    stack: list[Box | Cluster] = list(reversed(part.items))
    while stack:
        item = stack.pop()
        if isinstance(item, Cluster) and item.number == PART:
            stack.extend(reversed(item.items))
        else:
            found.append(item)
    return found
