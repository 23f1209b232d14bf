"""Measurements: on a clock that is known, on this CPU, on a GPU that is faked; and what is left untouched."""

import copy

import pytest
import torch
from torch import nn

import fxcost
from fxcost import Device
from fxcost.speed.stopwatch import Stopwatch
from fxcost.timing.measure import device_at
from fxcost.timing.measured import Timing
from fxcost.timing.replay import Replay

BOX = Device(name="box", flops_per_s={"float32": 1e9}, bytes_per_s=1e8, memory_bytes=2**30)


class Ticking:
    """A clock that moves one second at each reading."""

    def __init__(self):
        self.now = 0

    def __call__(self):
        self.now += 1
        return float(self.now)


def mlp():
    return nn.Sequential(nn.Linear(16, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 4))


def test_numbers_by_hand():
    """Each piece of work takes one second on the ticking clock: 8 samples, 2·8·16·32 FLOPs, 3,712 bytes per second."""
    m = fxcost.measure(nn.Linear(16, 32), (8, 16), runs=4, warmup=2, device=BOX, clock=Ticking())
    assert m.forward.seconds == (1.0,) * 4
    assert (m.forward.median, m.forward.spread, m.forward.best) == (1.0, 0.0, 1.0)
    assert m.flops_per_s == m.report.flops == 8192
    assert m.share_of_peak == m.mfu == pytest.approx(8192 / 1e9)
    assert m.bytes_per_s == 4 * (8 * 16 + 16 * 32 + 32 + 8 * 32)
    assert (m.batch, m.throughput, m.dtype, m.place) == (8, 8.0, "float32", "cpu")
    (node,) = m.nodes
    assert node.timing.seconds == (1.0,) * 4
    assert node.efficiency == pytest.approx(m.predicted_s)
    assert m.by_family() == {"matmul": (1.0, pytest.approx(m.predicted_s))}
    assert m.notes == ()


def test_a_training_step_by_hand():
    """One second forward, one backward; the model's FLOPs are twice its MACs in both directions."""
    m = fxcost.measure(nn.Linear(16, 32), (8, 16), runs=2, device=BOX, clock=Ticking(), training=True, nodes=False)
    step = m.training
    assert (step.forward.median, step.backward.median, step.total.median) == (1.0, 1.0, 2.0)
    assert step.model_flops == 2 * (8 * 16 * 32) * 2  # no gradient for the input
    assert m.mfu == pytest.approx(step.model_flops / 2 / 1e9)
    assert m.training_throughput == 4.0
    assert step.predicted_forward_s == pytest.approx(m.predicted_s)
    assert step.predicted_backward_s > 0
    assert m.nodes == ()


def test_a_spread_is_the_distance_of_the_quartiles():
    """Of 1 to 5 the middle half reaches from 2 to 4."""
    timing = Timing((5.0, 1.0, 4.0, 2.0, 3.0))
    assert (timing.median, timing.spread, timing.best) == (3.0, 2.0, 1.0)


def test_the_model_is_left_as_it_is():
    """Weights, batch norm's statistics, gradients, modes and random numbers, in a step in training mode."""
    model = mlp().train()
    model[2].eval()
    model[0].weight.grad = torch.ones_like(model[0].weight)
    before, random, modes = (
        copy.deepcopy(model.state_dict()),
        torch.get_rng_state(),
        [m.training for m in model.modules()],
    )
    fxcost.measure(model, (8, 16), runs=2, warmup=1, device=BOX, training=True, operators=True)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), before.values(), strict=True))
    assert [m.training for m in model.modules()] == modes
    assert torch.equal(model[0].weight.grad, torch.ones_like(model[0].weight))
    assert all(p.grad is None for p in model[4].parameters())
    assert torch.equal(torch.get_rng_state(), random)


def test_the_graph_is_run_with_the_real_weights():
    """Node by node it returns what the model returns, and every call has its times."""
    m = fxcost.measure(mlp().eval(), (8, 16), runs=3, device=BOX)
    assert m.notes == ()
    assert [node.name for node in m.nodes] == ["_0", "_1", "_2", "_3", "_4"]
    assert all(len(node.timing.seconds) == 3 for node in m.nodes)
    assert m.nodes_s == sum(node.timing.median for node in m.nodes) > 0


def test_a_wrong_graph_is_noticed(monkeypatch):
    """If it returned something else than the model, a note says so."""
    monkeypatch.setattr(Replay, "agrees", lambda self, out: False)
    m = fxcost.measure(nn.Linear(2, 2).eval(), (1, 2), runs=1, device=BOX)
    assert any("does not return what the model returns" in note for note in m.notes)


class Masked(nn.Module):
    """Makes a tensor on the way, asks for its device, and loops over a size: concrete capture's cases."""

    def forward(self, x, lengths):
        mask = torch.arange(x.shape[1], device=x.device)[None] < lengths[:, None]
        out = torch.zeros(x.shape[1], device=x.device)
        for row, keep in zip(x, mask, strict=True):
            out = out + row * keep
        return out


@pytest.mark.parametrize("capture", ["concrete", "auto"])
def test_graphs_that_were_captured_on_meta_run_on_the_cpu(capture):
    """Devices that the graph says are meta become the real one."""
    m = fxcost.measure(Masked(), [torch.rand(3, 5), torch.tensor([1, 5, 2])], runs=2, device=BOX, capture=capture)
    assert m.notes == ()
    assert len(m.nodes) > 5


class Constant(nn.Module):
    """Uses a tensor that belongs to nobody."""

    def forward(self, x):
        made = torch.as_tensor([[1.0, 2.0]])
        return torch.cat([x, made, torch.from_numpy(made.numpy())])


def test_constants_that_the_capture_lost_are_taken_from_a_real_run():
    """What can't be run from the graph alone is recorded once more on real tensors."""
    m = fxcost.measure(Constant(), (3, 2), runs=2, device=BOX)
    assert m.nodes
    assert not any("can't be run" in note for note in m.notes)


def test_times_of_operators_are_the_profilers():
    """PyTorch's own names, longest first, the backward pass among them."""
    m = fxcost.measure(nn.Linear(16, 32), (8, 16), runs=1, device=BOX, training=True, operators=True)
    names = [op.name for op in m.operators]
    assert "aten::addmm" in names
    assert any("Backward" in name for name in names)
    assert [op.seconds for op in m.operators] == sorted((op.seconds for op in m.operators), reverse=True)
    assert fxcost.measure(nn.Linear(2, 2), (1, 2), runs=1, device=BOX).operators == ()


def test_efficiencies_are_learnt_from_measurements():
    """Fitted to a measurement, the estimate of the same model is what was measured of its nodes."""
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU())
    m = fxcost.measure(model, (32, 64), runs=3, device=BOX, clock=Ticking())
    fitted = BOX.fitted([m])
    assert fitted.efficiency.keys() == {"matmul", "pointwise"}
    assert m.report.roofline(fitted).latency_s == pytest.approx(m.nodes_s) == 2.0
    with pytest.raises(fxcost.DeviceError, match="no measurement has times of single nodes"):
        BOX.fitted([fxcost.measure(model, (32, 64), runs=1, device=BOX, nodes=False)])


def test_functions_and_given_graphs():
    """Everything that analyze takes and that holds data."""
    weight = torch.rand(4, 4)
    assert fxcost.measure(lambda x: x @ weight, (2, 4), runs=1, device=BOX).report.macs == 32
    graph = torch.fx.symbolic_trace(nn.Linear(4, 4))
    m = fxcost.measure(graph, (2, 4), runs=1, device=BOX)
    assert m.report.capture == "given"
    assert m.nodes
    program = torch.export.export(nn.Linear(4, 4), (torch.rand(2, 4),))
    assert fxcost.measure(program, torch.rand(2, 4), runs=1, device=BOX).report.macs == 32


def test_bad_numbers_and_failing_models():
    """Each in one sentence."""

    class Fails(nn.Module):
        def forward(self, x):
            if not torch._C._len_torch_dispatch_stack():  # nobody records
                raise ValueError("not today")
            return x

    with pytest.raises(fxcost.InputError, match="at least one run"):
        fxcost.measure(nn.Linear(2, 2), (1, 2), runs=0)
    with pytest.raises(fxcost.MeasureError, match="the model raised when it ran on cpu: ValueError: not today"):
        fxcost.measure(Fails(), (1, 2), runs=1, device=BOX)
    with pytest.raises(fxcost.DeviceError, match=r"no cuda:7"):
        fxcost.measure(nn.Linear(2, 2), (1, 2), place="cuda:7")
    with pytest.raises(fxcost.DeviceError, match="box has no peak for float64"):
        fxcost.measure(nn.Linear(2, 2).double(), (1, 2), device=BOX)
    with pytest.raises(fxcost.MeasureError, match="is on meta"):
        fxcost.measure(nn.Linear(2, 2, device="meta"), (1, 2), device=BOX, place="cpu")
    with pytest.raises(fxcost.MeasureError, match=r"weight, of shape .* is on meta"):
        fxcost.measure(nn.Linear(2, 2, device="meta"), (1, 2), device=BOX)


def test_a_known_gpu_is_found_by_the_name_of_its_driver(monkeypatch):
    """One that is not in the table is measured."""
    place = torch.device("cuda", 0)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda at: "NVIDIA A100-SXM4-80GB")
    assert device_at(place, "float16").name == "NVIDIA A100 SXM4 80GB"
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda at: "NVIDIA Something New")
    asked = []
    monkeypatch.setattr(Device, "calibrate", lambda at, **options: asked.append((at, [*options["dtypes"]])) or BOX)
    assert device_at(place, "float16") is BOX
    assert asked == [(place, ["float32", "float16"])]


def test_this_machine_is_the_default():
    """Without a device the CPU is calibrated for the model's dtype."""
    m = fxcost.measure(nn.Linear(8, 8), (4, 8), runs=1, warmup=0)
    assert m.roofline.device.source.startswith("measured by")


def test_nodes_are_marked_on_the_stream(monkeypatch):
    """On CUDA the marks around nodes are events: two for each call, read once per run."""
    marks = []
    monkeypatch.setattr(Stopwatch, "mark", lambda self: marks.append("mark"))
    monkeypatch.setattr(Stopwatch, "laps", lambda self: [0.5] * (len(marks) - 1))
    report = fxcost.analyze(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), (2, 4))
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    watch = Stopwatch(torch.device("cuda", 0))
    replay = Replay(report.recording, model, torch.device("cpu"), watch)
    assert replay.seconds([torch.rand(2, 4)]) == [0.5, 0.5]
    assert len(marks) == 4
