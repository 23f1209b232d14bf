"""Concrete capture: the graph of one run, its edges by tensor identity, nothing missed and nothing kept alive."""

from __future__ import annotations

import dataclasses
import io
import weakref
from typing import Any

import pytest
import torch
from models import Lambda
from torch import Tensor, nn

import fxcost
from fxcost.capture.capture import record
from fxcost.meta.recorder import OpRecorder
from fxcost.meta.segments import Segment
from fxcost.meta.storages import Storages
from fxcost.records.cost import Cost
from fxcost.records.recording import NodeRecord
from fxcost.rules import default_registry
from tests.live import eager_peak


def graph(model: Any, inputs: Any) -> list[tuple[str, str, tuple[str, ...]]]:
    """(kind, target, names of the inputs) of each node."""
    return [(n.kind, n.target, n.input_nodes) for n in record(model, inputs, capture="concrete").nodes]


def test_edges_follow_tensors() -> None:
    """Who made a tensor feeds who uses it, whatever Python did with it in between."""

    def forward(x: Tensor, y: Tensor) -> Tensor:
        box = {"a": [x @ y], "b": (x, y)}
        first = box["a"].pop()
        return torch.cat([first, box["b"][0] @ box["b"][1]]).relu()

    assert graph(forward, [(2, 8), (8, 3)]) == [
        ("placeholder", "x", ()),
        ("placeholder", "y", ()),
        ("call_function", "_operator.matmul", ("x", "y")),
        ("call_function", "_operator.matmul", ("x", "y")),
        ("call_function", "torch.cat", ("matmul", "matmul_1")),
        ("call_method", "relu", ("cat",)),
        ("output", "output", ("relu",)),
    ]


def test_the_vocabulary_is_that_of_symbolic_tracing() -> None:
    """Leaf modules, functions, methods, operators and attributes go by the same names in both."""
    model = Lambda(
        lambda self, x: torch.flatten(self.layer(x).relu() + self.shift, 1)[:, 1:].mean(), layer=nn.Conv2d(3, 4, 3)
    )
    model.shift = nn.Parameter(torch.zeros(1))
    recordings = [record(model, (2, 3, 8, 8), capture=capture) for capture in ("symbolic", "concrete")]
    symbolic, concrete = ([(n.kind, n.target, n.module) for n in r.nodes] for r in recordings)
    assert sorted(symbolic) == sorted(concrete)


def test_parts_of_a_result_are_picked_when_used() -> None:
    """Elements of a tuple get a getitem node each, once."""

    def forward(x: Tensor) -> Tensor:
        left, right, _ = x.split(3, 1)
        return left @ right.T + left.sum()

    targets = [target for _, target, _ in graph(forward, (2, 9))]
    assert targets.count("_operator.getitem") == 2
    assert "split" in targets


def test_constants_and_attributes_are_get_attr_nodes() -> None:
    """A weight used directly is named; a tensor of unknown origin is a constant."""
    model = Lambda(lambda self, x: x @ self.weight + self.table)
    model.weight, model.table = nn.Parameter(torch.ones(8, 3)), torch.ones(3)
    nodes = graph(model, (2, 8))
    assert [target for kind, target, _ in nodes if kind == "get_attr"] == ["weight", "_tensor_constant0"]


def test_a_list_of_indices_is_no_node() -> None:
    """`x[:, [-2]]` is one call, also where it is met first; making a tensor of the list is none."""
    assert graph(lambda x: x[:, [-2]] + x[:, [-2]], (2, 5)) == [
        ("placeholder", "x", ()),
        ("call_function", "_operator.getitem", ("x",)),
        ("call_function", "_operator.getitem", ("x",)),
        ("call_function", "_operator.add", ("getitem", "getitem_1")),
        ("output", "output", ("add",)),
    ]


def reshaped_in_place(x: Tensor) -> Tensor:
    y = x.clone()
    y.t_()
    return y


def given_other_data(x: Tensor) -> Tensor:
    y = x.clone()
    y.data = x.new_zeros(3, 2)
    return y


def resized(x: Tensor) -> Tensor:
    y = x.clone()
    y.resize_(3, 2)
    return y


@pytest.mark.parametrize("change", [reshaped_in_place, given_other_data, resized])
def test_a_tensor_whose_shape_changes_is_described_as_it_is(change: Any) -> None:
    """Each time, though the calls around it are replayed the second time."""
    for _ in range(2):
        nodes = fxcost.analyze(lambda x: change(x).relu() + change(x).relu(), (2, 3), capture="concrete").nodes
        assert [n.inputs[0].shape for n in nodes if n.target == "relu"] == [(3, 2), (3, 2)]


def test_operators_that_python_does_not_see_become_nodes() -> None:
    """What TorchScript runs is recorded operator by operator, in the module that runs it."""

    class Body(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(8, 8)

        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(self.layer(x)) @ x.t()

    scripted = torch.jit.script(Body())
    report = fxcost.analyze(nn.Sequential(nn.Linear(8, 8), scripted), (2, 8), capture="concrete")
    assert report.macs == 2 * 64 + 2 * 64 + 2 * 8 * 2
    assert report.macs == fxcost.analyze(nn.Sequential(nn.Linear(8, 8), Body()), (2, 8)).macs


def test_the_modules_inside_a_leaf_are_told_apart() -> None:
    """Costs go to the innermost module, also below a node."""
    model = Lambda(lambda self, x: self.body(x), body=nn.TransformerEncoderLayer(8, 2, 16, batch_first=True))
    for capture in ("symbolic", "concrete"):
        report = fxcost.analyze(model, (2, 5, 8), capture=capture)
        assert report.cost_of("body.linear1").macs == report.cost_of("body.linear2").macs == 2 * 5 * 8 * 16
        assert report.cost_of("body.self_attn").macs == 2 * (4 * 5 * 64 + 2 * 5 * 5 * 8)
        assert report.cost_of("body").macs == report.macs


def test_each_analysis_starts_afresh() -> None:
    """State that a forward leaves in the copy is gone the next time."""

    class Once(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.done = nn.Linear(8, 8), False

        def forward(self, x: Tensor) -> Tensor:
            if self.done:
                return x
            self.done = True
            return self.layer(x)

    model = Once()
    assert [fxcost.analyze(model, (2, 8), capture="concrete").macs for _ in range(3)] == [128] * 3
    assert model.done is False


def test_tensors_die_as_in_a_run() -> None:
    """The recording holds no tensor of the forward, so that memory can be followed by their lives."""
    alive = io.StringIO()  # a list of the user's would be put back

    def forward(x: Tensor) -> Tensor:
        lives: list[weakref.ref[Tensor]] = []
        for _ in range(20):
            x = x + 1
            lives.append(weakref.ref(x))
            alive.write(f"{sum(ref() is not None for ref in lives)} ")
        return x

    record(forward, (7, 13), capture="concrete")
    assert set(alive.getvalue().split()) == {"1"}


def test_dataclasses_dicts_and_objects_hold_outputs() -> None:
    """The output node lists the tensors of nested results, in order."""
    recording = record(lambda x: {"a": x + 1, "b": [x @ x.T, None, 3]}, (2, 8), capture="concrete")
    assert [spec.shape for spec in recording.nodes[-1].outputs] == [(2, 8), (2, 2)]


ON_CPU = {
    "convolutions": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(64, 5),
            nn.Softmax(-1),
        ),
        (2, 3, 8, 8),
    ),
    "depthwise": (lambda: nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.GroupNorm(2, 4), nn.SiLU()), (2, 4, 8, 8)),
    "upsampling": (
        lambda: nn.Sequential(nn.ConvTranspose2d(3, 4, 2, stride=2), nn.Upsample(scale_factor=2), nn.AvgPool2d(2)),
        (2, 3, 4, 4),
    ),
    "tokens": (
        lambda: nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.LayerNorm(16), nn.Linear(16, 8), nn.Tanh()),
        (2, 5, 8),
    ),
    "products": (
        lambda: Lambda(lambda _, x: (x @ x.mT).softmax(-1) @ x + torch.einsum("bij,bkj->bik", x, x).sum()),
        (2, 5, 8),
    ),
}


@pytest.mark.parametrize("name", ON_CPU)
@pytest.mark.parametrize("grad", [False, True])
def test_meta_counts_what_a_cpu_runs(name: str, grad: bool) -> None:
    """Where PyTorch has no fused kernel of its own, a run on data has the same cost, with or without gradients."""
    make, shape = ON_CPU[name]
    model = make().eval()
    recorder = OpRecorder(Storages(), real=True)
    segment = recorder.segment = Segment()
    with torch.set_grad_enabled(grad), recorder:
        model(torch.randn(shape))
    on_cpu = _priced(segment)
    on_meta = fxcost.analyze(model, shape).cost
    assert (on_cpu.macs, on_cpu.other_flops, on_cpu.transcendentals) == (
        on_meta.macs,
        on_meta.other_flops,
        on_meta.transcendentals,
    )


def _priced(segment: Segment) -> Cost:
    from fxcost.rules.pricing import cost_nodes

    node = NodeRecord("all", "call_function", "all", "", operations=tuple(segment.operations))
    return cost_nodes([node], default_registry())[0].cost


@dataclasses.dataclass
class Pair:
    """What a model may return."""

    first: torch.Tensor
    count: int


def test_a_dataclass_output_lists_its_tensors():
    """The output node of a model that returns a dataclass reads and lists the tensors in it."""

    class Model(nn.Module):
        def forward(self, x):
            return Pair(torch.relu(x), 3)

    output = fxcost.analyze(Model(), (2, 3), capture="concrete").nodes[-1]
    assert [spec.shape for spec in output.outputs] == [(2, 3)]
    assert output.record.input_nodes == ("relu",)


def test_an_unknown_leaf_module_is_an_error():
    """A name that the model lacks is an error with the nearest one; so is something that is no class or name."""
    model = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(fxcost.InputError, match="no such module"):
        fxcost.analyze(model, (1, 2), leaf_modules=("layer9",))
    with pytest.raises(fxcost.InputError, match="not a int"):
        fxcost.analyze(model, (1, 2), leaf_modules=(3,))


def test_a_layer_that_forward_makes_is_no_constant() -> None:
    """Its parameters are on memory that `torch.empty` made, and die with it; the graph names the call that made it."""

    def forward(x: Tensor) -> Tensor:
        return nn.Linear(6, 3)(x).exp()

    report = fxcost.analyze(forward, torch.ones(4, 6), capture="concrete")
    assert [n.kind for n in report.recording.nodes if n.kind == "get_attr"] == []
    assert report.memory.resident_bytes == 4 * 6 * 4
    assert report.memory.peak_eager_activation_bytes == eager_peak(forward, (torch.ones(4, 6),))
    linear = next(n for n in report.recording.nodes if n.target.endswith("linear"))
    assert linear.input_nodes == ("x", "kaiming_uniform_", "uniform_")


def test_what_a_transform_wraps_and_hands_back_is_named() -> None:
    """`torch.func.grad` wraps the input and unwraps a gradient out of sight: in the graph they are what they are."""
    nodes = graph(lambda x: torch.func.grad(lambda t: (t**3).sum())(x) * 2, (4, 6))
    assert [kind for kind, _, _ in nodes if kind == "get_attr"] == []
    assert nodes[-3:-1] == [
        ("call_function", "_operator.getitem", ("grad",)),
        ("call_function", "_operator.mul", ("getitem",)),
    ]


def test_another_shape_on_what_a_call_made_is_a_view_of_it() -> None:
    """`torch.vmap` gives a batch back where the calls inside returned a row."""
    nodes = graph(lambda x: torch.vmap(lambda t: t.sin() * 2)(x) + 1, (4, 6))
    assert nodes[-3:-1] == [
        ("call_function", "torch.as_strided", ("mul",)),
        ("call_function", "_operator.add", ("as_strided",)),
    ]


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x[..., None],
        lambda x: x[..., :2][None, ..., 1:],
        lambda x: x.contiguous(memory_format=torch.channels_last).to(torch.float64),
        lambda x: torch.empty_like(x, layout=torch.strided) + complex(1, 2),
    ],
    ids=["ellipsis", "slices", "memory format", "layout"],
)
def test_its_graph_runs_again(call: Any) -> None:
    """Whatever stands among the arguments of a call stands in the graph, which costs the same."""
    report = fxcost.analyze(call, (2, 3, 4, 5), capture="concrete")
    again = fxcost.analyze_graph(report.graph, (2, 3, 4, 5))
    assert again.bytes_written == report.bytes_written
    assert again.nodes[-1].inputs[0].shape == report.nodes[-1].inputs[0].shape
