"""Numbers come from a run of the model's own code, whatever a trace of it would have said: reported faults by kind."""

from __future__ import annotations

import contextlib
import functools
import io
import threading
import types
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from models import Lambda
from torch import Tensor, fx, nn
from torch.fx._symbolic_trace import is_fx_tracing
from torch.overrides import TorchFunctionMode

import fxcost
from fxcost.errors import CaptureError

ROWS = 2
YES, NO = ROWS * 4 * 4, ROWS * 4 * 40
"""MACs of the way that the model takes in PyTorch, and of the way that a trace may take."""


class Ways(nn.Module):
    """`yes` is what PyTorch runs."""

    def __init__(self, decides: Any = None) -> None:
        super().__init__()
        self.yes, self.no = nn.Linear(4, 4), nn.Linear(4, 40)
        self.decides = decides

    def forward(self, x: Tensor) -> Tensor:
        return self.yes(x) if self.decides(x) else self.no(x)


def swallowed(x: Tensor) -> bool:
    try:
        return int(x.shape[0]) == ROWS
    except Exception:
        return False


def suppressed(x: Tensor) -> bool:
    with contextlib.suppress(Exception):
        return len(x) == ROWS
    return False


def bare(x: Tensor) -> bool:
    try:
        return bool(x.shape[0] == ROWS)
    except BaseException:
        return False


def iterated(x: Tensor) -> bool:
    try:
        return len([n for n in x.shape]) == 2  # noqa: C416
    except TypeError:
        return False


class Table(dict[Any, bool]):
    """Says no for what it does not know."""

    def __missing__(self, key: Any) -> bool:
        return False


DECISIONS: dict[str, Any] = {
    "swallowed by except Exception": swallowed,
    "suppressed": suppressed,
    "swallowed by a bare except": bare,
    "iterated": iterated,
    "isinstance of a shape": lambda x: isinstance(x.shape, torch.Size),
    "isinstance of a shape, a tuple": lambda x: isinstance(x.shape, tuple),
    "isinstance of a dtype": lambda x: isinstance(x.dtype, torch.dtype),
    "isinstance of a device": lambda x: isinstance(x.device, torch.device),
    "isinstance of a size": lambda x: isinstance(x.shape[0], int),
    "isinstance of a tensor": lambda x: isinstance(x, Tensor),
    "type": lambda x: type(x.size(0)) is int,
    "not tracing": lambda x: not is_fx_tracing(),
    "a key": lambda x: Table({2: True})[x.shape[0]],
    "a key that is a dtype": lambda x: Table({torch.float32: True})[x.dtype],
    "membership": lambda x: x.shape[0] in {2, 3},
    "a text": lambda x: str(tuple(x.shape)) == "(2, 4)",
    "a formatted text": lambda x: f"{x.shape[0]}" == "2",
    "a representation": lambda x: "Proxy" not in repr(x.shape),
    "identity": lambda x: x.dtype is torch.float32,
    "hasattr": lambda x: hasattr(x, "untyped_storage"),
    "callable": lambda x: not callable(x),
    "the device's kind": lambda x: x.device.type == "cpu",
    "the device": lambda x: x.device == torch.device("cpu"),
    "the device as text": lambda x: str(x.device) == "cpu",
    "is_cpu": lambda x: x.is_cpu,
    "is_meta": lambda x: not x.is_meta,
    "is_cuda": lambda x: not x.is_cuda,
}


@pytest.mark.parametrize("decides", DECISIONS.values(), ids=DECISIONS.keys())
def test_the_way_is_that_of_a_run(decides: Any) -> None:
    """What Python decides by a tensor's properties is decided as in PyTorch; a trace that differs is not believed."""
    model = Ways(decides)
    assert model(torch.ones(ROWS, 4)).shape == (ROWS, 4)
    report = fxcost.analyze(model, (ROWS, 4))
    assert (report.macs, report.assumptions) == (YES, ())
    assert report.capture == "symbolic" or report.capture_reason
    try:
        alone = fxcost.analyze(model, (ROWS, 4), capture="symbolic")
    except CaptureError:
        return
    assert alone.macs == YES


class Device(Ways):
    """Decides by a parameter's device."""

    def forward(self, x: Tensor) -> Tensor:
        return self.yes(x) if next(self.parameters()).device.type == "cpu" else self.no(x)


def test_a_parameters_device_is_the_users() -> None:
    """Also in training, and for a model without data."""
    assert fxcost.analyze(Device(), (ROWS, 4)).macs == YES
    assert fxcost.analyze(Device(), (ROWS, 4), training=True).training.backward.macs == YES
    with torch.device("meta"):
        assert fxcost.analyze(Device(), (ROWS, 4)).macs == YES


# -------------------------------------------------------------------------------------------- what the root really runs


class Detector(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(10, 20), nn.Linear(20, 30)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))

    def forward_dummy(self, x: Tensor) -> Tensor:
        return self.body(x)


def replaced(forward: Any) -> nn.Module:
    model = Detector()
    model.forward = forward(model)  # type: ignore[method-assign]
    return model


class Twice(Detector):
    def __call__(self, x: Tensor) -> Tensor:
        return self.body(super().__call__(x)[:, :10])


class OwnCallImpl(Detector):
    def _call_impl(self, x: Tensor) -> Tensor:
        return self.body(x)

    __call__ = _call_impl


ROOTS = {
    "a method": (replaced(lambda m: m.forward_dummy), 200),
    "a bound function": (replaced(lambda m: types.MethodType(lambda self, x: self.body(x), m)), 200),
    "a partial": (replaced(lambda m: functools.partial(Detector.forward_dummy, m)), 200),
    "under autocast": (replaced(lambda m: torch.autocast("cpu", torch.bfloat16)(m.forward)), 800),
    "__call__": (Twice(), 1000),
    "_call_impl": (OwnCallImpl(), 200),
}


@pytest.mark.parametrize("capture", ["auto", "concrete"])
@pytest.mark.parametrize(("model", "macs"), ROOTS.values(), ids=ROOTS.keys())
def test_the_root_runs_as_it_is_called(model: nn.Module, macs: int, capture: str) -> None:
    """A forward of the instance, or a `__call__` of the class, is what runs, in training and for other tools too."""
    report = fxcost.analyze(model, (1, 10), capture=capture)
    assert (report.macs, report.count("macs")) == (macs, macs)
    assert fxcost.analyze(model, (2, 10), capture=capture).macs == 2 * macs


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("everywhere", [True, False])
def test_hooks_of_the_root_run(before: bool, everywhere: bool) -> None:
    """Those of the module and those of all modules."""
    model = nn.Sequential(nn.Linear(4, 4))
    owner: Any = nn.modules.module if everywhere else model
    kind = "forward_pre_hook" if before else "forward_hook"
    register = getattr(owner, f"register_module_{kind}" if everywhere else f"register_{kind}")
    handle = register((lambda m, given: (given[0].relu(),)) if before else (lambda m, given, out: out.relu()))
    try:
        flops = fxcost.analyze(model, (2, 4)).flops
    finally:
        handle.remove()
    assert flops == 2 * 32 + (2 if everywhere else 1) * 8


# ------------------------------------------------------------------------------------------------------------ graphs


def test_hooks_and_forward_of_a_graph_module_run() -> None:
    """A GraphModule is a module: what is put on it runs."""
    make = lambda: fx.symbolic_trace(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)))  # noqa: E731
    before, after, own = make(), make(), make()
    before.register_forward_pre_hook(lambda m, given: (torch.cat([given[0]] * 3),))
    weight = torch.ones(4, 4)
    after.register_forward_hook(lambda m, given, out: out @ weight)
    own.forward = lambda x: getattr(own, "0")(x)
    assert [fxcost.analyze(g, (2, 4)).macs for g in (make(), before, after, own)] == [64, 192, 96, 32]


class Rest(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.l = nn.Linear(4, 4)

    def forward(self, *rows: Tensor, **named: Tensor) -> Tensor:
        return self.l(rows[0]) + rows[1] + named["more"]


def test_graphs_with_rest_arguments() -> None:
    """`*rows` gets a tuple, `**named` a dict, as the code takes them that torch.fx makes."""
    module = fx.symbolic_trace(Rest())
    x = torch.ones(2, 4)
    assert module(x, x, more=x).shape == (2, 4)
    report = fxcost.analyze(module, [(2, 4), (2, 4)], {"more": fxcost.spec(2, 4)})
    assert (report.macs, report.flops) == (32, 2 * 32 + 2 * 8)
    with pytest.raises(fxcost.FxcostError):
        fxcost.analyze(fx.symbolic_trace(nn.Linear(4, 4)), [(2, 4), (2, 4)])


@fx.wrap
def double_if_positive(x: Tensor) -> Tensor:
    return x.repeat(1, 2) if x.sum() > 0 else x


class Wrapped(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return double_if_positive(x) @ torch.ones(8, 4)


def test_a_given_graph_gets_a_real_run_where_it_needs_one() -> None:
    """Control flow inside of a node of a given graph hangs on data, and data is at hand."""
    graph = fx.symbolic_trace(Wrapped())
    report = fxcost.analyze(graph, torch.ones(2, 4))
    assert (report.capture, report.macs) == ("real", 2 * 8 * 4)


@fx.wrap
def extend(rows: list[Tensor], x: Tensor) -> None:
    rows.append(x)


@fx.wrap
def joined(rows: list[Tensor]) -> Tensor:
    return torch.cat(rows).relu()


class Lists(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        rows = [x]
        extend(rows, x)
        return joined(rows)


def test_lists_that_a_function_changes() -> None:
    """Two blocks of rows, as when it runs."""
    assert fxcost.analyze(Lists(), (2, 4)).flops == 16


# ---------------------------------------------------------------------------------- settings, modes and changing leaves


class Regions(nn.Module):
    def __init__(self, region: Any) -> None:
        super().__init__()
        self.teacher, self.student = nn.Linear(4, 4), nn.Linear(4, 4)
        self.region = region

    def forward(self, x: Tensor) -> Tensor:
        with self.region():
            target = self.teacher(x)
        return F.mse_loss(self.student(x), target)


@pytest.mark.parametrize("region", [torch.no_grad, lambda: torch.set_grad_enabled(False)], ids=["no_grad", "set"])
def test_regions_without_gradients(region: Any) -> None:
    """Only the student's weight gets a gradient, as PyTorch says."""
    training = fxcost.analyze(Regions(region), (2, 4), training=True).training
    assert training is not None
    assert (training.backward.macs, training.gradient_bytes) == (32, 80)


class Resizing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.u, self.c = nn.Upsample(scale_factor=2), nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        for factor in (2, 4):
            self.u.scale_factor = factor
            x = self.c(self.u(x))
        return x


def test_a_leaf_that_changes_between_its_calls() -> None:
    """Each call runs with the settings that it has then."""
    report = fxcost.analyze(Resizing(), (1, 3, 2, 2))
    assert (report.macs, report.capture) == (9 * (16 + 256), "concrete")
    assert "another way" in report.capture_reason
    with pytest.raises(CaptureError, match="another way"):
        fxcost.analyze(Resizing(), (1, 3, 2, 2), capture="symbolic")


class Doubling(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        return out * 2 if getattr(func, "__name__", "") in ("relu", "linear") else out


def test_a_mode_of_the_users_acts_where_it_is_active() -> None:
    """Around an analysis and within a forward; and not a moment longer."""
    net = nn.Sequential(nn.Linear(4, 4))
    plain = fxcost.analyze(net, (2, 4)).flops
    with Doubling():
        doubled = fxcost.analyze(net, (2, 4)).flops
    assert (plain, doubled, fxcost.analyze(net, (2, 4)).flops) == (64, 72, 64)

    def half(self: Any, x: Tensor) -> Tensor:
        x = self.l(x)
        with Doubling():
            return self.l(x)

    for capture in ("auto", "concrete"):
        assert fxcost.analyze(Lambda(half, l=nn.Linear(4, 4)), (2, 4), capture=capture).flops == 64 + 72


def test_code_that_changes_between_analyses() -> None:
    """PyTorch's own functions, a method on tensors, a global: what runs is what is there."""
    times = 1

    def many(self: Tensor) -> Tensor:
        for _ in range(times):
            self = self.relu()
        return self

    Tensor.many = many  # type: ignore[attr-defined]
    before = nn.Softsign.forward.__code__
    try:
        once = fxcost.analyze(lambda x: x.many(), (2, 4)).flops
        times = 3
        assert (once, fxcost.analyze(lambda x: x.many(), (2, 4)).flops) == (8, 24)
        plain = fxcost.analyze(nn.Sequential(nn.Softsign()), (2, 4)).flops
        nn.Softsign.forward.__code__ = (lambda self, x: x.relu()).__code__
        assert (plain, fxcost.analyze(nn.Sequential(nn.Softsign()), (2, 4)).flops) == (24, 8)
    finally:
        nn.Softsign.forward.__code__ = before
        del Tensor.many  # type: ignore[attr-defined]


@fx.wrap
def as_threads_say(x: Tensor) -> Tensor:
    return x.relu() if torch.get_num_threads() == 1 else x.relu().relu()


def test_a_function_that_reads_a_setting_is_run() -> None:
    """Nothing of the user's code is remembered."""
    before, counts = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            counts.append(fxcost.analyze(Lambda(lambda self, x: as_threads_say(x)), (2, 4)).flops)
    finally:
        torch.set_num_threads(before)
    assert counts == [8, 16]


# ----------------------------------------------------------------------------------------------- gradients, data, GPUs


class Forces(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.energy = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))

    def forward(self, position: Tensor) -> tuple[Tensor, Tensor]:
        position.requires_grad_(True)
        energy = self.energy(position).sum()
        return energy, -torch.autograd.grad(energy, position, create_graph=True)[0]


@pytest.mark.parametrize("x", [(5, 3), torch.ones(5, 3)], ids=["a shape", "data"])
def test_a_model_that_differentiates(x: Any) -> None:
    """Forces: two layers forward, and the gradient of the input through both."""
    report = fxcost.analyze(Forces(), x)
    forward = 5 * 3 * 8 + 5 * 8
    assert (report.macs, report.capture) == (2 * forward, "concrete")


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cond(x.sum() > 0, lambda x: self.a(x), lambda x: self.b(self.a(x)), (x,))


def test_cond_with_data_takes_the_branch_that_it_takes() -> None:
    """A real run tells; without data the true branch is assumed, and the report says so."""
    assert fxcost.analyze(Branches(), -torch.ones(2, 4)).macs == 64
    report = fxcost.analyze(Branches(), (2, 4))
    assert report.macs == 32
    assert any("torch.cond" in text for text in report.assumptions)


CALLS: dict[str, Any] = {
    "synchronize": lambda self, x: (torch.cuda.synchronize(), self.l(x))[1],
    "get_device": lambda self, x: self.l(x) + torch.randn(x.shape[0], 4).to(x.get_device()),
    "FloatTensor": lambda self, x: self.l(x) + torch.cuda.FloatTensor(x.shape[0], 4).fill_(0),
    "an event": lambda self, x: (torch.cuda.Event(enable_timing=True).record(), self.l(x))[1],
    "current_device": lambda self, x: self.l(x) + torch.zeros(4, device=torch.cuda.current_device()),
}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_calls_of_cuda_without_a_gpu(call: Any) -> None:
    """They do nothing while the model is analysed, and are PyTorch's own afterwards and for other threads."""
    before = dict(vars(torch.cuda))
    seen = io.StringIO()  # a list would be put back

    def watched(self: Any, x: Tensor) -> Tensor:
        def elsewhere() -> None:
            try:
                torch.cuda.synchronize()
            except Exception as error:
                seen.write(str(error))

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        return call(self, x)

    assert fxcost.analyze(Lambda(watched, l=nn.Linear(3, 4)), (5, 3)).macs == 60
    assert dict(vars(torch.cuda)) == before
    assert seen.getvalue()
