"""How long an analysis takes, beside one plain forward pass on meta tensors and other tools' ways to count.

    python benchmarks/speed.py                       # the default models
    python benchmarks/speed.py resnet50 --runs 9 --json speed.json --no-peers

Every figure is a median of CPU time (one thread), which other work on the machine disturbs less than wall time. All
that is compared takes turns in one process: forward, FlopCounterMode, analysis, forward, … Ratios are to the plain
forward of the same model on meta tensors under no_grad. `fx trace` is PyTorch's `fx.Tracer` alone, which makes a graph
without shapes or costs (of llama32 it can't). `first` is an analysis in a process that remembers nothing, `analyze`
one like those that follow it, and `concrete` one with that capture alone, without a graph for other shapes; `new
shape` and `again` are `analyze_graph` on a graph traced before, at a batch size that was never met and at ones that
were; `memory` is an analysis with `report.memory`, `training` one with a training step. The graph of llama32 fixes its
shape, so it runs at that one. The tools that are installed run as their READMEs call them, on real weights and inputs,
and their table says how many times as long as `analyze` they take.
Models are torchvision's, `llama32` (32 layers by transformers) and `convnet28` (torchinfo's example: four layers).
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import json
import platform
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import torchvision
from tabulate import tabulate
from torch import fx, nn
from torch.utils.flop_counter import FlopCounterMode

import fxcost
from fxcost.meta.answers import forgotten

Calls = dict[str, Callable[[], Any]]

MODELS = ("resnet50", "vit_b_16", "swin_t", "mobilenet_v2", "resnet152", "convnext_base", "llama32")
PEERS = ("thop", "ptflops", "fvcore", "mmengine", "torchinfo", "calflops", "deepspeed", "torchprofile", "torchlens")
SHAPES = {"convnet28": (16, 1, 28, 28)}
IMAGE = (1, 3, 224, 224)
COLUMNS = ("FlopCounterMode", "fx trace", "first", "concrete", "analyze", "new shape", "again", "memory", "training")


class ConvNet(nn.Module):
    """The example of torchinfo's README."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 10, kernel_size=5), nn.Conv2d(10, 20, kernel_size=5)
        self.conv2_drop = nn.Dropout2d()
        self.fc1, self.fc2 = nn.Linear(320, 50), nn.Linear(50, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(F.max_pool2d(self.conv1(x), 2))
        x = F.relu(F.max_pool2d(self.conv2_drop(self.conv2(x)), 2))
        x = F.relu(self.fc1(x.view(-1, 320)))
        x = F.dropout(x, training=self.training)
        return F.log_softmax(self.fc2(x), dim=1)


def built(name: str) -> nn.Module:
    """A model of images, on the device that is set."""
    return ConvNet().eval() if name == "convnet28" else torchvision.models.get_model(name, weights=None).eval()


def medians(calls: Calls, runs: int) -> dict[str, float]:
    """Median CPU time of each call, all of them in turn, after one round that is not counted (units: ms)."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for run in range(runs + 1):
        for name, call in calls.items():
            start = time.process_time()
            call()
            if run:
                times[name].append(1e3 * (time.process_time() - start))
    return {name: statistics.median(found) for name, found in times.items()}


def on_meta(name: str) -> tuple[nn.Module, Any, Callable[[], Any]]:
    """A model on meta, its inputs as a user writes them, and its plain forward."""
    if name != "llama32":
        with torch.device("meta"):
            model, shape = built(name), SHAPES.get(name, IMAGE)
        return model, shape, lambda: model(torch.empty(shape, device="meta"))
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.device("meta"):
        llama = LlamaForCausalLM(LlamaConfig(num_hidden_layers=32)).eval()
    tokens = torch.zeros(1, 128, dtype=torch.int64, device="meta")
    return llama, {"input_ids": fxcost.spec(1, 128, dtype="int64")}, lambda: llama(input_ids=tokens)


def ours(name: str) -> Calls:
    """What is compared on meta tensors."""
    model, inputs, run = on_meta(name)
    graph = fxcost.analyze(model, inputs).graph

    def forward() -> None:
        with torch.no_grad():
            run()

    def flop_counter() -> None:
        with torch.no_grad(), FlopCounterMode(display=False):
            run()

    def training() -> None:
        step = _totals(fxcost.analyze(model, inputs, training=True)).training
        assert step is not None
        assert step.peak_bytes

    def at_batch(size: int) -> fxcost.Report:
        return _totals(fxcost.analyze_graph(graph, inputs if name == "llama32" else (size, *inputs[1:])))

    met = itertools.cycle((2, 3))
    bare = {} if name == "llama32" else {"fx trace": lambda: fx.Tracer().trace(model)}
    return {
        "forward": forward,
        "FlopCounterMode": flop_counter,
        **bare,
        "first": _forgetting(lambda: _totals(fxcost.analyze(model, inputs))),
        "concrete": lambda: _totals(fxcost.analyze(model, inputs, capture="concrete")),
        "analyze": lambda: _totals(fxcost.analyze(model, inputs)),
        "new shape": _forgetting(lambda: at_batch(4)),
        "again": lambda: at_batch(next(met)),
        "memory": lambda: _totals(fxcost.analyze(model, inputs)).memory.peak_bytes,
        "training": training,
    }


def _totals(report: fxcost.Report) -> fxcost.Report:
    assert report.flops
    assert report.params
    return report


def _forgetting(call: Callable[[], Any]) -> Callable[[], Any]:
    def run() -> None:
        with forgotten():
            call()

    return run


def peers(name: str, among: tuple[str, ...]) -> Calls:
    """The tools among these that are installed, each on a real model of its own."""
    made = {}
    for peer in among:
        with contextlib.suppress(ImportError):
            made[peer] = _quiet(_peer(peer, built(name), torch.rand(SHAPES.get(name, IMAGE))))
    return made


def _peer(peer: str, model: nn.Module, x: torch.Tensor) -> Callable[[], Any]:
    shape = tuple(x.shape)
    module = __import__("deepspeed.profiling.flops_profiler" if peer == "deepspeed" else peer, fromlist=["*"])
    if peer == "thop":
        return lambda: module.profile(model, inputs=(x,))
    if peer == "ptflops":
        return lambda: module.get_model_complexity_info(model, shape[1:], as_strings=True, ost=io.StringIO())
    if peer == "fvcore":
        from fvcore.nn import FlopCountAnalysis

        return lambda: FlopCountAnalysis(model, x).total()
    if peer == "mmengine":
        from mmengine.analysis import get_model_complexity_info

        return lambda: get_model_complexity_info(model, shape[1:])
    if peer == "torchinfo":
        return lambda: module.summary(model, input_size=shape)
    if peer == "calflops":
        return lambda: module.calculate_flops(model=model, input_shape=shape)
    if peer == "deepspeed":
        return lambda: module.get_model_profile(model, input_shape=shape)
    if peer == "torchprofile":
        return lambda: module.profile_macs(model, x)
    return lambda: module.trace(model, x)


def _quiet(call: Callable[[], Any]) -> Callable[[], Any]:
    def run() -> None:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            call()

    return run


def compare(rows: list[dict[str, Any]], runs: int) -> None:
    """Add to each row how many times as long as `analyze` the other tools take.

    torchlens comes last: its import replaces torch's functions, after which others fail.
    """
    rows = [row for row in rows if row["model"] != "llama32"]
    for among in (PEERS[:-1], PEERS[-1:]):
        for row in rows:
            name, found = row["model"], row.setdefault("peers", {})
            times = medians({"analyze": ours(name)["analyze"], **peers(name, among)}, runs)
            own = row.setdefault("analyze beside peers", times.pop("analyze"))
            found.update({peer: ms / own for peer, ms in times.items() if peer != "analyze"})


def versions() -> Iterator[tuple[str, str]]:
    """Versions of everything that was measured, where installed."""
    for name in ("torch", "torchvision", "transformers", "fxcost", *PEERS):
        with contextlib.suppress(metadata.PackageNotFoundError):
            yield name, metadata.version(name)


def show(rows: list[dict[str, Any]]) -> None:
    """Print both tables."""
    ratios = [[f"{r[c] / r['forward']:.2f}" if c in r else "–" for c in COLUMNS] for r in rows]
    table = [[r["model"], f"{r['forward']:.0f}", *ratio] for r, ratio in zip(rows, ratios, strict=True)]
    print(tabulate(table, ["model", "forward ms", *(f"{c} ×" for c in COLUMNS)], disable_numparse=True))
    known = [p for p in PEERS if any(p in r.get("peers", ()) for r in rows)]
    if known:
        table = [[r["model"], *(f"{r['peers'].get(p, float('nan')):.1f}" for p in known)] for r in rows if "peers" in r]
        print("\nHow many times as long as fxcost.analyze:")
        print(tabulate(table, ["model", *known], disable_numparse=True))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=MODELS, help="models of torchvision, llama32, convnet28")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--no-peers", action="store_true", help="leave the other tools out")
    parser.add_argument("--json", type=Path, help="write medians, machine and versions here")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    rows = []
    for name in options.models:
        try:
            rows.append({"model": name, **medians(ours(name), options.runs)})
        except ImportError as error:
            print(f"{name} is left out: {error}")
    if not options.no_peers:
        compare(rows, max(5, options.runs))
    show(rows)
    if options.json:
        machine = {"processor": platform.processor() or platform.machine(), "python": platform.python_version()}
        options.json.write_text(json.dumps({"machine": machine, "versions": dict(versions()), "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
