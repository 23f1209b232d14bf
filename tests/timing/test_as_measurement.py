"""Measurements as text, pictures and plain data, on numbers made by hand."""

from dataclasses import replace

import pytest
from hand_made import residual_net
from hand_timed import IDLE, NODES, ROOFLINE, lines

from fxcost.errors import UnknownNameError
from fxcost.records.cost import Cost
from fxcost.timing.measured import NodeMeasurement, OperatorTime, StepMeasurement, Timing
from fxcost.timing.measurement import Measurement

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


def test_nodes_that_are_faster_than_the_bound_are_said():
    fast = NodeMeasurement("conv", "net.conv", Timing((0.001,)), NODES[0], Cost(macs=3 * 10**9, bytes_read=10**8))
    measured = replace(MEASUREMENT, nodes=(fast, *MEASUREMENT.nodes[1:]))
    assert "Winograd" not in str(MEASUREMENT)
    assert "1 node over 100% ran faster" in str(measured)
    assert any("Winograd" in note for note in measured.to_dict()["notes"])


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


def test_unknown_formats_are_refused():
    """The message lists those of tabulate."""
    with pytest.raises(UnknownNameError, match="no table format 'pdf'"):
        MEASUREMENT.table(format="pdf")


def test_a_picture(tmp_path):
    """The roofline's, with dots for nodes with FLOPs."""
    pytest.importorskip("matplotlib")
    MEASUREMENT.plot(tmp_path / "measured.svg")
    svg = (tmp_path / "measured.svg").read_text(encoding="utf-8")
    assert '<g id="PathCollection' in svg


def test_dots_stand_at_the_speed_that_was_reached(monkeypatch, tmp_path):
    """6 GFLOPs in 12 ms."""
    pytest.importorskip("matplotlib")
    from fxcost.speed import as_roofline_plot

    figures = []
    make = as_roofline_plot.figure_and_axes
    monkeypatch.setattr(as_roofline_plot, "figure_and_axes", lambda: figures.append(make()) or figures[-1])
    MEASUREMENT.plot(tmp_path / "measured.svg")
    _, axes = figures[-1]
    assert axes.collections[0].get_offsets().tolist() == [[60.0, pytest.approx(5e11)]]
