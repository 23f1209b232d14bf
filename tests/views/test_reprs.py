"""What a REPL and a notebook show: one short line, and a fragment of HTML; example notebooks run."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from torch import nn

import fxcost

NOTEBOOKS = sorted((Path(__file__).parents[2] / "examples" / "notebooks").glob("*.ipynb"))
NEEDS = {
    "cnn": "torchvision",
    "transformer": "transformers",
    "training": "torchvision",
    "diff_and_budget": "torchvision",
}


@pytest.fixture(scope="module")
def results():
    """Every kind of result, by its name."""
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8)).train()
    report = fxcost.analyze(model, ("B", 8), dims={"B": (1, 64)}, training=True)
    other = fxcost.analyze(nn.Sequential(nn.Linear(8, 8)), (4, 8))
    return {
        "report": report,
        "memory": report.memory,
        "training": report.training,
        "roofline": report.roofline("h100"),
        "reconcile": report.reconcile("thop", "fvcore"),
        "reconciliation": report.reconcile("thop")[0],
        "explanation": report.explain("0"),
        "formula": report.formula,
        "diff": fxcost.diff(other, report),
        "check": fxcost.check(report, max_macs=1),
        "fit": fxcost.fit(model, (4, 8), memory="1MiB"),
        "measurement": fxcost.measure(model, (4, 8), runs=1, warmup=0, device="h100"),
        "sweep": fxcost.sweep([{"model": model, "inputs": (4, 8)}], executor=_Here(), progress=False),
        "summary": fxcost.summary(model, input_size=(4, 8), verbose=0),
    }


class _Here:
    """An executor that runs what it is given at once."""

    def submit(self, function, *args, **kwargs):
        from concurrent.futures import Future

        future = Future()
        future.set_result(function(*args, **kwargs))
        return future


KINDS = (
    "report", "memory", "training", "roofline", "reconcile", "reconciliation", "explanation", "formula", "diff",
    "check", "fit", "measurement", "sweep",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_repr_is_one_short_line(results, kind):
    """In angle brackets, as nothing that could be typed; it names its kind."""
    text = repr(results[kind])
    assert re.fullmatch(r"<[A-Z]\w+.*>", text)
    assert "\n" not in text
    assert len(text) < 240


def test_parts_are_short_too(results):
    """Nodes and the recording, which hold all that was captured."""
    report = results["report"]
    assert all(len(repr(node)) < 240 for node in report.nodes)
    assert len(repr(report.recording)) < 240


class _Balanced(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.text = [], ""

    def handle_starttag(self, tag, attrs):
        if tag not in ("br", "input", "col"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize("kind", [*KINDS, "summary"])
def test_a_notebook_shows_html(results, kind):
    """Every element is closed, there is no script, and what is printed is in it."""
    html = results[kind]._repr_html_()
    parser = _Balanced()
    parser.feed(html)
    assert not parser.open
    assert "<script" not in html
    if kind not in ("report", "sweep"):
        assert parser.text == str(results[kind])


def test_what_users_name_is_escaped():
    """A module's name is no markup."""
    model = nn.Sequential()
    model.add_module("<b>", nn.Linear(4, 4))
    report = fxcost.analyze(model, (1, 4))
    for shown in (report.memory, report.explain("<b>"), report.roofline("h100")):
        assert "<b>" not in shown._repr_html_()


def _case(path):
    return pytest.param(path, marks=[] if path.stem == "diff_and_budget" else pytest.mark.zoo, id=path.stem)


@pytest.mark.parametrize("path", map(_case, NOTEBOOKS))
def test_an_example_notebook_runs(path, tmp_path, monkeypatch):
    """From the first cell to the last, as a kernel runs it, and each cell that ends in a result shows one."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    pytest.importorskip(NEEDS[path.stem])
    monkeypatch.setenv("PYTHONPATH", str(Path(fxcost.__file__).parents[1]))
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [cell.outputs for cell in notebook.cells if cell.cell_type == "code" and cell.outputs]
    assert any("text/html" in output.get("data", {}) for outputs in shown for output in outputs)


def test_there_is_a_notebook_for_everyone():
    """CNN, transformer, training, diff and budget."""
    assert {path.stem for path in NOTEBOOKS} == set(NEEDS)
