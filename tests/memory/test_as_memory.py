"""Memory and training as text and pictures, on numbers made by hand."""

import pytest
import torch

from fxcost.errors import UnknownNameError
from fxcost.memory.as_memory import chart
from fxcost.memory.lifetimes import LiveTensor
from fxcost.memory.memory import Memory, NodeMemory
from fxcost.memory.training import NodeStep, StepCost, Training
from fxcost.records.cost import Cost
from fxcost.records.recording import TensorSpec

KIB = 1024


def live(name, kib, born=0, died=9):
    spec = TensorSpec((kib, 256), torch.float32)
    return LiveTensor(name, f"net.{name}", "aten.mm.default", spec, kib * KIB, 0, born, died)


TENSORS = (live("a", 4), live("b", 2), live("c", 1))
MEMORY = Memory(
    parameter_bytes=3 * KIB,
    buffer_bytes=0,
    input_bytes=KIB,
    peak_activation_bytes=7 * KIB,
    peak_eager_activation_bytes=None,
    timeline=(NodeMemory("a", "", 4 * KIB, 4 * KIB), NodeMemory("b", "", 7 * KIB, 3 * KIB), NodeMemory("c", "", 0, 0)),
    tensors=TENSORS,
    at_peak=TENSORS,
    resident_by_dtype={"float32": 4 * KIB},
)
TRAINING = Training(
    cost=StepCost(forward=Cost(macs=100), backward=Cost(macs=200), recomputed=Cost(macs=50), saved_bytes=6 * KIB),
    nodes=(
        NodeStep("a", "net.a", StepCost(saved_bytes=2 * KIB)),
        NodeStep("b", "net.b", StepCost(saved_bytes=4 * KIB)),
    ),
    modules={},
    uncosted={"my.op": 2},
    parameter_bytes=3 * KIB,
    buffer_bytes=0,
    input_bytes=KIB,
    gradient_bytes=3 * KIB,
    optimizer="adam",
    optimizer_bytes=6 * KIB,
    peak_parts={"parameters": 3 * KIB, "inputs": KIB, "optimizer state": 6 * KIB, "saved activations": 7 * KIB},
    at_peak=TENSORS,
    live=(1, 3 * KIB, 7 * KIB, 2 * KIB),
    forward_operators=2,
    assumptions=("the moon is round",),
)


def test_memory_table():
    """Totals, then the largest tensors and how many more there are."""
    assert MEMORY.table(top=2, format="simple") == (
        "Parameters            3.00 KiB\n"
        "Buffers                    0 B\n"
        "Inputs                1.00 KiB\n"
        "Peak of activations   7.00 KiB\n"
        "Peak, graph order    11.00 KiB\n"
        "Peak, eager Python           –\n"
        "Alive at the peak of 7.00 KiB of activations\n"
        "node    module    operator         tensor             bytes    share\n"
        "------  --------  ---------------  --------------  --------  -------\n"
        "a       net.a     aten.mm.default  float32[4,256]  4.00 KiB    57.1%\n"
        "b       net.b     aten.mm.default  float32[2,256]  2.00 KiB    28.6%\n"
        "                                   1 more tensor   1.00 KiB    14.3%"
    )


def test_chart():
    """Columns are as high as their share of the largest, in eighths of a line."""
    assert MEMORY.chart(width=10, height=2) == "7.00 KiB at most\n▁█\n██\n───\n3 nodes in order"
    assert chart([1, 2, 3, 4], 2, 1, "x") == "4 B at most\n▄█\n──\nx"
    assert chart([], 2, 1, "x").splitlines()[0] == "0 B at most"


def test_training_table():
    """Both passes and what is recomputed, bytes by kind, tensors at the peak, nodes by what they save."""
    text = TRAINING.table(format="plain")
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "forward 100 200 0 B 0 B 0.00" in lines
    assert "recomputed 50 100 0 B 0 B 0.00" in lines
    assert "total 350 700 0 B 0 B 0.00" in lines
    assert "Optimizer state (adam) 6.00 KiB" in lines
    assert "Peak 17.00 KiB" in lines
    assert "of it optimizer state 6.00 KiB" in lines
    assert lines.index("b net.b 4.00 KiB 66.7%") < lines.index("a net.a 2.00 KiB 33.3%")
    assert lines[-2:] == ["Not costed: my.op, 2 runs", "Assumed: the moon is round"]


def test_training_chart():
    """The caption says where the backward pass begins."""
    assert TRAINING.chart(4, 1).splitlines() == [
        "7.00 KiB at most",
        " ▃█▂",
        "────",
        "2 operators forward, then 1 backward",
    ]


@pytest.mark.parametrize("view", [MEMORY, TRAINING])
def test_formats(view):
    """Any of tabulate's; another is refused with the list."""
    assert "<table>" in view.table(format="html")
    with pytest.raises(UnknownNameError, match="github"):
        view.table(format="marble")


@pytest.mark.parametrize("view", [MEMORY, TRAINING])
def test_plots(view, tmp_path):
    """A PNG that is drawn without touching matplotlib's global state."""
    pytest.importorskip("matplotlib")
    path = tmp_path / "memory.png"
    view.plot(path)
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["memory.xyz", "memory"])
def test_no_picture(tmp_path, name):
    """A name whose ending is no format is refused with the list of them; nothing is written."""
    pytest.importorskip("matplotlib")
    with pytest.raises(UnknownNameError, match=r"picture format.*png"):
        MEMORY.plot(tmp_path / name)
    assert list(tmp_path.iterdir()) == []
