"""`torch.autocast("cuda")` in a model's code, where there is no CUDA: against regions for the CPU."""

from __future__ import annotations

import os
import threading
import warnings

import pytest
import torch
from torch import nn

import fxcost
from fxcost.meta.cuda_regions import ASSUMED

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="PyTorch's own regions of CUDA work here")


class Net(nn.Module):
    """Products and a norm in a region for a kind of device, and a product after it."""

    def __init__(self, device: str, **options: object) -> None:
        super().__init__()
        self.one, self.norm, self.two, self.last = (
            nn.Linear(8, 16),
            nn.LayerNorm(16),
            nn.Linear(16, 16),
            nn.Linear(16, 4),
        )
        self.device, self.options = device, options

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast(self.device, **self.options):
            x = self.two(self.norm(self.one(x)))
        return self.last(x.float())


def ran(report: fxcost.Report) -> list[tuple[str, list[torch.dtype]]]:
    """Operators with the dtypes of what they were given."""
    nodes = report.recording.nodes
    return [(str(op.op), [spec.dtype for spec in op.inputs]) for node in nodes for op in node.operations]


def test_a_region_casts_as_one_of_the_cpu_does() -> None:
    """In bfloat16 both cast alike, forward and in training; a real run on the CPU returns the same dtype."""
    cuda, cpu = (fxcost.analyze(Net(d, dtype=torch.bfloat16), (2, 8), training=True) for d in ("cuda", "cpu"))
    assert ran(cuda) == ran(cpu)
    assert any(torch.bfloat16 in dtypes for _, dtypes in ran(cuda))
    assert cuda.training is not None
    assert cpu.training is not None
    assert cuda.training.saved_bytes == cpu.training.saved_bytes
    assert cuda.training.peak_bytes == cpu.training.peak_bytes
    assert ASSUMED in cuda.recording.assumptions
    assert ASSUMED not in cpu.recording.assumptions


def test_float16_unless_said() -> None:
    """CUDA's own default; no warning is left for the user, whose model is right."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = fxcost.analyze(Net("cuda"), (2, 8))
    products = [dtypes for op, dtypes in ran(report) if op == "aten.addmm.default"]
    assert [set(dtypes) for dtypes in products] == [{torch.float16}, {torch.float16}, {torch.float32}]
    assert report.recording.assumptions.count(ASSUMED) == 1
    assert ASSUMED in str(report)


def test_a_region_that_is_off_stays_off() -> None:
    """`enabled=False` is the user's word."""
    report = fxcost.analyze(Net("cuda", enabled=False), (2, 8))
    assert {dtype for _, dtypes in ran(report) for dtype in dtypes} == {torch.float32}
    assert ASSUMED not in report.recording.assumptions


def test_a_real_run_casts_nothing() -> None:
    """Values are asked for: the model runs on the CPU, where a region for CUDA does nothing, and nothing is assumed."""

    class Deciding(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x if x.sum() > 0 else -x)

    report = fxcost.analyze(Deciding("cuda"), torch.ones(2, 8))
    assert report.recording.capture == "real"
    assert torch.float16 not in {dtype for _, dtypes in ran(report) for dtype in dtypes}
    assert ASSUMED not in report.recording.assumptions


def test_afterwards_all_is_as_before() -> None:
    """Also where the model fails, and meanwhile on other threads."""
    before = torch.cuda.amp.common.amp_definitely_not_available, torch.cuda.is_bf16_supported
    elsewhere: list[bool] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            elsewhere.append(torch.cuda.amp.common.amp_definitely_not_available())
            done.wait(0.001)

    class Failing(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise ValueError(str(torch.cuda.amp.common.amp_definitely_not_available()))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        with pytest.raises(fxcost.FxcostError, match="ValueError: False"):
            fxcost.analyze(Failing("cuda"), (2, 8))
    finally:
        done.set()
        thread.join()
    assert len(elsewhere) > 1
    assert all(elsewhere)
    assert before == (torch.cuda.amp.common.amp_definitely_not_available, torch.cuda.is_bf16_supported)


def test_nothing_is_replaced_for_code_that_names_no_autocast() -> None:
    """Nobody sees another function where PyTorch's stood, whichever way the code reaches it."""
    seen: list[bool] = []
    before = torch.cuda.is_bf16_supported

    def looking(x: torch.Tensor) -> torch.Tensor:
        seen.append(torch.cuda.is_bf16_supported is before)
        return x + 1

    fxcost.analyze(looking, (2, 8))
    assert all(seen)


WAYS = {
    "torch.autocast": lambda x: region(torch.autocast, x),
    "torch.amp.autocast": lambda x: region(torch.amp.autocast, x),
    "another name": lambda x: region(as_another, x),
}
as_another = torch.autocast


def region(of: type, x: torch.Tensor) -> torch.Tensor:
    with of("cuda", torch.bfloat16):
        return x @ x.t()


@pytest.mark.parametrize("way", WAYS)
def test_by_whatever_name_it_goes(way: str) -> None:
    assert ASSUMED in fxcost.analyze(WAYS[way], (2, 8)).assumptions


def test_in_a_graph_that_was_given() -> None:
    exported = torch.export.export(Net("cpu", dtype=torch.bfloat16), (torch.randn(2, 8),))
    assert ASSUMED not in fxcost.analyze(exported).assumptions
    graph = torch.fx.Graph()
    x = graph.placeholder("x")
    inside = graph.call_function(torch.amp.autocast_mode._enter_autocast, ("cuda", torch.bfloat16, True, False))
    product = graph.call_method("matmul", (x, graph.call_method("t", (x,))))
    graph.call_function(torch.amp.autocast_mode._exit_autocast, (inside,))
    graph.output(product)
    assert ASSUMED in fxcost.analyze(torch.fx.GraphModule(nn.Module(), graph), (2, 8)).assumptions


def test_a_child_that_is_forked_meanwhile() -> None:
    """By another thread: it has PyTorch's own functions, and can analyse."""
    before = torch.cuda.is_bf16_supported
    inside, forked = threading.Event(), threading.Event()

    class Waiting(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            inside.set()
            forked.wait(60)
            return super().forward(x)

    thread = threading.Thread(target=fxcost.analyze, args=(Waiting("cuda"), (2, 8)), kwargs={"capture": "concrete"})
    thread.start()
    assert inside.wait(60)
    child = os.fork()
    if not child:
        os._exit(0 if torch.cuda.is_bf16_supported is before else 1)
    forked.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_checkpointing_in_a_region() -> None:
    """What runs again is cast as it was: PyTorch makes the region anew for it."""
    blocks = [nn.Sequential(nn.Linear(20, 90), nn.GELU(), nn.Linear(90, 20)) for _ in range(3)]
    for block in blocks:
        block.forward = lambda x, run=block.forward: torch.utils.checkpoint.checkpoint(run, x, use_reentrant=False)  # type: ignore[method-assign]
    model = nn.Sequential(*blocks)
    training = fxcost.analyze(model, (40, 20), training=True, autocast="float16").training
    assert training is not None
    assert training.recomputed.macs == 3 * 40 * 20 * 90  # the last product need not run again
