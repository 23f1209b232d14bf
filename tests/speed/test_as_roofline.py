"""Rooflines as text and pictures, on numbers made by hand."""

import pytest
from hand_timed import BOX, NODES, ROOFLINE, lines

from fxcost.errors import UnknownNameError
from fxcost.speed.roofline import Roofline


def test_totals_of_a_roofline():
    """6 ms of arithmetic, then 2 ms of traffic."""
    facts = lines(str(ROOFLINE))
    assert facts["Device"] == "Box"
    assert facts["Peaks"] == "float32 1.00 TFLOPS, int8 4.00 TOPS"
    assert facts["Memory"] == "100 GB/s, 8.00 GB"
    assert facts["Source"] == "a page"
    assert facts["Lower bound"] == "8.00 ms, 750 GFLOPS; nodes one after the other, fusion: none"
    assert facts["Critical path"] == "8.00 ms along 2 nodes, with unlimited parallelism"
    assert facts["Bound by"] == "compute 6.00 ms (75.0%), memory 2.00 ms (25.0%)"
    assert facts["By family"] == "convolution 6.00 ms (75.0%), pointwise 2.00 ms (25.0%)"


def test_rows_of_a_roofline():
    """Nodes that take time, the longest first; the rest as one row."""
    table = ROOFLINE.table(format="tsv").splitlines()[-2:]
    assert [cell.strip() for cell in table[0].split("\t")] == [
        "conv", "net.conv", "convolution", "6.00 G", "95.37 MiB", "60.00", "6.00 ms", "1.00 ms", "6.00 ms", "75.0%",
        "compute",
    ]  # fmt: skip
    assert [cell.strip() for cell in table[1].split("\t")][-1] == "memory"
    top = ROOFLINE.table(top=1, format="tsv").splitlines()[-1].split("\t")
    assert [cell.strip() for cell in top if cell.strip()] == ["1 more node", "2.00 ms", "25.0%"]
    swapped = Roofline(model_type="Net", device=BOX, dtype="", fusion="none", nodes=(NODES[1], NODES[0]), edges=())
    assert swapped.table(format="tsv", sort=False).splitlines()[-2].startswith("relu")


def test_unknown_formats_are_refused():
    """The message lists those of tabulate."""
    with pytest.raises(UnknownNameError, match="no table format 'pdf'"):
        ROOFLINE.table(format="pdf")


def test_a_picture(tmp_path):
    """Logarithmic axes; a legend with the roofs and the families; dots for nodes with FLOPs."""
    pytest.importorskip("matplotlib")
    ROOFLINE.plot(tmp_path / "roofline.png")
    assert (tmp_path / "roofline.png").read_bytes().startswith(b"\x89PNG")


def test_dots_stand_at_the_speed_that_is_predicted(monkeypatch, tmp_path):
    """1 TFLOPS for the convolution."""
    pytest.importorskip("matplotlib")
    from fxcost.speed import as_roofline_plot

    figures = []
    make = as_roofline_plot.figure_and_axes
    monkeypatch.setattr(as_roofline_plot, "figure_and_axes", lambda: figures.append(make()) or figures[-1])
    ROOFLINE.plot(tmp_path / "roofline.svg")
    _, axes = figures[-1]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert axes.collections[0].get_offsets().tolist() == [[60.0, pytest.approx(1e12)]]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels[:2] == ["memory: 100 GB/s", "float32: 1.00 TFLOPS"]
