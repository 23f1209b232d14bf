"""SVG and PNG through Graphviz."""

from __future__ import annotations

import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hand_made import Builder, module, residual_net

from fxcost.errors import DrawingError, MissingLibraryError
from fxcost.views.as_graphviz import drawn

needs_graphviz = pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz's program dot is not installed")
SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = '</text><script>alert("x")</script>&amp;<img src=x onerror=alert(1)>'


@needs_graphviz
def test_svg_is_xml_with_the_names(tmp_path: Path) -> None:
    """A picture whose texts are those of the graph."""
    text = residual_net().to_svg(tmp_path / "net.svg")
    assert (tmp_path / "net.svg").read_text("utf-8") == text
    root = ElementTree.fromstring(text)
    assert root.tag == f"{SVG}svg"
    shown = " ".join("".join(element.itertext()) for element in root.iter(f"{SVG}text"))
    assert "Conv2d" in shown
    assert "Linear" in shown


@needs_graphviz
def test_png_is_a_png(tmp_path: Path) -> None:
    """The bytes that are returned are those of the file, and begin as a PNG does."""
    picture = residual_net().to_png(tmp_path / "net.png")
    assert (tmp_path / "net.png").read_bytes() == picture
    assert picture.startswith(b"\x89PNG\r\n")


@needs_graphviz
def test_hostile_names_stay_text() -> None:
    """Names with markup in them make no element, no attribute that runs, and no link."""
    build = Builder().node("n", "call_function", HOSTILE, HOSTILE, reads=())
    report = build.report((module("", HOSTILE), module(HOSTILE, HOSTILE)), model_type=HOSTILE)
    root = ElementTree.fromstring(report.to_svg(collapse=9))
    tags = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert tags <= {"svg", "g", "title", "text", "path", "polygon", "polyline", "ellipse", "a"}
    assert not any(name.startswith("on") for element in root.iter() for name in element.attrib)
    assert not any(name.endswith("href") for element in root.iter() for name in element.attrib)


@needs_graphviz
def test_graphviz_can_fail() -> None:
    """Its own complaint is passed on."""
    with pytest.raises(DrawingError, match="syntax error"):
        drawn("digraph {", "svg")


def test_without_graphviz(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is missing, and how to get it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingLibraryError, match="apt-get install graphviz"):
        residual_net().to_svg()
