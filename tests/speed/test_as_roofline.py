"""Rooflines and measurements as text, pictures and plain data, on numbers made by hand."""

from io import BytesIO

import pytest
from hand_made import residual_net

from fxcost.errors import UnknownNameError
from fxcost.records.cost import Cost
from fxcost.speed.devices import Device
from fxcost.speed.roofline import Roofline
from fxcost.speed.times import NodeTime
from fxcost.timing.measured import NodeMeasurement, OperatorTime, StepMeasurement, Timing
from fxcost.timing.measurement import Measurement

BOX = Device(
    name="Box", flops_per_s={"float32": 1e12, "int8": 4e12}, bytes_per_s=1e11, memory_bytes=8 * 10**9, source="a page"
)


def node(name, family, flops, nbytes):
    compute, memory = flops / 1e12, nbytes / 1e11
    return NodeTime(
        name=name,
        module=f"net.{name}",
        family=family,
        dtype="float32",
        flops=flops,
        bytes_moved=nbytes,
        compute_s=compute,
        memory_s=memory,
        overhead_s=0.0,
        time_s=max(compute, memory),
    )


NODES = (node("conv", "convolution", 6 * 10**9, 10**8), node("relu", "pointwise", 10**6, 2 * 10**8))
IDLE = NodeTime(
    name="view", module="", family="", dtype="", flops=0, bytes_moved=0, compute_s=0, memory_s=0, overhead_s=0, time_s=0
)
ROOFLINE = Roofline(
    model_type="Net",
    device=BOX,
    dtype="",
    fusion="none",
    nodes=(*NODES, IDLE),
    edges=(("conv", "relu"), ("relu", "view")),
)
MEASUREMENT = Measurement(
    report=residual_net(),
    roofline=ROOFLINE,
    place="cpu",
    dtype="float32",
    batch=4,
    forward=Timing((0.016, 0.015, 0.018)),
    nodes=(
        NodeMeasurement("conv", "net.conv", Timing((0.012,)), NODES[0], Cost(macs=3 * 10**9, bytes_read=10**8)),
        NodeMeasurement("relu", "net.relu", Timing((0.004,)), NODES[1], Cost(other_flops=10**6, bytes_read=2 * 10**8)),
        NodeMeasurement("view", "", Timing((1e-6,)), IDLE, Cost()),
    ),
    training=StepMeasurement(Timing((0.02,)), Timing((0.04,)), Timing((0.06,)), 0.008, 0.016, 18 * 10**9, 12 * 10**9),
    operators=(OperatorTime("aten::conv2d", 3, 0.009), OperatorTime("aten::relu", 1, 0.001)),
    notes=("something was odd",),
)


def lines(text):
    """Lines of facts by their names."""
    return {line[:15].strip(): line[15:].strip() for line in text.splitlines() if line[:1].isalpha()}


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
    for view in (ROOFLINE, MEASUREMENT):
        with pytest.raises(UnknownNameError, match="no table format 'pdf'"):
            view.table(format="pdf")


def test_a_measurement_as_text():
    """Speeds, shares of the peaks, the step, families, nodes, operators and notes."""
    text = str(MEASUREMENT)
    facts = lines(text)
    assert facts["Forward"] == "16.0 ms ± 1.50 ms, median and spread of 3 runs"
    assert facts["Predicted"] == "8.00 ms: 50.0% of the speed that the roofline allows"
    assert facts["Throughput"] == "250 samples per second"
    assert facts["MFU"] == "20.0% (training step)"  # 12 GFLOPs in 60 ms of 1 TFLOPS
    assert facts["Note"] == "something was odd"
    assert "backward     40.0 ms ± 0 s, predicted 16.0 ms" in text
    conv = next(line for line in text.splitlines() if line.startswith("│ conv "))
    cells = [cell.strip() for cell in conv.strip("│").split("│")]
    assert cells[3:] == ["12.0 ms", "0 s", "75.0%", "6.00 ms", "50.0%", "500 GFLOPS", "8.33 GB/s", "compute"]
    view = next(line for line in text.splitlines() if line.startswith("│ view "))
    assert view.count("–") == 4
    assert "aten::conv2d" in text


def test_a_measurement_as_data():
    """Plain numbers in seconds."""
    data = MEASUREMENT.to_dict()
    assert data["forward"]["seconds"] == [0.016, 0.015, 0.018]
    assert data["forward"]["predicted_s"] == pytest.approx(0.008)
    assert data["families"]["convolution"] == {"measured_s": 0.012, "predicted_s": pytest.approx(0.006)}
    assert data["training"]["total"]["predicted_s"] == pytest.approx(0.024)
    assert data["nodes"][0]["flops"] == 6 * 10**9
    assert data["operators"][0] == {"name": "aten::conv2d", "calls": 3, "seconds": 0.009}
    assert data["notes"] == ["something was odd"]


def test_a_picture(tmp_path):
    """Logarithmic axes; a legend with the roofs and the families; dots for nodes with FLOPs."""
    pytest.importorskip("matplotlib")
    ROOFLINE.plot(tmp_path / "roofline.png")
    MEASUREMENT.plot(tmp_path / "measured.svg")
    assert (tmp_path / "roofline.png").read_bytes().startswith(b"\x89PNG")
    svg = (tmp_path / "measured.svg").read_text(encoding="utf-8")
    assert '<g id="PathCollection' in svg


def test_dots_stand_at_the_speed_that_was_reached(monkeypatch):
    """Predicted: 1 TFLOPS for the convolution; measured: 6 GFLOPs in 12 ms."""
    pytest.importorskip("matplotlib")
    from fxcost.speed import as_roofline_plot

    figures = []
    make = as_roofline_plot.figure_and_axes
    monkeypatch.setattr(as_roofline_plot, "figure_and_axes", lambda: figures.append(make()) or figures[-1])
    for view, speed in ((ROOFLINE, 1e12), (MEASUREMENT, 5e11)):
        view.plot(BytesIO())
        _, axes = figures[-1]
        assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
        assert axes.collections[0].get_offsets().tolist() == [[60.0, pytest.approx(speed)]]
        labels = [text.get_text() for text in axes.get_legend().get_texts()]
        assert labels[:2] == ["memory: 100 GB/s", "float32: 1.00 TFLOPS"]
