"""The graph in Graphviz's DOT language: boxes in clusters, coloured by their share of the FLOPs.

Arrows run through the titles of clusters, but go round nodes; so a title is a node, beside the first box in its
cluster. A long graph stands in columns, and what leads from one to another jumps: it ends in a circle with a letter,
and goes on from one with the same letter. The picture's own title is HTML-like text, for the scale of colours.

Node names in the text are numbers of our own, and every label is escaped, so no name of a user can break a file.
DOT needs little escaping, but `&` begins an HTML entity even in a plain label, which libraries leave alone; so the text
is written out here. Calls that handle no tensor, such as arithmetic on sizes, are not drawn.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape

from ..records.cost import Cost, NodeCost
from ..records.plain import COST_FIELDS
from ..text import units
from ..text.words import printable, shortened
from ..totals.sums import Sums
from .blocks import Blocks, Box, Cluster, blocks, readable_blocks
from .columns import broken, column_breaks, column_of
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
CLUSTER = 'label="" margin=12 color="#9aa5b1"'
TITLE = 'shape=plain style="" fontcolor="#3d4854"'
JUMP = 'shape=circle style=filled fixedsize=true width=0.27 margin=0 fillcolor="#ffefc4" color="#a37c1a"'
INPUT = 'style=filled fillcolor="#e9ebee"'
UNCOSTED = 'color="#b3261e" penwidth=2'

Jump = tuple[int, int]
"""What jumps: the box that it comes from, and the column that it goes to."""


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


def letters(number: int) -> str:
    """A name for a jump: A to Z, then AA, AB and so on.

    >>> letters(0), letters(25), letters(26), letters(52)
    ('A', 'Z', 'AA', 'BA')
    """
    more, last = divmod(number, 26)
    return (letters(more - 1) if more else "") + chr(ord("A") + last)


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
        self.members = drawing.members()
        self.costs = [Cost.total(node.cost for node in nodes) for nodes in self.members]
        self.darkest = max((cost.flops for cost in self.costs), default=0)
        self.number = {box.start: i for i, box in enumerate(drawing.boxes)}
        self.edges = drawing.edges()
        self.breaks = column_breaks(drawing.frames, self.edges, _folded(drawing.root))
        self.unframed = broken(drawing.frames, self.breaks)
        self.titled: set[int] = set()
        column = [column_of(self.breaks, i) for i in range(len(drawing.boxes))]
        jumps: dict[Jump, None] = {(a, column[b]): None for a, b in self.edges if column[a] != column[b]}
        self.column, self.jumps = column, {jump: letters(i) for i, jump in enumerate(jumps)}

    def lines(self) -> Iterator[str]:
        """The text, line by line."""
        title = self._title()
        yield 'digraph "\\G" {' if "\\G" in title else "digraph {"  # Graphviz puts the graph's name for `\G`
        yield from (f"  {line}" for line in HEAD)
        yield f"  label=<{title}>"
        yield from self._clusters()
        yield from self._titles()
        yield from self._jumps()
        yield from self._edges()
        yield "}"

    def _title(self) -> str:
        """What the picture shows, the scale of its colours, and what the numbers leave out."""
        report = self.report
        size = f"{units.count(report.params)} parameters, {units.count(report.macs)} MACs"
        lines = [
            report.model_type,
            f"{size}, {units.count(report.flops)} FLOPs (1 MAC = 2 FLOPs)",
            coverage(report),
            *(f"{name}: {text}" for name, text in caveats(report)),
        ]
        rows = [_cell(shortened(printable(line), TITLE_WIDTH)) for line in lines]
        return (
            f"<table border='0' cellborder='0' cellspacing='0' cellpadding='1'>{''.join(rows)}{self._scale()}</table>"
        )

    def _scale(self) -> str:
        """The colours from the lightest to the darkest, and what share of the FLOPs each end is."""
        if not self.darkest:
            return ""
        most = units.percent(self.darkest, self.report.flops)
        colours = "".join(f"<font color='{colour}'>█</font>" for colour in RAMP)
        return f"<tr><td><font point-size='11'>0% {colours} {most} of the FLOPs</font></td></tr>"

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
                yield from (f"{indent}  {line}" for line in self._frame(item, within))
                stack.append((None, "", depth))
                stack.extend((inner, item.module or within, depth + 1) for inner in reversed(item.items))

    def _frame(self, cluster: Cluster, within: str) -> Iterator[str]:
        """A cluster's frame, dashed if it is drawn once for several, and its title beside the first box."""
        repeats, last = cluster.repeats, cluster.last_module
        names = self._module_names(cluster.module, last, within, cluster.steps) if cluster.module else ()
        lines = [*names, f"×{repeats}"] if repeats > 1 else [*names]
        yield f'graph [{CLUSTER} style="{"rounded,dashed" if cluster.repeats > 1 else "rounded"}"]'
        if lines:
            text = quoted("\n".join((*lines, ""))).replace("\\n", "\\l")
            self.titled.add(cluster.number)
            yield f"t{cluster.number} [label={text} {TITLE}]"

    def _attributes(self, box: Box, within: str) -> str:
        """Label, tooltip and colours of a box."""
        number = self.number[box.start]
        nodes, cost = self.members[number], self.costs[number]
        label = [self._box_name(box, within), self._shapes(self.nodes[box.stop - 1], nodes[-1])]
        if cost.flops:
            label.append(f"{units.count(cost.flops)} FLOPs · {units.percent(cost.flops, self.report.flops)}")
        numbers = (f"{name}: {units.exact(getattr(cost, name))}" for name in COST_FIELDS)
        tip = [printable(box.module or nodes[0].name), *numbers]
        return f"label={_lines(label)} tooltip={_lines(tip)} {' '.join(self._style(nodes, cost.flops))}"

    def _shapes(self, first: NodeCost, last: NodeCost) -> str:
        """What a box returns: of several that differ in size the first and the last."""
        texts = [", ".join(_some([units.shape(spec.shape) for spec in node.outputs])) for node in (first, last)]
        return " … ".join(dict.fromkeys(texts))

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
            label = "  ".join(self._module_names(module, box.last_module or module, within, box.steps))
        else:
            operation = operation_name(self.report, node.kind, node.target)
            label = one_line(operation.rpartition(".")[2] or operation if node.record.is_call else node.name)
        return f"{label} ×{box.times}" if box.times > 1 else label

    def _module_names(self, module: str, last: str, within: str, times: int) -> tuple[str, ...]:
        """A module's name as seen from the cluster that it stands in, and its class."""
        prefix = f"{within}." if within and module.startswith(f"{within}.") else ""
        name = module[len(prefix) :]
        if last != module:
            name = stepped_name(name, last[len(prefix) :], times)
        known = self.report.modules.get(self.report.canonical(module))
        return tuple(map(one_line, filter(None, (name, known.type_name if known else ""))))

    def _edges(self) -> Iterator[str]:
        """One edge for each pair of boxes in one column; to another column they leave from a jump's second circle."""
        for (start, stop), sources in self.edges.items():
            tensors = dict.fromkeys(f"{t}, {units.byte_size(t.nbytes)}" for node in sources for t in node.outputs)
            jump = self.jumps.get((start, self.column[stop]))
            begin = f"n{start}" if jump is None else f"from_{jump}"
            yield f"  {begin} -> n{stop} [tooltip={_lines(tensors)}]"

    def _titles(self) -> Iterator[str]:
        """Titles stand to the left of the boxes with which their clusters begin."""
        inner = {(number, b) for a, b in self.edges for number in self.drawing.frames[a] if self._is_in(b, number)}
        for box, frames in enumerate(self.drawing.frames):
            for cluster in frames:
                if cluster in self.titled and (cluster, box) not in inner:
                    yield f"  t{cluster} -> n{box} [style=invis minlen=0 weight=9]"

    def _is_in(self, box: int, cluster: int) -> bool:
        return cluster in self.drawing.frames[box]

    def _jumps(self) -> Iterator[str]:
        """The pairs of circles; those at the tops of columns stand side by side, in the order of the columns."""
        for (start, _), jump in self.jumps.items():
            yield f"  to_{jump} [label={jump} {JUMP}]"
            yield f"  from_{jump} [label={jump} {JUMP}]"
            yield f"  n{start} -> to_{jump}"
        first = {column: f"from_{jump}" for (_, column), jump in reversed(self.jumps.items())}
        tops = [f"n{i}" for i in range(1) if self.jumps and not self.drawing.frames[i]]
        tops += [first[column] for column in sorted(first)]
        if len(tops) > 1:
            yield f"  {{rank=same {' -> '.join(tops)} [style=invis weight=0]}}"


def _some(texts: list[str]) -> list[str]:
    return texts[:MOST_SHAPES] + ["…"] * (len(texts) > MOST_SHAPES)


def _cell(line: str) -> str:
    return f"<tr><td>{escape(line)}</td></tr>"


def _folded(root: Cluster) -> set[int]:
    """The numbers of the clusters that are drawn once for several."""
    found, stack = set(), [root]
    while stack:
        cluster = stack.pop()
        if cluster.repeats > 1:
            found.add(cluster.number)
        stack.extend(item for item in cluster.items if isinstance(item, Cluster))
    return found
