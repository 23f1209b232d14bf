"""The graph in Graphviz's DOT language: boxes in clusters, coloured by their share of the FLOPs.

Node names in the text are numbers of our own, and every label is escaped, so no name of a user can break a file.
DOT needs little escaping, but `&` begins an HTML entity even in a plain label, which libraries leave alone; so the text
is written out here. Calls that handle no tensor, such as arithmetic on sizes, are not drawn.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ..records.cost import Cost, NodeCost
from ..records.plain import COST_FIELDS
from ..text import units
from ..text.words import printable, shortened
from ..totals.sums import Sums
from .blocks import Blocks, Box, Cluster, blocks, readable_blocks
from .columns import broken, column_breaks, crosses
from .rows import operation_name, stepped_name
from .summary import caveats, coverage

MOST_BOXES = 40
"""Boxes of an automatic picture: about as many as one page shows readably."""
LABEL_WIDTH, TITLE_WIDTH, MOST_SHAPES = 40, 110, 3
RAMP = ("#f7fbff", "#deebf7", "#c6dbef", "#9ecae1", "#6baed6", "#4292c6", "#2171b5", "#08519c", "#08306b")
"""ColorBrewer's "Blues": light to dark in one hue, so it reads in grey and with any colour vision."""
FONT = 'fontname="Helvetica,Arial,sans-serif"'
HEAD = (
    f"graph [{FONT} fontsize=13 labelloc=t nodesep=0.3 ranksep=0.32 pad=0.3]",
    f'node [{FONT} fontsize=11 shape=box style="rounded,filled" color="#6b7a8c" fillcolor="#ffffff" '
    'margin="0.14,0.07" height=0.3]',
    'edge [color="#5a6675" arrowsize=0.6]',
)
CLUSTER = 'labeljust=l fontsize=11 margin=14 color="#9aa5b1" fontcolor="#3d4854"'
INPUT = 'style=filled fillcolor="#e9ebee"'
UNCOSTED = 'color="#b3261e" penwidth=2'


def to_dot(report: Sums, *, collapse: int | None = None, fold: bool = True) -> str:
    """The report's graph as DOT text; :meth:`fxcost.report.Report.to_dot` explains the arguments."""
    drawing = readable_blocks(report, MOST_BOXES, fold) if collapse is None else blocks(report, collapse, fold)
    return "\n".join(_Picture(report, drawing).lines()) + "\n"


def quoted(text: str) -> str:
    """Text as a DOT string whose label shows just that text, its newlines as line ends.

    >>> print(quoted('say "hi" & <b>'))
    "say \\"hi\\" &amp; <b>"
    """
    text = text.replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{printable(text)}"'


def one_line(text: str) -> str:
    """A name of the user on one line, its middle left out if it is long."""
    return shortened(printable(text), LABEL_WIDTH)


def _lines(lines: Iterable[str]) -> str:
    return quoted("\n".join(filter(None, lines)))


def shade(part: int, most: int) -> str:
    """The colour of a share: white for none, then from light to dark in proportion to the largest."""
    if not part or not most:
        return "#ffffff"
    return RAMP[min(len(RAMP) - 1, len(RAMP) * part // most)]


def readable_on(fill: str) -> str:
    """Black or white, whichever has more contrast on a colour (WCAG 2.1, relative luminance).

    >>> readable_on("#f7fbff"), readable_on("#08306b")
    ('#000000', '#ffffff')
    """
    levels = [int(fill[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in levels)
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return "#000000" if (luminance + 0.05) / 0.05 >= 1.05 / (luminance + 0.05) else "#ffffff"


class _Picture:
    """Writes one drawing as DOT."""

    def __init__(self, report: Sums, drawing: Blocks) -> None:
        self.report, self.drawing, self.nodes = report, drawing, drawing.nodes
        self.costs = [Cost.total(node.cost for node in self._nodes(box)) * box.times for box in drawing.boxes]
        self.darkest = max((cost.flops for cost in self.costs), default=0)
        self.number = {box.start: i for i, box in enumerate(drawing.boxes)}
        self.edges = drawing.edges()
        self.breaks = column_breaks(drawing.frames, self.edges, _folded(drawing.root))
        self.unframed = broken(drawing.frames, self.breaks)

    def _nodes(self, box: Box) -> Sequence[NodeCost]:
        return self.nodes[box.start : box.stop]

    def lines(self) -> Iterator[str]:
        """The text, line by line."""
        yield "digraph {"
        yield from (f"  {line}" for line in HEAD)
        yield f"  label={_lines(shortened(printable(line), TITLE_WIDTH) for line in self._title())}"
        yield from self._clusters()
        yield from self._edges()
        yield "}"

    def _title(self) -> Iterator[str]:
        report = self.report
        yield report.model_type
        size = f"{units.count(report.params)} parameters, {units.count(report.macs)} MACs"
        yield f"{size}, {units.count(report.flops)} FLOPs (1 MAC = 2 FLOPs)"
        yield f"{coverage(report)}; darkest box: {units.percent(self.darkest, report.flops)} of the FLOPs"
        yield from (f"{name}: {text}" for name, text in caveats(report))

    def _clusters(self) -> Iterator[str]:
        """Nested subgraphs with the boxes in them. A cluster that columns break has no frame."""
        stack: list[tuple[Box | Cluster | None, str, int]]
        stack = [(item, "", 1) for item in reversed(self.drawing.root.items)]
        while stack:
            item, within, depth = stack.pop()
            indent = "  " * depth
            if item is None:
                yield f"{indent}}}"
            elif isinstance(item, Box):
                yield f"{indent}n{self.number[item.start]} [{self._attributes(item, within)}]"
            elif item.number in self.unframed:
                stack.extend((inner, within, depth) for inner in reversed(item.items))
            else:
                yield f"{indent}subgraph cluster_{item.number} {{"
                yield f"{indent}  {self._frame(item, within)}"
                stack.append((None, "", depth))
                stack.extend((inner, item.module or within, depth + 1) for inner in reversed(item.items))

    def _frame(self, cluster: Cluster, within: str) -> str:
        """Attributes of a cluster: dashed if it is drawn once for several."""
        label = (
            self._module_label(cluster.module, cluster.last_module, within, cluster.repeats) if cluster.module else ""
        )
        if cluster.repeats > 1:
            label = f"{label} ×{cluster.repeats}".strip()
        style = "rounded,dashed" if cluster.repeats > 1 else "rounded"
        return f'graph [label={quoted(label)} {CLUSTER} style="{style}"]'

    def _attributes(self, box: Box, within: str) -> str:
        """Label, tooltip and colours of a box."""
        nodes, cost = self._nodes(box), self.costs[self.number[box.start]]
        shapes = [units.shape(spec.shape) for spec in nodes[-1].outputs]
        label = [self._box_name(box, within), ", ".join(shapes[:MOST_SHAPES] + ["…"] * (len(shapes) > MOST_SHAPES))]
        if cost.flops:
            label.append(f"{units.count(cost.flops)} FLOPs · {units.percent(cost.flops, self.report.flops)}")
        numbers = (f"{name}: {units.exact(getattr(cost, name))}" for name in COST_FIELDS)
        tip = [printable(box.module or nodes[0].name), *numbers]
        return f"label={_lines(label)} tooltip={_lines(tip)} {' '.join(self._style(nodes, cost.flops))}"

    def _style(self, nodes: Sequence[NodeCost], flops: int) -> Iterator[str]:
        """Colours of a box: grey for what is given or returned, a red frame where a price is missing."""
        if not nodes[0].record.is_call:
            yield INPUT
            return
        fill = shade(flops, self.darkest)
        yield f'fillcolor="{fill}" fontcolor="{readable_on(fill)}"'
        if any(node.uncosted for node in nodes):
            yield UNCOSTED

    def _box_name(self, box: Box, within: str) -> str:
        """A module's name and class, or the name of a function."""
        node = self.nodes[box.start]
        if box.stop - box.start > 1 and not box.module:
            first, last = (self._box_name(Box(i, i + 1, 1), within) for i in (box.start, box.stop - 1))
            return f"{first} … {last}, {box.stop - box.start} operations"
        if box.module or node.kind == "call_module":
            module = box.module or node.target
            label = self._module_label(module, box.last_module or module, within, box.times)
        else:
            operation = operation_name(self.report, node.kind, node.target)
            label = one_line(operation.rpartition(".")[2] or operation if node.record.is_call else node.name)
        return f"{label} ×{box.times}" if box.times > 1 else label

    def _module_label(self, module: str, last: str, within: str, times: int) -> str:
        """A module's name as seen from the cluster that it stands in, and its class."""
        prefix = f"{within}." if within and module.startswith(f"{within}.") else ""
        name = module[len(prefix) :]
        if last != module:
            name = stepped_name(name, last[len(prefix) :], times)
        known = self.report.modules.get(self.report.canonical(module))
        return "  ".join(map(one_line, filter(None, (name, known.type_name if known else ""))))

    def _edges(self) -> Iterator[str]:
        """One edge for each pair of boxes."""
        for edge, sources in self.edges.items():
            tensors = dict.fromkeys(f"{t}, {units.byte_size(t.nbytes)}" for node in sources for t in node.outputs)
            free = " constraint=false headport=n" if crosses(self.breaks, edge) else ""
            yield f"  n{edge[0]} -> n{edge[1]} [tooltip={_lines(tensors)}{free}]"


def _folded(root: Cluster) -> set[int]:
    """The numbers of the clusters that are drawn once for several."""
    found, stack = set(), [root]
    while stack:
        cluster = stack.pop()
        if cluster.repeats > 1:
            found.add(cluster.number)
        stack.extend(item for item in cluster.items if isinstance(item, Cluster))
    return found
