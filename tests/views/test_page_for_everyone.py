"""The page for readers who use a keyboard, a screen reader or paper: axe-core in a real browser, and a printed copy.

axe-core comes from npm; `AXE_CORE` names its file. Where it, Chromium or selenium is missing, tests are skipped.
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from torch import nn

import fxcost
from tests.views.browser import SECTIONS, Browser, browser

AXE = Path(os.environ.get("AXE_CORE", "node_modules/axe-core/axe.min.js"))
RUN = """const done = arguments[0];
const shown = ({ id, impact, nodes }) => [id, impact, nodes[0].html.slice(0, 200)];
axe.run().then((found) => done(found.violations.map(shown)));
"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser for all tests of this file."""
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page of a network with a training step, and a diff."""
    folder = tmp_path_factory.mktemp("pages")
    small, large = (
        fxcost.analyze(
            nn.Sequential(*(nn.Sequential(nn.Linear(32, 32), nn.ReLU()) for _ in range(n)), nn.Linear(32, 4)),
            (2, 32),
            training=True,
        )
        for n in (2, 5)
    )
    large.to_html(folder / "net.html")
    fxcost.diff(small, large, names=("small", "large")).to_html(folder / "diff.html")
    return {name: folder / f"{name}.html" for name in ("net", "diff")}


@pytest.mark.skipif(not AXE.is_file(), reason="npm install axe-core, and AXE_CORE=…/axe.min.js")
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("name", ["net", "diff"])
def test_axe_finds_nothing_serious(
    chromium: Browser, pages: dict[str, Path], name: str, width: int, theme: str
) -> None:
    """No finding that is critical or serious, in both themes, on a telephone and on a desk."""
    media = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
    chromium.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    chromium.open(pages[name], width=width)
    chromium.driver.execute_cdp_cmd("Runtime.evaluate", {"expression": AXE.read_text(encoding="utf-8")})
    chromium.driver.set_script_timeout(60)
    found = chromium.driver.execute_async_script(RUN)
    assert [entry for entry in found if entry[1] in ("critical", "serious")] == []


def test_rows_are_one_stop_of_the_tab_key(chromium: Browser, pages: dict[str, Path]) -> None:
    """Tab reaches the table once; the arrows lead from row to row."""
    chromium.open(pages["net"])
    stops = "return document.querySelectorAll('#tables-view .tabulator-row[tabindex=\"0\"]').length"
    assert chromium.run(stops) == 1
    first = chromium.one("#tables-view .tabulator-row[tabindex='0']")
    chromium.run("arguments[0].focus()", first)
    first.send_keys("\ue015")  # arrow down
    assert chromium.run(stops) == 1
    assert chromium.run("return document.activeElement === arguments[0].nextElementSibling", first)


def test_escape_leaves_the_full_page(chromium: Browser, pages: dict[str, Path]) -> None:
    """And the button says so meanwhile."""
    chromium.open(pages["net"])
    chromium.click("#graph-full")
    assert "Esc" in chromium.one("#graph-full").text
    assert "full" in chromium.one("#graph").get_attribute("class").split()
    chromium.one("body").send_keys("\ue00c")
    assert "full" not in (chromium.one("#graph").get_attribute("class") or "").split()
    assert chromium.one("#graph-full").text == "Full page"


def test_operators_begin_with_the_costliest(chromium: Browser, pages: dict[str, Path]) -> None:
    """The table of operators is sorted by FLOPs before anybody asks."""
    chromium.open(pages["net"])
    chromium.click("#tables-kind button:nth-child(3)")
    first = "return document.querySelector('#tables-view .tabulator-row')?.innerText ?? ''"
    chromium.wait(lambda: "aten" in chromium.run(first))
    assert "aten.addmm" in chromium.run(first)


CUT = """
const frame = document.getElementById("graph-view").getBoundingClientRect();
return [...document.querySelectorAll("#graph-view g.box")].filter((box) => {
  const { left, right, top, bottom } = box.getBoundingClientRect();
  return left < frame.left || right > frame.right || top < frame.top || bottom > frame.bottom;
}).length;
"""


def test_the_whole_graph_is_on_paper(chromium: Browser, pages: dict[str, Path]) -> None:
    """However far it was moved and enlarged on the screen, where it is afterwards as before."""
    chromium.open(pages["net"])
    for _ in range(8):
        chromium.click("#graph-in")
    chromium.wait(lambda: chromium.run(CUT) > 0)
    moved = "return document.querySelector('#graph-view svg > g').getAttribute('transform')"
    before = chromium.run(moved)
    chromium.run("dispatchEvent(new Event('beforeprint'))")
    assert chromium.run(CUT) == 0
    chromium.run("dispatchEvent(new Event('afterprint'))")
    assert chromium.run(moved) == before
    assert chromium.run(CUT) > 0


def test_paper_has_everything(chromium: Browser, pages: dict[str, Path], tmp_path: Path) -> None:
    """A printed copy has every module, however few are in sight on the screen, and what was not scrolled to."""
    if shutil.which("pdftotext") is None:
        pytest.skip("pdftotext is not installed")
    chromium.driver.get(pages["net"].as_uri())
    pdf = chromium.driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"]
    path = tmp_path / "page.pdf"
    path.write_bytes(base64.b64decode(pdf))
    text = subprocess.run(["pdftotext", "-layout", str(path), "-"], capture_output=True, text=True, check=True).stdout
    for name in ("0.0", "1.0", "4.0", "4.1", "5"):
        assert any(line.split()[:1] == [name] for line in text.splitlines()), name
    assert all(chromium.run("return document.getElementById(arguments[0]).dataset.ready !== undefined", s)
               for s in SECTIONS if s != "diff")  # fmt: skip
