"""The report in a notebook: well-formed, complete, without a script, and shown by a real one."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from hand_made import Builder, deep_chain, module, residual_net, transformer

from fxcost.views.as_notebook import MOST_MODULES

HOSTILE = '"><script>alert(1)</script><img src=x onerror="alert(1)">\''


class Reader(HTMLParser):
    """Checks that elements close as they opened, and notes tags, attributes and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data + "\n"


def test_totals_modules_and_operators() -> None:
    """The totals, every module folded inside its parent, what a module does itself, the operators."""
    report = residual_net(True, ("Routing is uniform.",))
    html = report._repr_html_()
    read = Reader(html)
    for word in ("Net on float32[2,3,8,8]", "MACs", "0–2 (Block) ×3", "conv (Conv2d)", "[add]", "Routing"):
        assert word in read.text
    assert "aten.grid_sampler_3d.default ×1" in read.text
    assert html.count("<details") == 4  # the model, the blocks, one block, the operators
    assert len(html) < 30_000


def test_nothing_runs_and_no_colour_is_fixed() -> None:
    """No script, no style sheet, nothing loaded; colours are the theme's or half transparent, so dark themes work."""
    html = residual_net()._repr_html_()
    read = Reader(html)
    assert read.tags <= {"div", "span", "b", "details", "summary"}
    assert read.attributes <= {"style", "title", "open"}
    colours = re.findall(r"(?<![-\w])(?:color|background|border(?:-left)?):([^;\"']*)", html)
    assert colours
    for colour in colours:
        assert colour in ("inherit", "none") or "rgba(" in colour


def test_hostile_names_are_text() -> None:
    """Names with markup and quotes in them are shown as they are."""
    build = Builder().node("x", "placeholder", "x").node(HOSTILE, "call_function", HOSTILE, HOSTILE)
    report = build.report((module("", HOSTILE), module(HOSTILE, HOSTILE)), assumptions=(HOSTILE,), model_type=HOSTILE)
    read = Reader(report._repr_html_())
    assert read.tags <= {"div", "span", "b", "details", "summary"}
    assert read.attributes <= {"style", "title", "open"}
    assert "<script>alert(1)" in read.text


@pytest.mark.parametrize("report", [transformer(4), deep_chain(800)], ids=["layers", "deep"])
def test_large_models_stay_small(report: object) -> None:
    """Repeats fold; beyond 300 modules the rest is only counted."""
    read = Reader(report._repr_html_())  # type: ignore[attr-defined]
    assert len(read.text) < 60_000
    assert ("more modules" in read.text) == (len(report.modules) > MOST_MODULES)  # type: ignore[attr-defined]


NOTEBOOK = """
import torch, fxcost
report = fxcost.analyze(torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU()), (2, 3))
report
"""


def test_a_real_notebook_shows_it() -> None:
    """A kernel runs the cell, and its output is our HTML beside the text."""
    nbformat = pytest.importorskip("nbformat", reason="the extra notebook")
    nbclient = pytest.importorskip("nbclient", reason="the extra notebook")
    pytest.importorskip("ipykernel", reason="the extra notebook")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(NOTEBOOK.strip())])
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    (output,) = notebook.cells[0].outputs
    assert output.output_type == "execute_result"
    assert output.data["text/plain"].startswith("<Report: Sequential: 24 MACs")
    assert "0 (Linear)" in Reader(output.data["text/html"]).text
