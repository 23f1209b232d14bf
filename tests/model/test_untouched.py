"""An analysis leaves nothing behind: not in the model, not in the inputs, not in the process."""

from __future__ import annotations

import gc
import io
import math
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from models import Lambda
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import fxcost
from fxcost.meta.units import whole_units

CAPTURES = ("auto", "symbolic", "concrete")


class Moody(nn.Module):
    """Changes everything that a forward pass can: buffers, attributes, its weights, its inputs, the random state."""

    def __init__(self, ask: bool = False, fail: bool = False) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(8)
        self.linear = nn.utils.parametrizations.spectral_norm(nn.Linear(8, 8))
        self.frozen = nn.Linear(8, 8).requires_grad_(False).eval()
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.scale = torch.ones(8)  # a tensor that is no buffer
        self.history: list[Tensor] = []
        self.ask, self.fail = ask, fail
        self.norm.register_forward_hook(lambda module, given, out: out * 1)

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.scale.mul_(2)
        self.history.append(x)
        x.add_(torch.rand_like(x) + random.random() + float(np.random.rand()))
        with torch.no_grad():
            self.frozen.weight.zero_()
        y = self.frozen(self.linear(F.dropout(self.norm(x))))
        if self.ask and y.sum() > 0:
            y = -y
        if self.fail:
            raise ValueError("midway")
        return y


def everything(model: nn.Module) -> dict[str, Any]:
    """All that could be seen to change in a model, comparable with ==."""
    return {
        "tensors": {n: (t.tolist(), t._version, t.data_ptr(), str(t.device)) for n, t in _tensors(model)},
        "gradients": {n: (p.requires_grad, p.grad) for n, p in model.named_parameters()},
        "names": [n for n, _ in model.named_modules()],
        "attributes": {n: sorted(m.__dict__) for n, m in model.named_modules()},
        "identities": {n: [id(c) for c in m.children()] for n, m in model.named_modules()},
        "classes": [type(m) for m in model.modules()],
        "flags": [m.training for m in model.modules()],
        "hooks": [
            [list(getattr(m, kind)) for kind in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")]
            for m in model.modules()
        ],
        "history": list(getattr(model, "history", [])),
    }


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters()
    yield from model.named_buffers()
    if hasattr(model, "scale"):
        yield "scale", model.scale


def process() -> list[Any]:
    """What PyTorch and Python keep for the whole process or thread."""
    kind, keys, *rest = np.random.get_state()
    return [
        torch.get_rng_state().tolist(),
        random.getstate(),
        (kind, keys.tolist(), rest),
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch._C._len_torch_dispatch_stack(),
        torch._C._len_torch_function_stack(),
        nn.Module.__call__,
        nn.Module.__getattr__,
        torch.fx._symbolic_trace.is_fx_symbolic_tracing(),
        operators(lambda: F.scaled_dot_product_attention(*[torch.empty(1, 2, 4, 8, device="meta")] * 3)),
        operators(lambda: F.dropout(torch.empty(3, device="meta"), 0.5, True)),
        operators(lambda: nn.GRU(2, 3, device="meta")(torch.empty(4, 1, 2, device="meta"))),
    ]


def operators(run: Callable[[], Any]) -> list[str]:
    """The operators that PyTorch runs for a call, as a dispatch mode of its own sees them."""
    seen: list[str] = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.append(str(func))
            return func(*args, **(kwargs or {}))

    with Watch():
        run()
    return seen


@pytest.mark.parametrize("capture", ["auto", "concrete"])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("fail", [False, True])
def test_model_inputs_and_process_are_as_before(capture: str, training: bool, fail: bool) -> None:
    """Weights bit for bit, buffers, hooks, flags, attributes, random states; also if the forward raises midway."""
    model, x = Moody(fail=fail).train(training), torch.randn(4, 8)
    before, around, given = everything(model), process(), x.clone()
    if fail:
        with pytest.raises(fxcost.FxcostError, match="midway"):
            fxcost.analyze(model, x, capture=capture)
    else:
        assert fxcost.analyze(model, x, capture=capture).macs > 2 * 4 * 64
    assert everything(model) == before
    assert process() == around
    assert torch.equal(x, given)


@pytest.mark.parametrize("fail", [False, True])
def test_a_real_run_touches_a_copy_only(fail: bool) -> None:
    """Control flow that needs data is recorded on copies of the model and of the inputs."""
    model, x = Moody(ask=True, fail=fail), torch.randn(4, 8)
    before, around, given = everything(model), process(), x.clone()
    if fail:
        with pytest.raises(fxcost.FxcostError, match="midway"):
            fxcost.analyze(model, x)
    else:
        assert fxcost.analyze(model, x).capture == "real"
    assert everything(model) == before
    assert process() == around
    assert torch.equal(x, given)


@pytest.mark.parametrize("capture", CAPTURES)
def test_batch_norm_in_training_counts_nothing(capture: str) -> None:
    """`num_batches_tracked` and the running statistics stay where they were."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train()
    before = everything(model)
    fxcost.analyze(model, torch.randn(2, 3, 8, 8), capture=capture)
    assert model[1].num_batches_tracked.item() == 0
    assert everything(model) == before


def test_what_a_function_captures_is_not_written_to() -> None:
    """A closure's and a container's tensors keep their values, though the function writes into them."""
    weight, cache, norm = torch.ones(3), [torch.zeros(3)], nn.BatchNorm1d(3)

    def step(x: Tensor) -> Tensor:
        cache[0].add_(1)
        weight.mul_(2)
        return norm(x) * weight + cache[0]

    for capture in ("auto", "concrete"):
        assert fxcost.analyze(step, (2, 3), capture=capture).flops > 0
    assert torch.equal(weight, torch.ones(3))
    assert torch.equal(cache[0], torch.zeros(3))
    assert norm.num_batches_tracked.item() == 0


def test_tied_weights_stay_tied_and_count_once() -> None:
    """One storage under two names is one parameter, in the model and in its copy."""
    model = nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 10, bias=False))
    model[1].weight = model[0].weight
    assert fxcost.analyze(model, torch.arange(3)).params == 40
    assert model[0].weight is model[1].weight


def test_threads_analyse_at_the_same_time() -> None:
    """Analyses on several threads give what they give alone, whichever way they capture."""

    def job(i: int) -> tuple[int, str]:
        model = nn.Sequential(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), nn.Linear(8, i + 1))
        capture = CAPTURES[i % len(CAPTURES)]
        return fxcost.analyze(model, (2, 5, 8), capture=capture).macs, capture

    alone = [job(i) for i in range(12)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(job, range(12))) == alone


@pytest.mark.parametrize("capture", CAPTURES)
def test_other_threads_see_stock_pytorch(capture: str) -> None:
    """While one thread analyses, another runs modules on data and attention on meta, as if nothing was going on."""
    q = torch.empty(1, 2, 4, 8, device="meta")
    stock = operators(lambda: F.scaled_dot_product_attention(q, q, q))
    eager = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    wrong: list[Any] = []
    rounds = 0
    inside, done = threading.Event(), threading.Event()

    def outsider() -> None:
        nonlocal rounds
        inside.wait(10)
        while not done.is_set() or not rounds:
            try:
                if operators(lambda: F.scaled_dot_product_attention(q, q, q)) != stock:
                    wrong.append("attention")
                if type(eager(torch.ones(2, 4))) is not Tensor:
                    wrong.append("eager")
            except Exception as error:
                wrong.append(error)
            rounds += 1

    def pause(_: Any, x: Tensor) -> Tensor:
        inside.set()
        threading.Event().wait(0.02)  # let the other thread run in the middle of capture
        return F.scaled_dot_product_attention(x, x, x)

    thread = threading.Thread(target=outsider)
    thread.start()
    try:
        reports = [fxcost.analyze(Lambda(pause, inner=nn.Linear(2, 2)), (1, 2, 4, 8), capture=capture) for _ in "123"]
    finally:
        done.set()
        inside.set()
        thread.join()
    assert (wrong, rounds > 0) == ([], True)
    assert {r.macs for r in reports} == {2 * 2 * 4 * 4 * 8}


def test_units_nest_and_end() -> None:
    """Within the context attention is one operator, on this thread alone; afterwards it decomposes as before."""
    q = torch.empty(1, 2, 4, 8, device="meta")
    attention = lambda: operators(lambda: F.scaled_dot_product_attention(q, q, q))  # noqa: E731
    stock = attention()
    with whole_units():
        with whole_units():
            assert attention() == ["fxcost.scaled_dot_product_attention.default"]
        assert attention() == ["fxcost.scaled_dot_product_attention.default"]
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(attention).result() == stock
    assert attention() == stock


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder) -> None:
    """The library writes to no stream and warns of nothing, whether it succeeds or fails."""
    fxcost.analyze(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), (1, 3, 8, 8))
    fxcost.analyze(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (2, 5, 8), capture="concrete")
    with pytest.raises(fxcost.FxcostError):
        fxcost.analyze(nn.Linear(8, 8), (2, 9))
    assert capfd.readouterr() == ("", "")
    assert [str(w.message) for w in recwarn if "fxcost" in w.filename] == []


_HUGE = """
import resource, torch, fxcost
from torch import nn
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
with torch.device("meta"):
    model = nn.Sequential(*(nn.Linear(100_000, 100_000, bias=False) for _ in range(100)))
fxcost.analyze(nn.Linear(2, 2), (1, 2), capture="symbolic"); fxcost.analyze(nn.Linear(2, 2), (1, 2), capture="concrete")
before = peak()
for capture in ("symbolic", "concrete"):
    report = fxcost.analyze(model, (1, 100_000), capture=capture)
    print(report.params, report.macs)
print(peak() - before)
"""


def test_a_trillion_parameters_need_no_memory() -> None:
    """A model of 10¹² parameters on meta is analysed in less than 1 GB."""
    out = subprocess.run([sys.executable, "-c", _HUGE], capture_output=True, text=True, check=True).stdout.split()
    assert out[:4] == ["1000000000000"] * 4
    assert int(out[4]) < 2**30


@pytest.mark.parametrize("collecting", [True, False])
def test_the_garbage_collector_is_left_alone(collecting: bool) -> None:
    """Other threads rely on it: it is on during an analysis if it was on before."""
    seen = io.StringIO()  # a list would be put back
    watching = Lambda(lambda _, x: seen.write(f"{gc.isenabled()} ") and x.relu())
    (gc.enable if collecting else gc.disable)()
    try:
        fxcost.analyze(watching, (2, 3))
    finally:
        gc.enable()
    assert set(seen.getvalue().split()) == {str(collecting)}


def test_numbers_that_another_thread_draws_do_not_come_again() -> None:
    """A thread trains with dropout while this one analyses a model that draws: its numbers are those of its seed."""
    alone = [torch.Generator().manual_seed(0)]
    expected = torch.rand(20_000, generator=alone[0]).tolist()
    model = Lambda(lambda _, x: x.relu() * random.random())
    drawn: list[float] = []
    stop = threading.Event()

    def train() -> None:
        torch.manual_seed(0)
        while not stop.is_set() and len(drawn) < len(expected):
            drawn.append(torch.rand(1).item())

    thread = threading.Thread(target=train)
    thread.start()
    for _ in range(5):
        fxcost.analyze(model, (2, 3))
    stop.set()
    thread.join()
    assert drawn == expected[: len(drawn)]


def test_a_real_run_draws_from_a_generator_of_its_own() -> None:
    """Control flow on data needs a real run; its dropout leaves the generators where they were."""
    model = Lambda(lambda self, x: F.dropout(x) if x.sum() > 0 else x)
    before = torch.get_rng_state(), random.getstate()
    report = fxcost.analyze(model, torch.ones(4, 4))
    assert report.capture == "real"
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]


def test_pythons_math_is_never_touched() -> None:
    """While a model is traced `math` holds what it held, a function of the user's own too."""
    mine = lambda x: x  # noqa: E731
    seen = io.StringIO()  # a list would be put back
    before = math.sqrt
    math.sqrt = mine
    try:
        fxcost.analyze(Lambda(lambda _, x: seen.write(f"{math.sqrt is mine} ") and x.relu()), (2, 3))
        assert math.sqrt is mine
    finally:
        math.sqrt = before
    assert set(seen.getvalue().split()) == {"True"}
