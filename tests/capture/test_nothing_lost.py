"""What lies outside a model's own code and still runs, or decides, or can't be followed: in the numbers, or said."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.utils.flop_counter import FlopCounterMode

import fxcost


def backward_macs(model: Any, x: Tensor) -> int:
    """What PyTorch's own counter says of a real backward pass."""
    out = model(x)
    with FlopCounterMode(display=False) as counter:
        out.sum().backward()
    return int(counter.get_total_flops() // 2)


# -------------------------------------------------------------------------------------------------- hooks of tensors


def test_a_hook_on_a_weights_gradient_runs() -> None:
    def make() -> nn.Module:
        model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
        model[0].weight.register_hook(lambda grad: grad @ grad)
        return model

    report = fxcost.analyze(make(), (2, 4), training=True)
    assert report.training.backward.macs == backward_macs(make(), torch.randn(2, 4))


def test_a_hook_does_not_run_on_the_users_own_model() -> None:
    seen: list[Tensor] = []
    scale = nn.Linear(4, 4, bias=False)
    model = nn.Linear(4, 4)

    def hook(grad: Tensor) -> Tensor:
        seen.append(grad)
        return grad @ scale.weight

    model.weight.register_hook(hook)
    report = fxcost.analyze(model, (2, 4), training=True)
    assert report.training.backward.macs == 2 * 4 * 4 + 4 * 4 * 4
    assert not seen
    assert model.weight.grad is None
    assert scale.weight.grad is None


def test_hooks_after_a_gradient_is_there_are_left_out_aloud() -> None:
    model = nn.Linear(4, 4)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)

    def step(_: Tensor) -> None:
        optimizer.step()

    model.weight.register_post_accumulate_grad_hook(step)
    before = model.weight.detach().clone()
    report = fxcost.analyze(model, (2, 4), training=True)
    assert any("register_post_accumulate_grad_hook" in text for text in report.assumptions)
    assert torch.equal(model.weight, before)


# ---------------------------------------------------------------------------------------------------- graphs given


def edited() -> fx.GraphModule:
    graph = fx.symbolic_trace(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)))
    last = next(node for node in graph.graph.nodes if node.target == "1")
    last.replace_all_uses_with(last.args[0])
    graph.graph.erase_node(last)
    return graph


@pytest.mark.parametrize("around", [lambda graph: graph, lambda graph: nn.Sequential(graph)])
def test_a_graph_that_was_edited_and_not_recompiled(around: Callable[[fx.GraphModule], nn.Module]) -> None:
    report = fxcost.analyze(around(edited()), (2, 4))
    assert report.macs == 32
    assert any("recompile()" in text for text in report.assumptions)
    graph = edited()
    graph.recompile()
    assert not fxcost.analyze(around(graph), (2, 4)).assumptions


def test_the_module_of_an_exported_program_runs_with_its_checks() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    exported = torch.export.export(model, (torch.randn(2, 4),)).module()
    for module in (exported, nn.Sequential(exported)):
        report = fxcost.analyze(module, (2, 4), training=True)
        assert (report.macs, report.training.backward.macs) == (64, 96)


@pytest.mark.parametrize("script", [torch.jit.script, lambda m: torch.jit.trace(m, torch.randn(2, 4))])
def test_scripted_models_train(script: Callable[[nn.Module], Any]) -> None:
    def make() -> Any:
        return script(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)))

    model = make()
    report = fxcost.analyze(model, (2, 4), training=True)
    assert (report.params, report.macs) == (40, 64)
    assert report.training.backward.macs == backward_macs(make(), torch.randn(2, 4))
    assert all(p.device.type == "cpu" and p.grad is None for p in model.parameters())


class Named(Tensor):
    """A subclass that is nothing but a name."""


def test_training_on_inputs_of_a_plain_subclass() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    report = fxcost.analyze(model, torch.randn(2, 4).as_subclass(Named), training=True)
    assert (report.macs, report.training.backward.macs) == (64, 96)


# ------------------------------------------------------------------------------------------- what can't be followed


def endlessly(layer: nn.Module) -> Iterator[nn.Module]:
    while True:
        yield layer


def through(holder: Any, get: Callable[[Any], nn.Module]) -> Callable[[Tensor], Tensor]:
    return lambda x: get(holder)(x)  # type: ignore[no-any-return]


WAYS: dict[str, Callable[[nn.Module], Callable[[Tensor], Tensor]]] = {
    "a generator": lambda layer: through(endlessly(layer), next),
    "a proxy of a mapping": lambda layer: through(types.MappingProxyType({"a": layer}), lambda them: them["a"]),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_module_that_is_reached_in_a_way_that_cant_be_followed(way: str) -> None:
    layer = nn.Linear(4, 4)
    function = WAYS[way](layer)
    report = fxcost.analyze(function, (2, 4), training=True)
    assert report.macs == 32
    assert report.training.backward.macs == backward_macs(function, torch.randn(2, 4))
    assert any("can't be followed" in text for text in report.assumptions)


# --------------------------------------------------------------------------------------- questions about the device


class Asks(nn.Module):
    def __init__(self, question: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.question, self.yes, self.no = question, nn.Linear(4, 4), nn.Linear(4, 40)

    def forward(self, x: Tensor) -> Tensor:
        return self.yes(x) if self.question(x) else self.no(x)


QUESTIONS: dict[str, Callable[[Tensor], Any]] = {
    "type": lambda x: x.type() == "torch.FloatTensor",
    "storage": lambda x: x.untyped_storage().device.type == "cpu",
    "old storage": lambda x: x.storage().device.type == "cpu",
    "cast": lambda x: x.type("torch.DoubleTensor").dtype == torch.float64,
    "set to": lambda x: x.is_set_to(x.view(2, 4)) and not x.is_set_to(x[0]),
    "formatted": lambda x: f"{x.new_ones(()):.1f}" == "1.0",
}


@pytest.mark.parametrize("name", QUESTIONS)
@pytest.mark.parametrize("data", [False, True])
def test_questions_are_answered_as_on_the_users_device(name: str, data: bool) -> None:
    assert QUESTIONS[name](torch.randn(2, 4))
    assert fxcost.analyze(Asks(QUESTIONS[name]), torch.randn(2, 4) if data else (2, 4)).macs == 32


GIVEN: dict[str, tuple[Callable[[Tensor], Any], Callable[[], Tensor]]] = {
    "a view": (lambda x: x._is_view() and x._base.shape == (4, 8), lambda: torch.randn(4, 8)[:2, :4]),
    "no view": (lambda x: not x._is_view() and x._base is None, lambda: torch.randn(2, 4)),
    "a part of memory": (lambda x: x.storage_offset() == 3, lambda: torch.randn(20)[3:11].view(2, 4)),
    "a leaf": (lambda x: x.requires_grad and x.is_leaf, lambda: torch.randn(2, 4, requires_grad=True)),
    "computed": (lambda x: x.grad_fn is not None, lambda: torch.randn(2, 4, requires_grad=True) * 2),
    "computed, a part": (lambda x: x.stride() == (8, 1), lambda: (torch.randn(4, 8, requires_grad=True) * 2)[:2, :4]),
}


@pytest.mark.parametrize("name", GIVEN)
def test_what_an_input_is_can_be_asked(name: str) -> None:
    question, make = GIVEN[name]
    assert question(make())
    assert fxcost.analyze(Asks(question), make()).macs == 32


def test_inputs_that_were_computed_get_a_gradient() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    for leaf in (torch.randn(2, 4), torch.randn(2, 4, requires_grad=True)):
        report = fxcost.analyze(model, leaf * 2, training=True)
        assert report.training.backward.macs == backward_macs(model, leaf * 2)


def test_conjugates_stay_conjugates() -> None:
    model = Asks(lambda x: True)
    x = torch.randn(2, 4, dtype=torch.complex64)

    def function(x: Tensor) -> Tensor:
        return model(x.real) if x.is_conj() else x

    assert [fxcost.analyze(function, given).macs for given in (x, x.conj())] == [0, 32]


def test_a_question_for_an_old_type_is_said() -> None:
    asking = fxcost.analyze(Asks(lambda x: isinstance(x, torch.FloatTensor)), (2, 4))
    making = fxcost.analyze(Asks(lambda x: torch.FloatTensor([1.0]).dim()), (2, 4))
    assert any("torch.FloatTensor" in text for text in asking.assumptions)
    assert not making.assumptions


def test_text_of_a_real_value() -> None:
    model = Asks(lambda x: f"{x.sum():.1f}" != "" and f"{x.sum()}" != "")
    assert fxcost.analyze(model, torch.randn(2, 4)).macs == 32


def test_a_function_that_asks_for_a_value_in_cpp() -> None:
    model = Asks(lambda x: torch.allclose(x, x))
    with pytest.raises(fxcost.UnknownValueError, match="real inputs"):
        fxcost.analyze(model, (2, 4))
    assert fxcost.analyze(model, torch.randn(2, 4)).macs == 32


@pytest.mark.skipif(torch.cuda.is_available(), reason="asks as on a machine without a GPU")
@pytest.mark.parametrize(
    "question",
    [
        lambda x: torch.cuda.get_device_capability()[0] >= 8,
        lambda x: torch.cuda.get_device_properties(0).total_memory > 2**30,
        lambda x: "H100" in torch.cuda.get_device_name(),
        lambda x: torch.cuda.memory_allocated() < torch.cuda.mem_get_info()[1],
    ],
)
def test_which_gpu_it_is_is_said(question: Callable[[Tensor], Any]) -> None:
    report = fxcost.analyze(Asks(question), (2, 4), training=True)
    assert (report.macs, report.training.backward.macs) == (32, 32)
    assert any("H100" in text for text in report.assumptions)


@pytest.mark.skipif(torch.cuda.is_available(), reason="runs as on a machine without a GPU")
def test_streams_memory_and_events_do_nothing() -> None:
    class Streams(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            stream = torch.cuda.Stream()
            with torch.cuda.stream(stream):
                y = F.relu(self.layer(x))
            y.record_stream(stream)
            torch.cuda.reset_peak_memory_stats()
            return y

    report = fxcost.analyze(Streams(), (2, 4), training=True)
    assert report.macs == 32
    assert not report.assumptions
