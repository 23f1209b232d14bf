"""What is remembered from one analysis to the next, and when it is not."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from models import Lambda
from torch import Tensor, fx, nn

import fxcost
from fxcost.capture.propagate import Propagator
from fxcost.memo import remembered
from fxcost.memo.remembered import forgotten
from fxcost.meta.recorder import OpRecorder
from fxcost.rules import pricing


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Each test begins and ends with nothing remembered, and with all of PyTorch loaded that an analysis loads."""
    fxcost.analyze(nn.Linear(1, 1), (1, 1))
    with forgotten():
        yield


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The operators that ran, rather than being replayed."""
    operators: list[Any] = []
    run = OpRecorder.record

    def record(self: OpRecorder, func: Any, *rest: Any) -> Any:
        operators.append(func)
        return run(self, func, *rest)

    monkeypatch.setattr(OpRecorder, "record", record)
    return operators


@pytest.mark.parametrize("capture", ["symbolic", "concrete"])
def test_the_second_analysis_runs_nothing(capture: str, ran: list[Any]) -> None:
    """The same layers of another model, and the same report."""
    first = fxcost.analyze(nn.Sequential(nn.Linear(3, 4), nn.ReLU()), (2, 3), capture=capture)
    assert ran
    ran.clear()
    second = fxcost.analyze(nn.Sequential(nn.Linear(3, 4), nn.ReLU()), (2, 3), capture=capture)
    assert not ran
    assert first.to_json() == second.to_json()


def test_other_shapes_run(ran: list[Any]) -> None:
    """A key has the shapes: a batch of another size is another question."""
    model = nn.Linear(3, 4)
    assert [fxcost.analyze(model, (n, 3)).macs for n in (2, 5, 2)] == [24, 60, 24]
    assert ran == 2 * [torch.ops.aten.t.default, torch.ops.aten.addmm.default]


def test_a_replaced_function_of_pytorch_is_believed(monkeypatch: pytest.MonkeyPatch, ran: list[Any]) -> None:
    """While somebody's function stands in PyTorch's place, nothing is remembered, and nothing is told from memory."""
    model = nn.ReLU()
    assert fxcost.analyze(model, (2, 3)).transcendentals == 0
    with monkeypatch.context() as patch:
        patch.setattr(F, "relu", lambda x, inplace=False: torch.tanh(x))
        assert fxcost.analyze(model, (2, 3)).transcendentals == 6
        assert not remembered._MEMORY
    assert fxcost.analyze(model, (2, 3)).transcendentals == 0


def test_a_replaced_method_of_a_layer_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for a class of `torch.nn`."""
    fxcost.analyze(nn.ReLU(), (2, 3))
    with monkeypatch.context() as patch:
        patch.setattr(nn.ReLU, "forward", lambda self, x: torch.tanh(x))
        assert fxcost.analyze(nn.ReLU(), (2, 3)).transcendentals == 6


def test_a_function_replaced_while_the_model_runs_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own code may replace PyTorch's functions for a while: neither replayed then, nor remembered from then."""
    act = nn.ReLU()

    class Patching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act = act

        def forward(self, x: Tensor) -> Tensor:
            with monkeypatch.context() as patch:
                patch.setattr(F, "relu", lambda x, inplace=False: torch.tanh(x))
                replaced = self.act(x)
            return self.act(replaced)

    for _ in range(2):
        assert fxcost.analyze(Patching(), (2, 3), capture="concrete").transcendentals == 6
        assert fxcost.analyze(act, (2, 3)).transcendentals == 0


def test_a_new_name_on_a_class_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers gives `nn.Module` a method of its own, for which no code of PyTorch's asks."""
    with monkeypatch.context() as patch:
        patch.setattr(nn.Module, "smart_apply", lambda self, f: self, raising=False)
        fxcost.analyze(nn.ReLU(), (2, 3))
        assert remembered._MEMORY


def test_settings_count() -> None:
    """The default dtype decides the result of integer division."""
    divide = Lambda(lambda _, x: x / 2)
    integers = {"x": fxcost.spec(2, 3, dtype="int64")}
    assert fxcost.analyze(divide, integers).nodes[-1].record.outputs[0].dtype is torch.float32
    torch.set_default_dtype(torch.float64)
    try:
        assert fxcost.analyze(divide, integers).nodes[-1].record.outputs[0].dtype is torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def test_hooks_on_all_modules_run() -> None:
    """A hook for all modules may do anything, whatever was remembered of a layer without it."""
    model = nn.Sequential(nn.Linear(3, 3))
    plain = fxcost.analyze(model, (2, 3))
    hook: Any = lambda module, args, out: out @ out.t() if isinstance(module, nn.Linear) else None  # noqa: E731
    handle = nn.modules.module.register_module_forward_hook(hook)
    try:
        assert fxcost.analyze(model, (2, 3), capture="concrete").macs == plain.macs + 2 * 2 * 3
    finally:
        handle.remove()


def scaled(x: Tensor) -> Tensor:
    """Replaced below."""
    return halved(x)


def halved(x: Tensor) -> Tensor:
    """Pure, and called by a pure function."""
    return x * 0.5


def test_a_function_that_has_changed_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A function of the user's is remembered for as long as all that it is proven from is the same."""
    graph = fx.Graph()
    graph.output(graph.call_function(scaled, (graph.placeholder("x"),)))
    model = fx.GraphModule(nn.Module(), graph)
    assert fxcost.analyze_graph(model, (2, 3)).transcendentals == 0
    monkeypatch.setattr("test_remembered.halved", lambda x: torch.tanh(x))
    assert fxcost.analyze_graph(model, (2, 3)).transcendentals == 6


def test_no_model_is_kept_alive() -> None:
    """What is remembered holds nothing of a model, also of one whose layers have objects of the user's."""
    given = nn.TransformerEncoderLayer(3, 1, 4, activation=lambda x: x.tanh())
    model = nn.Sequential(nn.Linear(3, 3), given, nn.Linear(3, 3))
    del given
    model[0].mine, model[1].mine = Lambda(lambda _, x: x), (model[0],)
    parts = [weakref.ref(part) for part in (*model.modules(), *model.parameters())]
    fxcost.analyze(model, (2, 5, 3))
    del model
    gc.collect()
    assert remembered._MEMORY
    assert not any(part() for part in parts)


def test_a_function_that_a_layer_was_given_runs() -> None:
    """`activation=` may be anything: two equal layers may do different things."""
    done = iter((torch.relu, torch.tanh))
    layers = [nn.TransformerEncoderLayer(4, 1, 8, activation=lambda x: next(done)(x)) for _ in range(2)]
    layers[1].activation = layers[0].activation
    report = fxcost.analyze(nn.Sequential(*layers), (2, 3, 4), capture="symbolic")
    one, other = (node.cost.transcendentals for node in report.nodes if node.record.kind == "call_module")
    assert other - one == 2 * 3 * 8


def test_it_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """More operations than the limit are never held; a call that has more by itself is not remembered."""
    monkeypatch.setattr(remembered, "LIMIT", 5)
    for n in range(1, 20):
        fxcost.analyze(nn.Linear(3, 4), (n, 3))
        assert sum(len(replay.ran.operations) for replay in remembered._MEMORY.values()) <= 5
    long = nn.TransformerEncoderLayer(4, 1, 8).eval()
    assert fxcost.analyze(long, (2, 3, 4)).macs == fxcost.analyze(long, (2, 3, 4)).macs > 0
    assert all(len(replay.ran.operations) <= 5 for replay in remembered._MEMORY.values())


def test_what_is_no_node_is_none_when_it_is_asked_again() -> None:
    """`x.size()` and `x.stride()` return numbers: they are Python, however often they are asked for."""

    def forward(x: Tensor) -> Tensor:
        for _ in range(3):
            assert x.size() == (2, 3)
            assert x.stride() == (3, 1)
        return torch.relu(x)

    for _ in range(2):
        nodes = fxcost.analyze(forward, (2, 3), capture="concrete").nodes
        assert [node.target for node in nodes] == ["x", "torch.relu", "output"]


def test_one_tensor_twice_is_not_two_alike() -> None:
    """`relu_` returns the very tensor that it got, though another looks the same."""

    def forward(x: Tensor) -> Tensor:
        a, b = x.view(6), x.view(6)
        out = torch.relu_(b)
        return torch.relu_(a) if out is b else out

    nodes = fxcost.analyze(forward, (2, 3), capture="concrete").nodes
    assert [node.target for node in nodes].count("torch.relu_") == 2


def test_autocast_in_a_graph_is_another_question() -> None:
    """The same layer within and outside of an autocast region of a given graph."""
    from torch.amp.autocast_mode import _enter_autocast, _exit_autocast

    graph = fx.Graph()
    x = graph.placeholder("x")
    outside = graph.call_module("0", (x,))
    region = graph.call_function(_enter_autocast, ("cpu", torch.bfloat16, True, True))
    inside = graph.call_module("0", (x,))
    graph.call_function(_exit_autocast, (region,))
    graph.output((outside, inside))
    report = fxcost.analyze_graph(fx.GraphModule(nn.Sequential(nn.Linear(3, 4)), graph), (2, 3))
    assert [spec.dtype for spec in report.nodes[-1].record.outputs] == [torch.float32, torch.bfloat16]


def test_a_grad_mode_is_set_again() -> None:
    """Calls that change a setting are never taken as done."""

    def forward(x: Tensor) -> Tensor:
        for _ in range(2):
            with torch.no_grad():
                assert not torch.is_grad_enabled()
            with torch.enable_grad():
                assert torch.is_grad_enabled()
                x = x + 1
        return x

    assert fxcost.analyze(forward, (2, 3), capture="concrete").flops == 12


def test_what_becomes_known_in_a_call_stops_no_replay(ran: list[Any]) -> None:
    """A function that makes values (a mask from constants) for the first time in an analysis is replayed as others."""
    model = Lambda(lambda self, x: masked(self.layer(x)), layer=nn.Linear(3, 3, device="meta"))
    first = fxcost.analyze(model, (3, 3), capture="symbolic")
    ran.clear()
    assert fxcost.analyze(model, (3, 3), capture="symbolic").to_json() == first.to_json()
    assert not ran


@fx.wrap
def masked(x: Tensor) -> Tensor:
    mask = torch.ones(3, 3).tril()
    return x.masked_fill(mask == 0, 0.0)


def test_what_only_asks_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes, comparisons of sizes and assertions in a traced graph are replayed, with their results."""
    asked: list[Any] = []
    execute = Propagator._execute
    monkeypatch.setattr(
        Propagator, "_execute", lambda self, n, *rest: asked.append(n.target) or execute(self, n, *rest)
    )

    def forward(x: Tensor) -> Tensor:
        torch._assert(x.dim() == 2, "a matrix is wanted")
        n, m = x.shape
        return x.reshape(n * m)

    model = Lambda(lambda _, x: forward(x))
    for size in (2, 5, 2):
        report = fxcost.analyze(model, (size, 3), capture="symbolic")
        assert report.nodes[-1].outputs[0].shape == (3 * size,)
        again, asked[:] = list(asked), []
    assert not again


def test_what_a_graph_asks_is_no_node_of_a_run() -> None:
    """An assertion on sizes stands in a traced graph; a run that is recorded afterwards has none, as without memory."""

    def forward(x: Tensor) -> Tensor:
        torch._assert(x.shape[0] == 2, "two rows are wanted")
        return x.relu()

    symbolic, concrete = (fxcost.analyze(forward, (2, 3), capture=way) for way in ("symbolic", "concrete"))
    assert "torch._assert" in [node.target for node in symbolic.nodes]
    assert [node.target for node in concrete.nodes] == ["x", "relu", "output"]


def test_settings_of_a_graph_are_set_each_time() -> None:
    """A call that changes a setting returns nothing, and is made again."""
    graph = fx.Graph()
    x = graph.placeholder("x")
    for on in (True, False, True, False):
        graph.call_function(torch._C._set_grad_enabled, (on,))
        graph.call_function(noted, (x,))
    graph.output(x)
    _modes.clear()
    fxcost.analyze_graph(fx.GraphModule(nn.Module(), graph), (2,))
    assert _modes == [True, False, True, False]


_modes: list[bool] = []


def noted(x: Tensor) -> None:
    _modes.append(torch.is_grad_enabled())


def test_prices_are_remembered_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same operations are priced once, by the same rules; other rules are asked."""
    priced: list[Any] = []
    price = pricing.cost_operation
    monkeypatch.setattr(pricing, "cost_operation", lambda op, rules: priced.append(op.op) or price(op, rules))
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    first = fxcost.analyze(model, (2, 3)).cost
    assert priced
    priced.clear()
    assert fxcost.analyze(model, (2, 3)).cost == first
    assert not priced
    mine = {torch.ops.aten.relu: lambda op: fxcost.Cost(other_flops=1)}
    assert fxcost.analyze(model, (2, 3), rules=mine).cost.other_flops == 1 + first.other_flops - 8
    assert fxcost.analyze(model, (2, 3)).cost == first
    monkeypatch.setattr(remembered, "LIMIT", 10)
    for width in range(1, 12):
        fxcost.analyze(nn.Linear(3, width), (2, 3))
        assert len(remembered._prices._rows) <= 10
