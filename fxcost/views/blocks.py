"""What a picture of a graph draws: boxes inside clusters, with deep modules collapsed and repeated blocks folded.

*Collapse* draws all nodes that ran inside one call of a module as one box. *Fold* draws a run of neighbours that do
the same, such as the layers of a transformer, once. Both only map nodes to boxes, so that costs add up and no node is
lost. Nothing here knows about DOT.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .rows import operation_name, stem_and_number

if TYPE_CHECKING:
    from ..records import NodeCost
    from ..report import Report

Part = tuple[str, int]
"""A step on the way from the root to a node: FQN of a module, and which call of it (-1: not known)."""

MOST_LEVELS = 64
"""Modules below this depth are always collapsed: Graphviz cannot nest clusters much deeper."""
LONGEST_PATTERN = 8
"""How many neighbours a repeated pattern may have, as in (Linear, ReLU) × 100."""


@dataclass(frozen=True, slots=True)
class Box:
    """A drawn node: `nodes[start:stop]` of the drawing, `times` over; `module` is "" if it is one node as it is."""

    start: int
    stop: int
    times: int
    module: str = ""
    last_module: str = ""


@dataclass(slots=True)
class Cluster:
    """A frame around boxes: a module (`module` is not ""), or a pattern that is repeated."""

    module: str
    last_module: str
    repeats: int
    items: list[Box | Cluster] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Blocks:
    """A finished drawing of `nodes`: the outermost cluster, its boxes in order of execution, and for each node the
    position of its box among them.
    """

    nodes: tuple[NodeCost, ...]
    root: Cluster
    boxes: tuple[Box, ...]
    box_of: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Item:
    """Neighbouring nodes that are drawn together on one level; `part` is None for a node outside modules."""

    start: int
    stop: int
    part: Part | None
    kind: int


def handles_tensors(node: NodeCost) -> bool:
    """False for calls on sizes and other Python values, which would fill a picture with arithmetic on shapes."""
    return bool(node.outputs or node.operations) or node.kind in ("placeholder", "output")


def call_paths(report: Report, levels: int) -> list[tuple[Part, ...]]:
    """For each node the modules in whose calls it ran, outermost first, cut after `levels`.

    Capture's own list of calls is used where there is one; else neighbours in one module count as one call.
    """
    paths: list[tuple[Part, ...]] = []
    calls = sorted(enumerate(report.recording.calls), key=lambda call: (call[1].start, -call[1].stop, call[0]))
    open_calls: list[tuple[str, int, tuple[Part, ...]]] = [("", len(report.nodes), ())]
    upcoming = 0
    for i, node in enumerate(report.nodes):
        while len(open_calls) > 1 and open_calls[-1][1] <= i:
            open_calls.pop()
        while upcoming < len(calls) and calls[upcoming][1].start <= i:
            number, call = calls[upcoming]
            upcoming += 1
            if call.module and call.stop > i:
                outer, _, path = open_calls[-1]
                open_calls.append((call.module, call.stop, _extended(path, outer, call.module, number, levels)))
        outer, _, path = open_calls[-1]
        called = node.module if node.kind == "call_module" or not calls else outer
        paths.append(path if called in (outer, "") else _extended(path, outer, called, -1, levels))
    return paths


def _extended(path: tuple[Part, ...], outer: str, module: str, call: int, levels: int) -> tuple[Part, ...]:
    """`path` with the way from one module to another below it; a module shared from elsewhere is one step away."""
    prefix = f"{outer}." if outer else ""
    if not module.startswith(prefix):
        return (*path, (module, call))[:levels]
    steps = module[len(prefix) :].split(".", levels)
    parts: list[Part] = []
    for step in steps[: max(levels - len(path), 0)]:
        prefix += step
        parts.append((prefix, call if len(prefix) == len(module) else -1))
        prefix += "."
    return (*path, *parts)


class _Layout:
    """Splits nodes into items level by level. One frame of the stack is the inside of one cluster."""

    def __init__(self, report: Report, collapse: int, fold: bool) -> None:
        self.fold, self.levels = fold, max(1, min(collapse, MOST_LEVELS))
        paths = call_paths(report, self.levels + 1)
        drawn = [(node, path) for node, path in zip(report.nodes, paths, strict=True) if handles_tensors(node)]
        self.nodes, self.paths = tuple(node for node, _ in drawn), [path for _, path in drawn]
        position = {node.name: i for i, node in enumerate(self.nodes)}
        self.reads = [[position[n] for n in node.record.input_nodes if n in position] for node in self.nodes]
        self.kinds: dict[object, int] = {}
        self.node_kinds = [self._kind(_appearance(report, node)) for node in self.nodes]

    def _kind(self, key: object) -> int:
        return self.kinds.setdefault(key, len(self.kinds))

    def build(self) -> Blocks:
        """The drawing."""
        root = Cluster("", "", 1)
        boxes: list[Box] = []
        folds: list[tuple[int, int, int]] = []
        stack = [(root, 0, len(self.nodes), 0, 1)]
        while stack:
            cluster, start, stop, level, times = stack.pop()
            items = self._split(start, stop, level)
            at = 0
            while at < len(items):
                period, repeats = self._repeats(items, at) if self.fold else (1, 1)
                inner, end = cluster, items[at + period - 1].stop
                if repeats > 1:
                    folds.append((items[at].start, end - items[at].start, repeats))
                    if period > 1:
                        inner = Cluster("", "", repeats)
                        cluster.items.append(inner)
                for offset, item in enumerate(items[at : at + period]):
                    last = items[at + offset + (repeats - 1) * period]
                    drawn = self._draw(item, last, level, times * repeats, repeats if period == 1 else 1)
                    inner.items.append(drawn)
                    if isinstance(drawn, Box):
                        boxes.append(drawn)
                    else:
                        stack.append((drawn, item.start, item.stop, level + 1, times * repeats))
                at += period * repeats
        return self._finished(root, boxes, folds)

    def _finished(self, root: Cluster, boxes: list[Box], folds: list[tuple[int, int, int]]) -> Blocks:
        """Number the boxes in order of execution and point every node, folded ones too, at its box."""
        boxes.sort(key=lambda box: box.start)
        box_of = [-1] * len(self.nodes)
        for number, box in enumerate(boxes):
            for i in range(box.start, box.stop):
                box_of[i] = number
        for start, length, repeats in reversed(folds):  # inner folds were found after the outer ones
            for i in range(start + length, start + length * repeats):
                box_of[i] = box_of[i - length]
        return Blocks(self.nodes, root, tuple(boxes), tuple(box_of))

    def _split(self, start: int, stop: int, level: int) -> list[_Item]:
        """Neighbours that ran in the same call on this level together, nodes outside of one alone."""
        items = []
        while start < stop:
            path, end = self.paths[start], start + 1
            part = path[level] if len(path) > level else None
            while part is not None and end < stop and self.paths[end][level : level + 1] == (part,):
                end += 1
            kinds = tuple(
                (self.node_kinds[i], len(self.paths[i]), *(r - i for r in self.reads[i] if r >= start))
                for i in range(start, end)
            )
            items.append(_Item(start, end, part, self._kind(kinds)))
            start = end
        return items

    def _draw(self, item: _Item, last: _Item, level: int, times: int, repeats: int) -> Box | Cluster:
        """A lone node as itself, a module on the last level as one box, any other as a cluster."""
        module, last_module = (item.part or ("", 0))[0], (last.part or ("", 0))[0]
        if item.stop - item.start == 1:
            called = self.nodes[item.start].kind == "call_module"
            return Box(item.start, item.stop, times, "", last_module if called and repeats > 1 else "")
        if level + 1 >= self.levels:
            return Box(item.start, item.stop, times, module, last_module)
        return Cluster(module, last_module, repeats)

    def _repeats(self, items: Sequence[_Item], at: int) -> tuple[int, int]:
        """Length of the pattern that starts at an item, and how often it comes: the pair that saves most."""
        best = (1, 1)
        for period in range(1, LONGEST_PATTERN + 1):
            repeats = 1
            while self._is_repeated(items, at, period, repeats):
                repeats += 1
            if repeats >= (2 if period == 1 else 3) and period * (repeats - 1) > best[0] * (best[1] - 1):
                best = (period, repeats)
        return best

    def _is_repeated(self, items: Sequence[_Item], at: int, period: int, copy: int) -> bool:
        """True if copy number `copy` of a pattern does what the first does, in modules named in sequence."""
        first, other = items[at : at + period], items[at + copy * period : at + (copy + 1) * period]
        if [item.kind for item in first] != [item.kind for item in other] or not any(item.part for item in first):
            return False
        if any(_stem(a.part) != _stem(b.part) for a, b in zip(first, other, strict=True)):
            return False
        length = first[-1].stop - first[0].start
        wires = self._wires(first[0].start + length, length, first[0].start)
        return (bool(wires) or period == 1) and wires == self._wires(other[0].start, length, first[0].start)

    def _wires(self, start: int, length: int, first: int) -> list[tuple[int, int]]:
        """Which nodes of one copy read which nodes of the copies before it, relative to that copy."""
        span = range(start, min(start + length, len(self.nodes)))
        return [(i - start, r - start) for i in span for r in self.reads[i] if first <= r < start]


def _stem(part: Part | None) -> tuple[str, bool]:
    """What a module's name has in common with its neighbours'."""
    if part is None:
        return "", False
    stem, number = stem_and_number(part[0].rpartition(".")[2])
    return stem, number is not None


def _appearance(report: Report, node: NodeCost) -> object:
    """All that must be equal for two nodes to be drawn as one, wiring aside."""
    results = tuple((spec.shape, spec.dtype) for spec in node.outputs)
    return node.kind, operation_name(report, node.kind, node.target), results, node.cost


def blocks(report: Report, collapse: int, fold: bool = True) -> Blocks:
    """A report's graph as boxes in clusters; modules at depth `collapse` (1 and more) become one box per call."""
    return _Layout(report, collapse, fold).build()


def readable_blocks(report: Report, most: int, fold: bool = True) -> Blocks:
    """The most detailed drawing that has at most `most` boxes; the least detailed if all have more."""
    best = blocks(report, 1, fold)
    for depth in range(2, MOST_LEVELS):
        deeper = blocks(report, depth, fold)
        if len(deeper.boxes) > most:
            break
        if deeper == best:
            break
        best = deeper
    return best
