"""The page as text: one file, safe whatever the names, with the report's own numbers in it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from base64 import b64encode
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from html import unescape
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import fxcost
from fxcost.compare.diff import diff
from fxcost.records.cost import Cost
from fxcost.records.plain import COST_FIELDS
from fxcost.report import Report
from fxcost.text import units
from fxcost.views.as_html import LIBRARIES, LICENCES, page
from fxcost.views.blocks import Box, Cluster
from fxcost.views.page.graph import MOST_MEMBERS, in_parts
from fxcost.views.page.memory import columns
from fxcost.views.page.store import number
from tests.views.hostile import NAMES, SCRIPT, hostile_model, name_of_module

VENDOR = Path(str(files("fxcost.views") / "vendor"))


class Block(nn.Module):
    """Linear, ReLU, and the input added."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up, self.act, self.down = nn.Linear(16, width), nn.ReLU(), nn.Linear(width, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.down(self.act(self.up(x)))


class Net(nn.Module):
    """Blocks of different widths, which are not alike, then four that are."""

    def __init__(self, blocks: int = 2) -> None:
        super().__init__()
        self.stem = nn.Linear(8, 16)
        self.first = nn.Sequential(*[Block(16 + i) for i in range(blocks)])
        self.layers = nn.ModuleList(Block(32) for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(self.stem(x))
        for layer in self.layers:
            x = layer(x)
        return x.softmax(-1)


@cache
def net_report(blocks: int = 2, training: bool = False) -> Report:
    return fxcost.analyze(Net(blocks), (2, 8), training=training)


class Parsed(HTMLParser):
    """Elements with their attributes, and the texts of scripts, styles and everything else."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.blocks: dict[str, list[str]] = {"script": [], "style": []}
        self.words: list[str] = []
        self._open = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in self.blocks:
            self._open = tag
            self.blocks[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        self._open = "" if tag == self._open else self._open

    def handle_data(self, data: str) -> None:
        if self._open:
            self.blocks[self._open][-1] += data
        else:
            self.words.append(data)

    @property
    def data(self) -> dict[str, Any]:
        """What the scripts are given."""
        found = json.loads(self.blocks["script"][0])
        assert isinstance(found, dict)
        return found

    @property
    def policy(self) -> str:
        """The Content-Security-Policy."""
        (policy,) = [a["content"] for t, a in self.elements if a.get("http-equiv") == "Content-Security-Policy"]
        return policy or ""


def cost_in(data: dict[str, Any], position: int) -> Cost:
    """A cost of the page's data as one of ours."""
    given = dict(zip(COST_FIELDS, map(int, data["costs"][position]), strict=True))
    assert given.pop("flops") == 2 * given["macs"] + given["other_flops"]
    return Cost(**given)


def test_it_is_one_file() -> None:
    """Nothing is loaded from anywhere: no address in any attribute, and the policy allows no connection."""
    parsed = Parsed(page(net_report()))
    addresses = [a.get(k) for _, a in parsed.elements for k in ("src", "href", "action", "data") if a.get(k)]
    assert addresses
    assert all(address.startswith("#") for address in addresses if address)
    assert "default-src 'none'" in parsed.policy
    assert "unsafe" not in parsed.policy
    assert "sourceMappingURL" not in "".join(parsed.blocks["script"])


def test_the_policy_names_each_script_and_style_by_its_hash() -> None:
    """A browser would refuse those whose hash is not there; nothing is written into attributes."""
    parsed = Parsed(page(net_report()))
    for kind, texts in (("script-src", parsed.blocks["script"][1:]), ("style-src", parsed.blocks["style"])):
        (directive,) = [part for part in parsed.policy.split("; ") if part.startswith(kind)]
        hashes = [f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'" for text in texts]
        assert directive.split()[1:] == hashes
    assert [a for _, a in parsed.elements for k in a if k == "style" or k.startswith("on")] == []


def test_libraries_are_those_of_the_list() -> None:
    """Every file beside the list of libraries stands in it with its hash, and the page holds every licence."""
    rows = re.findall(r"^\| (\S+) \|.*`([0-9a-f]{64})` \|$", (VENDOR / "README.md").read_text(), re.MULTILINE)
    listed = dict(rows)
    found = {p.name: sha256(p.read_bytes()).hexdigest() for p in VENDOR.iterdir() if p.name != "README.md"}
    assert found == listed
    assert {*LIBRARIES, *LICENCES} < set(found)
    text = " ".join(" ".join(Parsed(page(net_report())).words).split())
    for name in LICENCES:
        assert " ".join((VENDOR / name).read_text().split()) in text


def test_numbers_are_the_reports() -> None:
    """Totals, modules, nodes and operators have the report's costs, each stored once."""
    report = net_report()
    data = Parsed(page(report)).data
    assert cost_in(data, data["total"]) == report.cost
    names = [data["texts"][module[0]] for module in data["modules"]]
    assert names == list(report.modules)
    for row, module in zip(data["modules"], report.modules.values(), strict=True):
        assert (cost_in(data, row[5]), cost_in(data, row[6])) == (module.own, module.cost)
        assert (names[row[2]] if row[2] >= 0 else None) == module.parent
        assert (row[8] or [0])[0] == module.parameters.params
    for row, node in zip(data["nodes"], report.nodes, strict=True):
        assert cost_in(data, row[7]) == node.cost
        assert Cost.total(cost_in(data, data["operations"][i][3]) for i in data["runs"][row[6]]) == node.cost
        assert [data["specs"][i][0] for i in row[5]] == [str(spec) for spec in node.outputs]
        assert [report.nodes[i].name for i in row[8]] == list(node.record.input_nodes)
    assert [data["texts"][o[0]] for o in data["operators"]] == [o.name for o in report.operators]
    for table in ("texts", "specs", "costs"):
        rows = [json.dumps(row) for row in data[table]]
        assert len(set(rows)) == len(rows)


def test_the_graph_adds_up_and_folds_repeats() -> None:
    """A group's cost is that of its members, the root's is the total; four equal layers are drawn once."""
    report = net_report()
    data = Parsed(page(report)).data
    graph = data["graph"]
    sums = [Cost() for _ in graph["groups"]]
    for box in graph["boxes"]:
        sums[box[0]] = sums[box[0]] + cost_in(data, box[5])
    for i in range(len(sums) - 1, 0, -1):
        assert graph["groups"][i][0] < i
        sums[graph["groups"][i][0]] = sums[graph["groups"][i][0]] + sums[i]
    assert sums == [cost_in(data, group[5]) for group in graph["groups"]]
    assert sums[0] == report.cost
    assert [(g[1], g[2], g[4]) for g in graph["groups"] if g[4] > 1] == [("0–3", "Block", 4)]
    assert all(0 <= a < b < len(graph["boxes"]) for a, b, _ in graph["edges"])


def test_many_members_are_divided() -> None:
    """However many members a group has, none that is drawn has more than fit; none is lost, and order is kept."""
    boxes = [Box(i, i + 1, 1) for i in range(5_000)]
    seen, widest, stack = [], 0, [in_parts(boxes)]
    while stack:
        items = stack.pop()
        widest = max(widest, len(items))
        for item in reversed(items):
            stack.append(item.items) if isinstance(item, Cluster) else seen.append(item)
    assert widest <= MOST_MEMBERS
    assert sorted(seen, key=lambda box: box.start) == boxes
    assert in_parts(boxes[:MOST_MEMBERS]) == boxes[:MOST_MEMBERS]


def test_formulas_stand_beside_the_numbers() -> None:
    """A convolution's record names its rule, its formula and the sizes put in; free operators need none."""
    report = fxcost.analyze(nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.Flatten()), (1, 3, 6, 6))
    data = Parsed(page(report)).data
    (rule, place, words, _, terms), flatten = (operation[7] for operation in data["operations"])
    assert (rule, place.split(":")[0]) == ("convolution", "fxcost/rules/conv.py")
    assert "input (n, c_in, *spatial)" in words
    heading, value, lines, source = terms[0]
    assert (heading, value) == ("MACs", f"{8 * 3 * 3 * 3 * 4 * 4:,}")
    assert "1 · 8 · 4 · 4 · (3 // 1) · 3 · 3" in lines[1]
    assert "torch.nn.Conv2d" in source
    assert flatten is None


def test_a_rule_of_one_analysis_is_not_explained_by_another() -> None:
    """With `rules=` the page has the number, and no formula that gives another one."""
    report = fxcost.analyze(nn.ReLU(), (2, 3), rules={torch.ops.aten.relu: lambda op: Cost(other_flops=1000)})
    data = Parsed(page(report)).data
    assert cost_in(data, data["total"]).flops == 1000
    assert [operation[7] for operation in data["operations"]] == [None]


def test_integers_beyond_javascripts_are_text() -> None:
    """The costs of a huge product arrive without rounding."""
    with torch.device("meta"):
        huge = nn.Linear(10**8 + 1, 10**8 + 3, bias=False)
    report = fxcost.analyze(huge, (3, 10**8 + 1))
    data = Parsed(page(report)).data
    assert cost_in(data, data["total"]).macs == 3 * (10**8 + 1) * (10**8 + 3)
    assert number(2**53) == 2**53
    assert number(2**53 + 1) == str(2**53 + 1)


def test_saved_bytes_are_there_when_training_was_analysed() -> None:
    """The root saves what the whole step saves; without a step nothing is said of it."""
    with_step, without = Parsed(page(net_report(training=True))).data, Parsed(page(net_report())).data
    training = net_report(training=True).training
    assert training is not None
    assert with_step["hasSaved"] is True
    assert with_step["modules"][0][9] == training.saved_bytes > 0
    assert with_step["graph"]["groups"][0][6] == training.saved_bytes
    assert [timeline["name"] for timeline in with_step["memory"]] == ["Forward pass", "Training step"]
    assert max(level for _, level in with_step["memory"][1]["columns"]) == max(training.live)
    assert without["hasSaved"] is False
    assert without["modules"][0][9] is None


def test_timelines_keep_their_peaks() -> None:
    """Ten thousand nodes become a thousand columns at most, the highest among them at its place."""
    levels = [i * 7919 % 10_007 for i in range(12_345)]
    made = columns(levels)
    assert len(made) <= 1000
    assert max(made, key=lambda c: c[1]) == [levels.index(max(levels)), max(levels)]
    assert all(levels[at] == level for at, level in made)
    assert columns([]) == []


def test_what_is_assumed_and_missing_is_on_top() -> None:
    """An operator without a rule is named, and the coverage is marked."""
    with torch.library._scoped_library("page_test", "FRAGMENT") as library:
        library.define("secret(Tensor x) -> Tensor")
        library.impl("secret", torch.empty_like, "Meta")
        report = fxcost.analyze(lambda x: torch.ops.page_test.secret(x), (2, 3))
    parsed = Parsed(page(report))
    assert any("page_test.secret.default, 1 run: its arithmetic is missing" in word for word in parsed.words)
    assert any("warns" in (a.get("class") or "") for _, a in parsed.elements)
    assert not any("warns" in (a.get("class") or "") for _, a in Parsed(page(net_report())).elements)


def test_other_tools_stand_with_their_terms() -> None:
    """Each tool's number and the terms that lead to it; one that refuses says so."""
    report = net_report()
    words = " ".join(Parsed(page(report)).words)
    (path,) = report.reconcile("thop")
    assert f"{path.theirs:,}" in words
    for term in path.terms:
        assert f"{term.amount:+,}" in words
        assert term.why in words
    words = " ".join(Parsed(page(fxcost.analyze(lambda x: x @ x, (3, 3)))).words)
    assert "refuses" in words


@pytest.mark.parametrize("training", [False, True])
def test_devices_have_cards(training: bool) -> None:
    """The estimated time with its range, and the memory as the device reports it; a CPU has no allocator of CUDA's."""
    report = net_report(training=training)
    text = unescape(report.to_html(devices=("rtx4090", "i9-10940x")))
    for name in ("rtx4090", "i9-10940x"):
        found = report.estimate(name)
        assert f"On {found.device.name}" in text
        what = "training step" if training else "forward pass"
        assert f"{units.seconds(found.low)} to {units.seconds(found.high)} for a {what}" in text
    memory = report.memory_on("rtx4090")
    assert f"{units.byte_size(memory.low_bytes)} to {units.byte_size(memory.high_bytes)} of" in text
    assert "On NVIDIA" not in report.to_html()
    with pytest.raises(fxcost.FxcostError, match="rtx409"):
        report.to_html(devices=("rtx409",))


@pytest.mark.parametrize("training", [False, True])
def test_a_rank_has_a_card(training: bool) -> None:
    """What it sends, in a training step if there is one, along which dimension, and which rank it is."""
    model, recipe = nn.Sequential(nn.Linear(64, 64, bias=False)), fxcost.parallel.fully_shard()
    report = fxcost.analyze(model, (2, 64), training=training, mesh={"dp": 2}, parallelize=recipe)
    text = unescape(page(report))
    assert "Sent by this rank" in text
    found = report.communication if report.training is None else report.training.communication
    weight = 64 * 64 * 4
    assert found.sent_bytes == weight // 2 * (2 if training else 1)
    assert f"dp {units.byte_size(found.sent_bytes)}" in text
    assert f"rank {report.rank}" in text
    assert "Sent by this rank" not in page(fxcost.analyze(model, (2, 64)))


def test_hostile_names_stay_text() -> None:
    """No element, attribute or script comes of a name; each is shown as it is, unprintable characters replaced."""
    plain, hostile = (Parsed(page(fxcost.analyze(model, (2, 4)))) for model in (nn.Linear(4, 4), hostile_model()))
    for parsed in (plain, hostile):
        assert len(parsed.blocks["script"]) == 5
        assert len(parsed.blocks["style"]) == 2
    assert hostile.blocks["script"][1:] == plain.blocks["script"][1:]
    assert {tag for tag, _ in hostile.elements} <= {tag for tag, _ in plain.elements}
    assert {name for _, a in hostile.elements for name in a} <= {name for _, a in plain.elements for name in a}
    assert hostile.words.count(SCRIPT) == 1  # the heading; the title is a text of its own
    shown = ["".join(c if c.isprintable() else "\ufffd" for c in name_of_module(text)) for text in NAMES]
    assert set(shown) <= set(hostile.data["texts"])
    assert not any("<" in text for text in hostile.blocks["script"][:1])


def test_hostile_names_can_be_written(tmp_path: Path) -> None:
    """A lone surrogate is no reason to fail."""
    report = fxcost.analyze(hostile_model(), (2, 4))
    assert report.to_html(tmp_path / "page.html") == (tmp_path / "page.html").read_text(encoding="utf-8")


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_hostile_names_in_the_picture() -> None:
    """DOT and the SVG that Graphviz makes of it hold the names as text: no script, no handler, no link."""
    dot = fxcost.analyze(hostile_model(), (2, 4)).to_dot(collapse=9, fold=False)
    done = subprocess.run(["dot", "-Tsvg"], input=dot.encode(), capture_output=True, timeout=60, check=True)
    assert not done.stderr, done.stderr.decode()
    svg = "{http://www.w3.org/2000/svg}"
    found = list(ET.fromstring(done.stdout).iter())
    tags = {"svg", "g", "title", "path", "polygon", "polyline", "ellipse", "text", "a"}
    assert {e.tag.removeprefix(svg) for e in found} <= tags
    assert [name for e in found for name in e.attrib if name.startswith("on")] == []
    links = [value for e in found for name, value in e.attrib.items() if name.endswith("href")]
    assert links == []
    texts = ["".join(e.itertext()).replace("\N{NO-BREAK SPACE}", " ") for e in found if e.tag == f"{svg}text"]
    assert any("<script>" in text for text in texts)


def test_a_diff_is_a_section_of_its_own() -> None:
    """With a comparison there is one section more, fed with what the diff says of itself."""
    before, after = net_report(2), net_report(3)
    compared = diff(before, after)
    parsed = Parsed(page(after, diff=compared.to_dict()))
    assert parsed.data["diff"]["totals"][0]["after"] == after.params
    assert ("section", {"id": "diff"}) in parsed.elements
    assert ("section", {"id": "diff"}) not in Parsed(page(after)).elements


def test_resnet50_is_small() -> None:
    """Under 5 MB, libraries included; the summary has the model's totals."""
    torchvision = pytest.importorskip("torchvision")
    report = fxcost.analyze(torchvision.models.resnet50().eval(), (1, 3, 224, 224))
    text = report.to_html()
    assert len(text.encode()) < 2_000_000
    words = Parsed(text).words
    assert "4,089,184,256" in words
    assert "25,557,032" in words


def calls_made(function: Callable[[], object]) -> int:
    """How many Python functions run while a function does."""
    count = 0

    def note(frame: object, event: str, arg: object) -> None:
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(before)
    return count


def test_the_work_grows_with_the_nodes() -> None:
    """Ten times as many nodes take at most ten times as many calls: no step compares nodes with each other."""
    counts = []
    for blocks in (20, 200):
        report = fxcost.analyze(Net(blocks), (2, 8))
        page(report)  # sums are made once
        counts.append(calls_made(lambda report=report: page(report)))
    assert counts[0] > 100
    assert counts[1] < 11 * counts[0]


def test_writes_what_it_returns(tmp_path: Path) -> None:
    """`to_html(path)` writes the page that it returns."""
    text = net_report().to_html(tmp_path / "net.html")
    assert (tmp_path / "net.html").read_text(encoding="utf-8") == text
    assert text.startswith("<!doctype html>")
    assert text == net_report().to_html()
