"""The command line's answers about speed: devices, rooflines, measurements."""

import json
import sys
import types

import pytest
from torch import nn

import fxcost
from fxcost import Device


class Net(nn.Module):
    """Two layers."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(10, 50), nn.Linear(50, 10)

    def forward(self, x):
        return self.second(self.first(x).relu())


@pytest.fixture
def net(monkeypatch):
    """A module that the command line can import the model from."""
    module = types.ModuleType("speed_test_net")
    module.Net = Net
    monkeypatch.setitem(sys.modules, "speed_test_net", module)
    return "speed_test_net:Net"


def test_devices(run):
    """One row for each, dense peaks, and the sources on demand."""
    code, out, _ = run("devices", "--format", "tsv")
    assert code == 0
    rows = {row.split("\t")[0].strip(): [cell.strip() for cell in row.split("\t")] for row in out.splitlines()}
    assert rows["a100"][1] == "NVIDIA A100 SXM4 80GB"
    assert rows["a100"][6] == "312 T"
    assert rows["a100"][9:] == ["2.04 TB/s", "80.0 GB"]
    assert len(rows) == 1 + len(Device.known())
    assert "docs.cloud.google.com" in run("devices", "--sources")[1]


def test_a_device_adds_the_roofline(run, net):
    """After the table of costs; with its own fusion and peak."""
    report = fxcost.analyze(Net().eval(), (4, 10))
    code, out, _ = run(net, "-i", "4,10", "--device", "h100")
    assert code == 0
    assert out.endswith(f"\n\n{report.roofline('h100')}\n")
    code, out, _ = run(net, "-i", "4,10", "--device", "h100", "--fusion", "pointwise", "--peak", "tf32")
    assert out.endswith(f"\n\n{report.roofline('h100', 'tf32', 'pointwise')}\n")


def test_the_roofline_of_a_report_from_a_file(run, net, tmp_path):
    """`fxcost show` has the same option."""
    path = tmp_path / "report.json"
    run(net, "-i", "4,10", "--json", path)
    code, out, _ = run("show", path, "--device", "t4")
    assert code == 0
    assert str(fxcost.Report.from_json(path).roofline("t4")) in out


def test_here_is_this_machine(run, net, monkeypatch):
    """It is calibrated."""
    box = Device(name="calibrated box", flops_per_s={"float32": 1e9}, bytes_per_s=1e8, memory_bytes=1)
    monkeypatch.setattr(Device, "calibrate", lambda: box)
    assert "calibrated box" in run(net, "-i", "4,10", "--device", "here")[1]


def test_a_plot_is_the_rooflines_if_a_device_is_named(run, net, tmp_path):
    """As SVG, to be read: the device stands in the title."""
    pytest.importorskip("matplotlib")
    path = tmp_path / "roofline.svg"
    assert run(net, "-i", "4,10", "--device", "h100", "--plot", path)[0] == 0
    assert "<svg" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--device", "h10"], "no device 'h10' is known; did you mean"),
        (["--device", "tpu-v5e"], "Google TPU v5e has no peak for float32; it has bfloat16, int8"),
        (["--peak", "tf32"], "--peak is for --device"),
        (["--fusion", "pointwise"], "--fusion is for --device"),
        (["--mode", "compiled"], "--mode is for --estimate"),
        (["--device", "t4", "--fusion", "all"], "'all' is not one of"),
    ],
)
def test_bad_options_are_one_line(run, net, args, words):
    """Exit code 2, and what was wrong."""
    code, out, err = run(net, "-i", "4,10", *args)
    assert (code, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1


def test_measure(run, net):
    """Measured beside predicted, for each node, on a device that is named."""
    code, out, _ = run("measure", net, "-i", "4,10", "--runs", "2", "--warmup", "1", "--device", "t4", "--threads", "1")
    assert code == 0
    lines = out.splitlines()
    assert lines[0].split() == ["Model", "Net", "on", "cpu,", "float32"]
    assert any(line.startswith("Forward") and "2 runs" in line for line in lines)
    assert any(line.startswith("│ second ") for line in lines)


def test_measure_as_json(run, net):
    """All numbers, on the standard output."""
    args = ("-i", "4,10", "--runs", "2", "--device", "t4", "--training", "--operators", "--json", "-")
    code, out, _ = run("measure", net, *args)
    data = json.loads(out)
    assert code == 0
    assert len(data["forward"]["seconds"]) == 2
    assert data["training"]["total"]["median_s"] > 0
    assert {node["name"] for node in data["nodes"]} == {"first", "relu", "second"}
    assert data["operators"]
    assert data["macs"] == 4 * 10 * 50 * 2


def test_measure_in_another_dtype(run, net):
    """The weights are converted."""
    out = run("measure", net, "-i", "4,10", "--runs", "1", "--device", "l4", "--dtype", "bf16", "--json", "-")[1]
    assert json.loads(out)["dtype"] == "bfloat16"


def test_measure_draws_what_was_reached(run, net, tmp_path):
    """A picture with the measured speeds."""
    pytest.importorskip("matplotlib")
    path = tmp_path / "measured.svg"
    assert run("measure", net, "-i", "4,10", "--runs", "1", "--device", "t4", "--plot", path)[0] == 0
    assert path.exists()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--on", "meta"], "nothing can be timed on 'meta'"),
        (["--device", "t44"], "did you mean"),
        (["--runs", "0"], "runs"),
    ],
)
def test_measure_refuses_in_one_line(run, net, args, words):
    """Places, devices and numbers that make no sense."""
    code, _, err = run("measure", net, "-i", "4,10", "--warmup", "0", *args)
    assert code == 2
    assert words in err
