"""The DOT text: golden, escaping, colours, and that Graphviz takes it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Callable

import pytest
import torch
from hand_made import ADD, ADD_COST, Builder, deep_chain, module, operation, residual_net, spec, transformer
from torch import nn

import fxcost
from fxcost.report import Report
from fxcost.views.as_dot import RAMP, quoted, readable_on, shade
from fxcost.views.blocks import blocks

needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
HOSTILE = [
    'a"b',
    "a\\",
    "a\\nb",
    "a\nb\r\t\0",
    "<b>html</b>",
    "&lt;&amp;",
    "\\N\\G\\L",
    "{x|<f0>y}",
    '"]; n0 -> n1 [',
    "é漢",
]


def svg_texts(dot: str) -> list[str]:
    """All texts of the picture that Graphviz makes."""
    done = subprocess.run(["dot", "-Tsvg"], input=dot.encode(), capture_output=True, timeout=60, check=True)
    assert not done.stderr, done.stderr.decode()
    return ["".join(node.itertext()) for node in ET.fromstring(done.stdout).iter("{http://www.w3.org/2000/svg}text")]


def test_dot_text(golden: Callable[[str, str], None]) -> None:
    """All there is to draw: clusters, a fold, an operator without a price, an assumption."""
    golden("residual.dot", residual_net(True, ("Routing is uniform.",)).to_dot())


@needs_dot
@pytest.mark.parametrize("collapse", [None, 1, 2, 99])
@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize("report", [residual_net(), transformer(30), deep_chain(100)])
def test_graphviz_takes_it(report: Report, collapse: int | None, fold: bool) -> None:
    """Without a warning; the totals stand on top."""
    texts = svg_texts(report.to_dot(collapse=collapse, fold=fold))
    assert report.model_type in texts
    assert any("1 MAC = 2 FLOPs" in text for text in texts)


@needs_dot
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_shown_as_they_are(name: str) -> None:
    """In a class, a module's name, a function's and an assumption."""
    op = operation(ADD, ADD_COST, (spec(2),), (spec(2),))
    build = Builder().node("x", "placeholder", name, out=(spec(2),))
    build.node("m", "call_module", name, name, (spec(2),), (op,))
    build.node("f", "call_function", name, "outer", (spec(2),), (op,))
    build.node("g", "call_function", name, "outer", (spec(2),), (op,))
    modules = (module("", name), module(name, name), module("outer", name))
    texts = svg_texts(build.report(modules, assumptions=(name,), model_type=name).to_dot(collapse=9, fold=False))
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)
    plain = [text.replace("\N{NO-BREAK SPACE}", " ") for text in texts]
    assert plain.count(shown) >= 3, plain
    assert f"{shown}  {shown}" in plain
    assert f"Assumed: {shown}" in plain


@needs_dot
def test_a_thousand_layers_render_quickly() -> None:
    """3,000 nodes that are alike fold to a small picture."""
    report = transformer(1_000)
    assert len(report.nodes) > 2_000
    assert len(svg_texts(report.to_dot())) < 60


def test_node_names_are_never_the_users() -> None:
    """Only numbers stand outside of quotes."""
    assert quoted('x"; }') == '"x\\"; }"'


def test_darker_is_more() -> None:
    """Nothing is white, the largest share has the darkest colour, and colours only get darker."""
    assert shade(0, 100) == "#ffffff"
    assert shade(100, 100) == RAMP[-1]
    assert shade(1, 0) == "#ffffff"
    steps = [RAMP.index(shade(i, 100)) for i in range(1, 101)]
    assert steps == sorted(steps)
    assert set(steps) == set(range(len(RAMP)))


@pytest.mark.parametrize("fill", RAMP)
def test_text_can_be_read_on_every_colour(fill: str) -> None:
    """Contrast of at least 4.5 to 1, as WCAG AA asks of normal text."""

    def luminance(color: str) -> float:
        parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(fill), luminance(readable_on(fill))), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_an_operator_without_a_price_is_marked() -> None:
    """Its box has a red frame, and the title names it."""
    text = residual_net(True).to_dot()
    (line,) = [line for line in text.splitlines() if "head  Linear" in line]
    assert "#b3261e" in line
    assert "Not costed: aten.grid_sampler_3d.default, 1 run" in text
    assert "#b3261e" not in residual_net().to_dot()


class Wide(nn.Module):
    """A deep chain with a connection past all of it, and blocks with long names."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        for i in range(12):
            layers = nn.Linear(4, 4 + i), nn.ReLU(), nn.Linear(4 + i, 4), nn.Tanh()
            setattr(self, f"a_block_with_a_long_name_{chr(ord('a') + i)}", nn.Sequential(*layers))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x = self.first(x)
        for block in list(self.children())[1:]:
            x = block(x) + x
        return x + y


def layout(dot: str) -> tuple[dict[str, tuple[float, float, float, float]], list[tuple[str, str, list[complex]]]]:
    """Where Graphviz puts things (points): boxes as left, bottom, right, top; edges with points along them."""
    done = subprocess.run(["dot", "-Tjson"], input=dot.encode(), capture_output=True, timeout=60, check=True)
    data = json.loads(done.stdout)
    boxes, names = {}, {}
    for thing in data["objects"]:
        if "pos" in thing:
            (x, y), w, h = map(float, thing["pos"].split(",")), 72 * float(thing["width"]), 72 * float(thing["height"])
            boxes[thing["name"]] = (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
        names[thing["_gvid"]] = thing["name"]
    edges = []
    for edge in data["edges"]:
        if edge.get("style") == "invis":
            continue
        corners = [complex(*map(float, point.split(",")[-2:])) for point in edge["pos"].split() if point[0] not in "es"]
        curves = [corners[i : i + 4] for i in range(0, len(corners) - 3, 3)]
        steps = [i / 16 for i in range(17)]
        points = [
            (1 - t) ** 3 * a + 3 * t * (1 - t) ** 2 * b + 3 * t**2 * (1 - t) * c + t**3 * d
            for a, b, c, d in curves
            for t in steps
        ]
        edges.append((names[edge["tail"]], names[edge["head"]], points))
    return boxes, edges


REAL = {
    "wide": lambda: fxcost.analyze(Wide(), (2, 4)),
    "net": residual_net,
    "transformer": lambda: transformer(30),
    "chain": lambda: deep_chain(100),
}


@needs_dot
@pytest.mark.parametrize("collapse", [None, 99])
@pytest.mark.parametrize("name", REAL)
def test_no_arrow_runs_over_a_box_or_a_title(name: str, collapse: int | None) -> None:
    """Nor from one column back to the next: each goes down."""
    boxes, edges = layout(REAL[name]().to_dot(collapse=collapse))
    assert any(box.startswith("t") for box in boxes) or name == "chain"
    for tail, head, points in edges:
        assert boxes[tail][1] >= boxes[head][1], (tail, head)
        for other, (left, bottom, right, top) in boxes.items():
            if other not in (tail, head):
                inside = [p for p in points if left < p.real < right and bottom < p.imag < top]
                assert not inside, (tail, head, other)


@needs_dot
def test_columns_are_joined_by_letters() -> None:
    """Two circles with one letter, for what is handed on; all that was an edge is one, or goes by one jump."""
    report = fxcost.analyze(Wide(), (2, 4))
    text = report.to_dot(collapse=99)
    jumps = re.findall(r"^  to_([A-Z]+) \[", text, re.MULTILINE)
    assert jumps[:2] == ["A", "B"]
    assert re.findall(r"^  from_([A-Z]+) \[", text, re.MULTILINE) == jumps
    assert set(re.findall(r"-> to_([A-Z]+)", text)) == set(re.findall(r"from_([A-Z]+) -> n", text)) == set(jumps)
    drawing = blocks(report, 99)
    given = {letter: box for box, letter in re.findall(r"n(\d+) -> to_([A-Z]+)", text)}
    drawn = {(given.get(a.removeprefix("from_"), a.removeprefix("n")), b) for a, b in EDGE.findall(text)}
    assert drawn == {(str(a), str(b)) for a, b in drawing.edges()}


EDGE = re.compile(r"^  ((?:n|from_)\w+) -> n(\d+) \[tooltip", re.MULTILINE)


def test_the_scale_says_what_colours_mean() -> None:
    """All colours from light to dark, and the share of the darkest box; none where nothing costs anything."""
    text = residual_net().to_dot()
    title = next(line for line in text.splitlines() if line.startswith("  label="))
    assert re.findall("color='(#[0-9a-f]+)'", title) == list(RAMP)
    assert "73.0% of the FLOPs" in title
    nothing = Builder().node("x", "placeholder", "x", out=(spec(2),)).report((module("", "Net"),))
    assert RAMP[0] not in nothing.to_dot()
