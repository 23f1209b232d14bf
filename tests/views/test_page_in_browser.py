"""The page as a reader has it: in headless Chromium, with mouse and keyboard."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

import fxcost
from fxcost.compare.diff import diff
from fxcost.report import Report
from fxcost.text import units
from fxcost.views.as_html import page
from tests.views.browser import Browser, browser
from tests.views.hostile import SCRIPT, hostile_model

NODES = 10_000


class Block(nn.Module):
    """A bottleneck whose input is added to its result."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.bn, self.act = nn.Conv2d(8, width, 1), nn.BatchNorm2d(width), nn.ReLU()
        self.conv2 = nn.Conv2d(width, 8, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv2(self.act(self.bn(self.conv1(x))))


class Net(nn.Module):
    """A stem, two stages of blocks that are alike, and a head."""

    def __init__(self, repeats: int = 3) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.stage1 = nn.Sequential(*[Block(16) for _ in range(repeats)])
        self.stage2 = nn.Sequential(*[Block(64) for _ in range(2)])
        self.head = nn.Linear(8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.stage2(self.stage1(self.stem(x))).mean((2, 3)))


class Wide(nn.Module):
    """Thousands of nodes in hundreds of modules, hardly two of which are alike."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleList(nn.Linear(4, 4 + i % 11) for i in range(NODES // 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for part in self.parts:
            x = x + part(x).relu().sum(-1, keepdim=True)
        return x


def report(repeats: int = 3, training: bool = False) -> Report:
    return fxcost.analyze(Net(repeats), (2, 3, 16, 16), training=training)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser for all tests of this file."""
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def net_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the small net, with a training step."""
    path = tmp_path_factory.mktemp("page") / "net.html"
    report(training=True).to_html(path)
    return path


@pytest.fixture
def net(chromium: Browser, net_page: Path) -> Browser:
    """The small net's page, freshly opened; whatever is done with it, the console stays empty."""
    chromium.open(net_page)
    return chromium


@pytest.fixture(autouse=True)
def _console(chromium: Browser) -> Iterator[None]:
    chromium.complaints()
    yield
    assert chromium.complaints() == []


def test_everything_is_drawn(net: Browser) -> None:
    """Cards, cells, rows, boxes and a curve are there, and the page is no wider than the window."""
    assert net.one("h1").text == "Net"
    assert "100%" in net.texts(".card .figure")
    for selector in ("#structure-view .cell", "#tables-view .tabulator-row", "#graph-view .box", "#memory-view .live"):
        assert net.all(selector), selector
    assert net.run("return document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("width", [400, 700, 1100])
def test_narrow_windows(net: Browser, net_page: Path, width: int) -> None:
    """Nothing sticks out at the right."""
    net.open(net_page, width)
    assert net.run("return document.documentElement.scrollWidth") <= width


def test_switching_the_metric(net: Browser) -> None:
    """Cells take the sizes of another number: the stem has no share of the saved bytes that it has of the MACs."""

    def widths() -> dict[str, float]:
        script = """return Object.fromEntries([...document.querySelectorAll("#structure-view .cell[aria-label]")]
            .map((e) => [e.getAttribute("aria-label").split(": ").pop(), parseFloat(e.style.width)]))"""
        return dict(net.run(script))

    by_macs = widths()
    net.click("#structure-metric [data-key=params]")
    by_params = widths()
    modules = report().modules
    for name in ("stage1", "stage2"):
        share = modules[name].cost.macs / modules[""].cost.macs
        assert by_macs[name] / by_macs["Net"] == pytest.approx(share, abs=0.01)
        share = modules[name].parameters.params / modules[""].parameters.params
        assert by_params[name] / by_params["Net"] == pytest.approx(share, abs=0.01)
    net.click("#structure-layout [data-key=treemap]")
    assert net.all("#structure-view.treemap .cell")
    net.click("#structure-metric [data-key=saved]")
    assert net.one("#structure-metric [aria-pressed=true]").text == "Saved bytes"


def test_going_into_a_module_and_back(net: Browser) -> None:
    """A click opens, the path on top leads back; the keyboard does the same."""
    net.click("#structure-view .cell[aria-label$=': stage2']")
    assert net.texts("#structure-path strong") == ["stage2 Sequential"]
    net.click("#structure-path button.link")
    assert net.texts("#structure-path strong") == ["Net"]
    from selenium.webdriver.common.keys import Keys

    net.run("document.querySelector('#structure-view .cell.frame').focus()")
    for key in (Keys.ARROW_DOWN, Keys.ARROW_RIGHT):
        net.driver.switch_to.active_element.send_keys(key)
    net.driver.switch_to.active_element.send_keys(Keys.ENTER)
    assert net.texts("#structure-path strong") == ["stage1 Sequential"]
    net.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert net.texts("#structure-path strong") == ["Net"]


def rows(page: Browser) -> list[str]:
    """The first cells of the table's rows in sight, in their order on the screen."""
    script = """return [...document.querySelectorAll("#tables-view .tabulator-row")]
        .map((r) => [r.getBoundingClientRect().top, r.querySelector(".named").title])
        .sort((a, b) => a[0] - b[0]).map((r) => r[1])"""
    return list(page.run(script))


def test_sorting_and_searching(net: Browser) -> None:
    """A click on a heading sorts by exact numbers, another one turns it round; words narrow the rows down."""
    assert rows(net)[:2] == ["Net", "stem"]
    net.click("#tables-view .tabulator-col[tabulator-field=params]")
    children = [report().modules[name] for name in report().modules[""].children]
    costliest = max(children, key=lambda m: m.parameters.params).name
    net.wait(lambda: rows(net)[:2] == ["Net", costliest])
    net.click("#tables-view .tabulator-col[tabulator-field=params]")
    net.wait(lambda: rows(net)[1] != costliest)
    net.one("#tables-search").send_keys("stage2")
    listed = [m.name for m in report().modules.values() if m.name.startswith("stage2")]
    net.wait(lambda: set(rows(net)) == set(listed))  # a list, as long as something is searched for
    net.run("arguments[0].value = ''; arguments[0].dispatchEvent(new Event('input'))", net.one("#tables-search"))
    net.wait(lambda: rows(net)[0] == "Net")
    net.click("#tables-kind [data-key=node]")
    net.one("#tables-search").send_keys("STAGE2 conv2d")
    wanted = [n.name for n in report().nodes if n.module.startswith("stage2") and "conv" in n.module]
    net.wait(lambda: rows(net) == wanted)
    assert net.one("#tables-count").text == f"{len(wanted)} of {len(report().nodes)}"
    net.one("#tables-search").send_keys(" nothing like this")
    net.wait(lambda: rows(net) == [])


class Repeating(nn.Module):
    """Six layers alike, deep enough to be folded, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(nn.Sequential(nn.Conv1d(4, 4, 3, padding=1), nn.ReLU()) for _ in range(6)))
        self.head = nn.Linear(8, 2).requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layers(x))


@pytest.fixture
def folded(chromium: Browser, tmp_path: Path) -> Browser:
    """The page of a model that repeats."""
    fxcost.analyze(Repeating(), (2, 4, 8)).to_html(tmp_path / "folded.html")
    chromium.open(tmp_path / "folded.html")
    return chromium


def cells(page: Browser, field: str) -> list[str]:
    """What a column of the table shows."""
    return list(
        page.run(
            """return [...document.querySelectorAll('#tables-view .tabulator-row')]
            .sort((a, b) => a.getBoundingClientRect().top - b.getBoundingClientRect().top)
            .map((row) => row.querySelector(`[tabulator-field=${arguments[0]}]`)?.innerText.trim() ?? null)""",
            field,
        )
    )


def test_modules_are_a_tree_with_repeats_folded(folded: Browser) -> None:
    """One row for six layers, with their sum; it opens by arrow, and the sum is that of what stands below."""
    from selenium.webdriver.common.keys import Keys

    folded.show("tables")
    folded.wait(lambda: "0–5 ×6 Sequential" in cells(folded, "label"))
    report = fxcost.analyze(Repeating(), (2, 4, 8))
    at = cells(folded, "label").index("0–5 ×6 Sequential")
    assert cells(folded, "macs")[at] == units.count(report.cost_of("layers").macs)
    row = folded.run("return document.querySelectorAll('#tables-view .tabulator-row')[arguments[0]]", at)
    folded.run("arguments[0].focus()", row)
    count, was_open = len(cells(folded, "label")), row.get_attribute("aria-expanded") == "true"
    row.send_keys(Keys.ARROW_LEFT if was_open else Keys.ARROW_RIGHT)
    folded.wait(lambda: len(cells(folded, "label")) == (count - 6 if was_open else count + 6))


def test_columns_can_be_chosen(folded: Browser) -> None:
    """Input shapes, kernels and what is trained are there to be ticked."""
    folded.show("tables")
    assert set(cells(folded, "kernel")) == {None}
    folded.click(".choose summary")
    for tick in folded.all("#tables-columns label"):
        if tick.text in ("Input", "Kernel", "Trainable"):
            tick.find_element("css selector", "input").click()
    folded.click(".choose summary")
    folded.one("#tables-search").send_keys("conv1d")
    folded.wait(lambda: cells(folded, "kernel") == ["3"] * 6)
    assert cells(folded, "input") == ["[2,4,8]"] * 6
    assert cells(folded, "trainable") == ["52"] * 6
    folded.one("#tables-search").clear()
    folded.one("#tables-search").send_keys("head")
    folded.wait(lambda: cells(folded, "trainable") == ["0"])


def test_the_icicle_folds_repeats(folded: Browser) -> None:
    """One cell for six layers, as wide as all of them; colours are on one scale."""
    folded.show("structure")
    labels = folded.run("return [...document.querySelectorAll('.cell')].map((cell) => cell.innerText)")
    assert any("0–5 ×6" in label for label in labels), labels
    wide, whole = (folded.run("return document.querySelector(arguments[0]).offsetWidth", cell) for cell in (CELL, TOP))
    layers, all_ = (fxcost.analyze(Repeating(), (2, 4, 8)).cost_of(name).macs for name in ("layers", ""))
    assert abs(wide / whole - layers / all_) < 0.01


CELL, TOP = "[data-key='2']", "[data-key='0']"


def test_a_name_is_found_in_the_graph(folded: Browser) -> None:
    """What is around it opens; it is marked and in sight."""
    folded.show("graph")
    folded.click("#graph-close")
    folded.one("#graph-search").send_keys("conv1d")
    folded.wait(lambda: folded.one("#graph-count").text == "1 of 1")
    shown = folded.run(
        """const box = document.querySelector('.box.chosen').getBoundingClientRect();
        const view = document.getElementById('graph-view').getBoundingClientRect();
        return [box.left >= view.left, box.right <= view.right, box.top >= view.top, box.bottom <= view.bottom]"""
    )
    assert shown == [True] * 4
    folded.one("#graph-search").send_keys(" nothing")
    folded.wait(lambda: folded.one("#graph-count").text == "Nothing found")


def test_headings_sort_by_keyboard(net: Browser) -> None:
    """They take the focus, and Enter sorts."""
    from selenium.webdriver.common.keys import Keys

    heading = net.one("#tables-view .tabulator-col[tabulator-field=flops]")
    net.run("arguments[0].focus()", heading)
    heading.send_keys(Keys.ENTER)
    assert heading.get_attribute("aria-sort") == "descending"


def test_operators_lead_to_their_nodes(net: Browser) -> None:
    """The third table; a click on an operator lists the nodes that ran it."""
    net.click("#tables-kind [data-key=operator]")
    net.wait(lambda: set(rows(net)) == set(report().by_operator()))
    net.click("#tables-view .tabulator-row .named[title='aten.addmm.default']")
    net.wait(lambda: rows(net) == ["head"])


def test_a_node_of_the_graph_tells_everything(net: Browser) -> None:
    """Shapes, the record of what ran, the rule, and the formula with its numbers."""
    net.show("graph")
    net.click("#graph-view .box.op[aria-label^='stem']")
    panel = net.one("#details").text
    node = next(n for n in report().nodes if n.name == "stem")
    assert "float32[2,3,16,16]" in panel
    assert "aten.convolution.default" in panel
    assert f"{node.cost.macs:,}" in panel
    assert "convolution fxcost/rules/conv.py" in panel
    assert "2 · 8 · 14 · 14 · (3 // 1) · 3 · 3" in panel
    from selenium.webdriver.common.keys import Keys

    net.one("#details .close").send_keys(Keys.ESCAPE)
    assert not net.one("#details").is_displayed()


def test_modules_open_and_close_in_the_graph(net: Browser) -> None:
    """Repeats are drawn once and say how often; + opens, − closes, by mouse and by keyboard."""
    net.show("graph")
    net.click("#graph-close")
    closed = net.texts("#graph-view .box .box-title")
    assert [title for title in closed if "stage" in title] == ["stage1  Sequential", "stage2  Sequential"]
    net.click("#graph-view .box[aria-label^='stage1'] .handle")
    opened = net.texts("#graph-view .box .box-title")
    assert "0–2  Block  ×3" in opened
    assert "stage1  Sequential" not in opened
    assert net.texts("#graph-view .frame-title") == ["stage1  Sequential"]
    from selenium.webdriver.common.keys import Keys

    frame = net.one("#graph-view .frame[aria-label^='stage1']")
    net.run("arguments[0].focus()", frame)
    frame.send_keys(Keys.SPACE)
    assert net.texts("#graph-view .box .box-title") == closed
    net.click("#graph-deeper")
    assert len(net.all("#graph-view .frame")) == 2


def test_the_graph_zooms(net: Browser) -> None:
    """Buttons change the scale, and Fit shows all of it."""
    net.show("graph")

    def scale() -> float:
        found = net.run("return document.querySelector('#graph-view .canvas > g').getAttribute('transform')")
        return float(found.split("scale(")[1].rstrip(")"))

    before = scale()
    net.click("#graph-in")
    assert scale() > before
    net.click("#graph-fit")
    inside = """const [a, b] = ["#graph-view .canvas > g", "#graph-view"].map((s) =>
        document.querySelector(s).getBoundingClientRect());
        return a.left >= b.left && a.right <= b.right && a.top >= b.top && a.bottom <= b.bottom"""
    assert net.run(inside)
    net.click("#graph-full")
    assert net.run("return document.getElementById('graph-view').clientWidth > 1200")
    net.click("#graph-full")


def test_no_two_boxes_overlap(net: Browser) -> None:
    """With everything open, boxes stand beside each other."""
    net.show("graph")
    for _ in range(3):
        net.click("#graph-deeper")
    script = """return [...document.querySelectorAll("#graph-view .box > .body")].map((e) => {
        const r = e.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom] })"""
    boxes = net.run(script)
    assert len(boxes) > 12
    for i, a in enumerate(boxes):
        for b in boxes[:i]:
            assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


def test_memory_over_time(net: Browser) -> None:
    """The peak is marked; the keyboard reads the curve out; the training step is a second one."""
    peak = report(training=True).memory.peak_bytes
    assert f"peak {units.byte_size(peak)}" in net.texts("#memory-view .peak text")
    net.show("memory")
    from selenium.webdriver.common.keys import Keys

    curve = net.one("#memory-view svg")
    net.run("arguments[0].focus()", curve)
    curve.send_keys(Keys.ARROW_RIGHT)
    curve.send_keys(Keys.ARROW_RIGHT)
    assert net.texts("#memory-said")[0].startswith("stem, ")
    net.click("#memory-pass [data-key='Training step']")
    assert net.texts("#memory-view .divider text") == ["backward"]


def test_light_and_dark(net: Browser) -> None:
    """The system's preference counts until the reader switches; text keeps its contrast in every colour step."""
    background = "return getComputedStyle(document.body).backgroundColor"
    contrasts = """
        const light = (c) => { const [r, g, b] = c.match(/\\d+/g).map((v) => v / 255)
            .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
            return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
        const style = getComputedStyle(document.documentElement);
        const rgb = (name) => { const e = document.createElement("i"); e.style.color = style.getPropertyValue(name);
            document.body.append(e); const c = getComputedStyle(e).color; e.remove(); return light(c); };
        const ratio = (a, b) => { const [x, y] = [rgb(a), rgb(b)].sort((p, q) => q - p);
            return (x + 0.05) / (y + 0.05); };
        return [...Array(9).keys()].map((i) => ratio(`--s${i}`, `--t${i}`)).concat(["--bg", "--surface"].flatMap((s) =>
            ["--ink", "--soft", "--muted", "--accent", "--bad", "--good"].map((t) => ratio(s, t))))"""
    colours = set()
    for dark in (False, True):
        net.dark(dark)
        colours.add(net.run(background))
        assert min(net.run(contrasts)) >= 4.5
    net.click("#theme")
    assert net.run(background) in colours
    net.dark(False)
    assert net.run("return document.documentElement.dataset.theme") == "light"
    assert len(colours) == 2


def test_hostile_names_do_nothing(chromium: Browser, tmp_path: Path) -> None:
    """No script of theirs runs, wherever they are shown: cells, tables, the graph, details, tooltips."""
    hostile = fxcost.analyze(hostile_model(), (2, 4))
    path = tmp_path / "hostile.html"
    path.write_text(page(hostile, diff=diff(hostile, report()).to_dict()), encoding="utf-8")
    chromium.open(path)
    assert chromium.driver.title == f"{SCRIPT} → Net · fxcost"
    assert chromium.one("h1").text == f"{SCRIPT} → Net"
    for cell in chromium.all("#structure-view .cell")[1:4]:
        chromium.run("arguments[0].dispatchEvent(new PointerEvent('pointerenter'))", cell)
    chromium.click("#tables-kind [data-key=node]")
    chromium.click("#tables-view .tabulator-row:nth-child(3)")
    chromium.click("#graph-deeper")
    scripts = "return [window.pwned, document.scripts.length, document.images.length, document.links.length]"
    pwned, *counts = chromium.run(scripts)
    assert pwned is None
    assert counts == [5, 0, len(chromium.all("a[href^='#']"))]


def test_side_by_side(chromium: Browser, tmp_path: Path) -> None:
    """Totals of both models, the modules that changed, and on request all of them."""
    before, after = report(3), report(4)
    compared = diff(before, after)
    path = tmp_path / "diff.html"
    path.write_text(page(after, diff=compared.to_dict()), encoding="utf-8")
    chromium.open(path)
    totals = chromium.texts("#diff .totals tbody tr")
    assert units.count(before.params) in totals[0]
    assert units.count(after.params) in totals[0]
    shown = chromium.texts("#diff-rows tbody tr")
    assert [text for text in shown if "added" in text]
    assert not [text for text in shown if text.startswith("stem")]
    chromium.click("#diff-all")
    assert len(chromium.texts("#diff-rows tbody tr")) == len(compared.rows)


@pytest.mark.zoo
def test_ten_thousand_nodes(chromium: Browser, tmp_path: Path) -> None:
    """The page opens, sorts, searches and draws, and only what is in sight is drawn."""
    big = fxcost.analyze(Wide(), (2, 4))
    assert len(big.nodes) >= NODES
    big.to_html(tmp_path / "big.html")
    chromium.open(tmp_path / "big.html")
    chromium.click("#tables-kind [data-key=node]")
    chromium.click("#tables-view .tabulator-col[tabulator-field=flops]")
    chromium.one("#tables-search").send_keys("parts.2017")
    chromium.wait(lambda: chromium.one("#tables-count").text.startswith(("1 ", "2 ", "3 ", "4 ")))
    chromium.click("#graph-deeper")
    chromium.click("#structure-metric [data-key=bytes]")
    assert len(chromium.all("#tables-view .tabulator-row")) < 100
    assert 1 < len(chromium.all("#graph-view .box")) < 500
    assert len(json.dumps(chromium.run("return document.getElementById('graph-view').outerHTML"))) < 1_000_000
