"""What a picture of a graph draws: boxes inside clusters, with deep modules collapsed and repeated blocks folded.

*Collapse* draws all nodes that ran inside one call of a module as one box. *Fold* draws a run of neighbours that do
the same, such as the layers of a transformer, once; if it is *loose*, their sizes may differ, as those of GoogLeNet's
blocks do. All only map nodes to boxes, so that costs add up and no node is lost. Nothing here knows about DOT.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..records.cost import NodeCost
from ..totals.sums import Sums
from .rows import operation_name, stem_and_number

Part = tuple[str, int]
"""A step on the way from the root to a node: FQN of a module, and which call of it (-1: not known)."""

MOST_LEVELS = 64
"""Modules below this depth are always collapsed: Graphviz cannot nest clusters much deeper."""
LONGEST_PATTERN = 8
"""How many neighbours a repeated pattern may have, as in (Linear, ReLU) × 100."""


@dataclass(frozen=True, slots=True)
class Box:
    """A drawn node: `nodes[start:stop]` of the drawing, `times` over; `module` is "" if it is one node as it is.

    `last_module` is the last of so many in sequence (`steps`) that are drawn as one, within what is folded around them.
    """

    start: int
    stop: int
    times: int
    module: str = ""
    last_module: str = ""
    steps: int = 1


@dataclass(slots=True)
class Cluster:
    """A frame around boxes: a module (`module` is not ""), or a pattern that is repeated.

    `repeats` is how many are drawn as one; `steps` how many there are up to `last_module`, in a pattern around it too.
    """

    number: int
    module: str = ""
    last_module: str = ""
    repeats: int = 1
    steps: int = 1
    items: list[Box | Cluster] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Blocks:
    """A finished drawing of `nodes`: the outermost cluster and its boxes in order of execution.

    `box_of` has the position of each node's box, `frames` the numbers of the clusters around each box, outermost
    first and without the root.
    """

    nodes: tuple[NodeCost, ...]
    root: Cluster
    boxes: tuple[Box, ...]
    box_of: tuple[int, ...]
    frames: tuple[tuple[int, ...], ...]

    def members(self) -> tuple[tuple[NodeCost, ...], ...]:
        """For each box all nodes that it stands for, in order of execution."""
        found: list[list[NodeCost]] = [[] for _ in self.boxes]
        for node, box in zip(self.nodes, self.box_of, strict=True):
            found[box].append(node)
        return tuple(map(tuple, found))

    def edges(self) -> dict[tuple[int, int], tuple[NodeCost, ...]]:
        """Which box hands something to which later one, with the nodes whose results it hands on.

        The way back from one folded block to the next is not among them.
        """
        position = {node.name: i for i, node in enumerate(self.nodes)}
        found: dict[tuple[int, int], dict[str, NodeCost]] = {}
        for node, box in zip(self.nodes, self.box_of, strict=True):
            for name in node.record.input_nodes:
                source = position.get(name)
                if source is not None and self.box_of[source] < box:
                    found.setdefault((self.box_of[source], box), {})[name] = self.nodes[source]
        return {edge: tuple(sources.values()) for edge, sources in found.items()}


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


def call_paths(report: Sums, levels: int) -> list[tuple[Part, ...]]:
    """For each node the modules in whose calls it ran, outermost first, cut after `levels`.

    Capture's own list of calls is used where there is one; else neighbours in one module count as one call.
    """
    paths: list[tuple[Part, ...]] = []
    calls = sorted(enumerate(report.recording.calls), key=lambda call: (call[1].start, -call[1].stop, -call[0]))
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

    def __init__(self, report: Sums, collapse: int, fold: bool, loose: bool) -> None:
        self.report, self.levels = report, max(1, min(collapse, MOST_LEVELS))
        self.fold, self.loose = fold, loose
        paths = call_paths(report, self.levels + 1)
        drawn = [(node, path) for node, path in zip(report.nodes, paths, strict=True) if handles_tensors(node)]
        self.nodes, self.paths = tuple(node for node, _ in drawn), [path for _, path in drawn]
        position = {node.name: i for i, node in enumerate(self.nodes)}
        self.reads = [[position[n] for n in node.record.input_nodes if n in position] for node in self.nodes]
        self.kinds: dict[object, int] = {}
        self.clusters = -1
        self.boxes: list[tuple[Box, tuple[int, ...]]] = []
        self.folds: list[tuple[int, int, int]] = []
        self.node_kinds = [self._kind(_appearance(report, node, loose)) for node in self.nodes]

    def _kind(self, key: object) -> int:
        return self.kinds.setdefault(key, len(self.kinds))

    def build(self) -> Blocks:
        """The drawing."""
        root = self._cluster()
        stack: list[tuple[Cluster, int, int, int, int, tuple[int, ...]]] = [(root, 0, len(self.nodes), 0, 1, ())]
        while stack:
            cluster, start, stop, level, times, frames = stack.pop()
            items = self._split(start, stop, level)
            at = 0
            while at < len(items):
                period, repeats = self._repeats(items, at) if self.fold else (1, 1)
                run = items[at : at + period * repeats]
                inner, around = cluster, frames
                if repeats > 1:
                    self.folds.append((run[0].start, run[period - 1].stop - run[0].start, repeats))
                if repeats > 1 and period > 1:
                    inner = self._cluster(repeats=repeats)
                    cluster.items.append(inner)
                    around = (*frames, inner.number)
                for item, last in zip(run[:period], run[-period:], strict=True):
                    drawn = self._draw(item, last, level, times * repeats, repeats, period)
                    inner.items.append(drawn)
                    if isinstance(drawn, Box):
                        self.boxes.append((drawn, around))
                    else:
                        below = (*around, drawn.number)
                        stack.append((drawn, item.start, item.stop, level + 1, times * repeats, below))
                at += len(run)
        return self._finished(root)

    def _cluster(self, module: str = "", last_module: str = "", repeats: int = 1, steps: int = 1) -> Cluster:
        self.clusters += 1
        return Cluster(self.clusters, module, last_module, repeats, steps)

    def _finished(self, root: Cluster) -> Blocks:
        """Number the boxes in order of execution and point every node, folded ones too, at its box."""
        self.boxes.sort(key=lambda entry: entry[0].start)
        box_of = [-1] * len(self.nodes)
        for number, (box, _) in enumerate(self.boxes):
            box_of[box.start : box.stop] = [number] * (box.stop - box.start)
        for start, length, repeats in reversed(self.folds):  # inner folds were found after the outer ones
            for i in range(start + length, start + length * repeats):
                box_of[i] = box_of[i - length]
        boxes, frames = (tuple(column) for column in zip(*self.boxes, strict=True)) if self.boxes else ((), ())
        return Blocks(self.nodes, root, boxes, tuple(box_of), frames)

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

    def _draw(self, item: _Item, last: _Item, level: int, times: int, repeats: int, period: int) -> Box | Cluster:
        """A lone node as itself, a module on the last level as one box, any other as a cluster."""
        module, last_module = (item.part or ("", 0))[0], (last.part or ("", 0))[0]
        if item.stop - item.start == 1:
            named = self.nodes[item.start].kind == "call_module" and repeats > 1
            return Box(item.start, item.stop, times, "", self.nodes[last.start].target if named else "", repeats)
        if level + 1 >= self.levels:
            return Box(item.start, item.stop, times, module, last_module, repeats)
        return self._cluster(module, last_module, repeats if period == 1 else 1, repeats)

    def _repeats(self, items: Sequence[_Item], at: int) -> tuple[int, int]:
        """Length of the pattern that starts at an item, and how often it comes: the pair that saves most."""
        best = (1, 1)
        for period in range(1, LONGEST_PATTERN + 1):
            repeats = 1
            while self._is_repeated(items, at, period, repeats):
                repeats += 1
            least = 2 if period == 1 and items[at].part is not None else 3
            if repeats >= least and period * (repeats - 1) > best[0] * (best[1] - 1):
                best = (period, repeats)
        return best

    def _is_repeated(self, items: Sequence[_Item], at: int, period: int, copy: int) -> bool:
        """True if copy number `copy` of a pattern does what the first does, in modules named in sequence."""
        first, other = items[at : at + period], items[at + copy * period : at + (copy + 1) * period]
        if [item.kind for item in first] != [item.kind for item in other]:
            return False
        if any(self._looks(a.part) != self._looks(b.part) for a, b in zip(first, other, strict=True)):
            return False
        length = first[-1].stop - first[0].start
        wires = self._wires(first[0].start + length, length, first[0].start)
        can_be_parallel = period == 1 and first[0].part is not None and not self.loose
        return (bool(wires) or can_be_parallel) and wires == self._wires(other[0].start, length, first[0].start)

    def _looks(self, part: Part | None) -> tuple[str, bool, str]:
        """What a module has in common with neighbours that are drawn as one with it: stem of its name, and class."""
        known = self.report.modules.get(self.report.canonical(part[0])) if part is not None else None
        named = ("", part is not None) if self.loose else _stem(part)
        return (*named, known.type_name if known is not None else "")

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


def _appearance(report: Sums, node: NodeCost, loose: bool) -> object:
    """All that must be equal for two nodes to be drawn as one, wiring aside."""
    what = node.kind, operation_name(report, node.kind, node.target)
    if loose:
        return *what, tuple((len(spec.shape), spec.dtype) for spec in node.outputs)
    return *what, tuple((spec.shape, spec.dtype) for spec in node.outputs), node.cost


def blocks(report: Sums, collapse: int, fold: bool = True, loose: bool = False) -> Blocks:
    """A report's graph as boxes in clusters; modules at depth `collapse` (1 and more) become one box per call."""
    return _Layout(report, collapse, fold, loose).build()


def readable_blocks(report: Sums, most: int, fold: bool = True) -> Blocks:
    """The most detailed drawing of at most `most` boxes.

    If nothing of what is in the root's modules can be shown, blocks of one structure and other sizes are folded too, to
    show one level more. If even the root's modules are more than that, neighbours among them are drawn as one box.
    """
    best, depth = _deepest(report, most, fold)
    if fold and depth < 2:
        looser = blocks(report, depth + 1, fold, loose=True)
        if len(looser.boxes) <= most:
            return looser
    return best if depth else _merged(best, -(-len(best.boxes) // most))


def _deepest(report: Sums, most: int, fold: bool) -> tuple[Blocks, int]:
    """The most detailed drawing of at most `most` boxes, and its depth; 0 if that of depth 1 has more."""
    best, depth = blocks(report, 1, fold), 1
    if len(best.boxes) > most:
        return best, 0
    for depth in range(2, MOST_LEVELS):
        deeper = blocks(report, depth, fold)
        if len(deeper.boxes) > most or deeper == best:
            return best, depth - 1
        best = deeper
    return best, depth


def _merged(drawing: Blocks, size: int) -> Blocks:
    """Every `size` neighbours outside of clusters as one box; inputs, constants and results stay as they are."""
    merged: list[tuple[Box, tuple[int, ...], list[int]]] = []
    for i, (box, frames) in enumerate(zip(drawing.boxes, drawing.frames, strict=True)):
        before = merged[-1] if merged else None
        alone = bool(frames) or box.times > 1 or not drawing.nodes[box.start].record.is_call
        if before is None or alone or not before[2] or len(before[2]) == size or before[0].stop != box.start:
            merged.append((box, frames, [] if alone else [i]))
        else:
            merged[-1] = (Box(before[0].start, box.stop, 1), frames, [*before[2], i])
    number = {box.start: i for i, (box, _, _) in enumerate(merged)}
    kept = {box.start: box for box, _, _ in merged}
    moved, current = [], -1
    for box in drawing.boxes:
        current = number.get(box.start, current)
        moved.append(current)
    items = [kept.get(item.start) if isinstance(item, Box) else item for item in drawing.root.items]
    return Blocks(
        nodes=drawing.nodes,
        root=Cluster(0, items=[item for item in items if item is not None]),
        boxes=tuple(box for box, _, _ in merged),
        box_of=tuple(moved[i] for i in drawing.box_of),
        frames=tuple(frames for _, frames, _ in merged),
    )
