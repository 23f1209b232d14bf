"""How long an analysis takes, beside one plain forward pass on meta tensors and FlopCounterMode on meta.

    python benchmarks/speed.py                       # the default models
    python benchmarks/speed.py resnet50 --runs 9 --json speed.json

`memory` and `training` are whole analyses with `report.memory` and with a training step. Every figure is a median over
runs in this process, in milliseconds of CPU time (one thread), which other work on the machine disturbs less than wall
time. Ratios are to the plain forward. The split adds up to `analyze`.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torchvision
from tabulate import tabulate
from torch.utils.flop_counter import FlopCounterMode

import fxcost
from fxcost.capture import _Job, node_owner
from fxcost.modules import is_leaf
from fxcost.pricing import cost_nodes
from fxcost.propagate import Propagator
from fxcost.report import Report
from fxcost.rules import default_registry
from fxcost.symbolic import trace_symbolically
from fxcost.units import whole_units

MODELS = ("resnet50", "vit_b_16", "swin_t", "mobilenet_v2", "resnet152", "convnext_base")
SHAPE = (1, 3, 224, 224)


def median_ms(function: Callable[[], Any], runs: int) -> float:
    """Median CPU time of a call, after one that is not counted (units: ms)."""
    function()
    times = []
    for _ in range(runs):
        start = time.process_time()
        function()
        times.append(1e3 * (time.process_time() - start))
    return statistics.median(times)


def plain_forward(model: torch.nn.Module) -> None:
    with torch.no_grad():
        model(torch.empty(SHAPE, device="meta"))


def flop_counter(model: torch.nn.Module) -> None:
    with torch.no_grad(), FlopCounterMode(display=False):
        model(torch.empty(SHAPE, device="meta"))


def analyze(model: torch.nn.Module, capture: str) -> None:
    report = fxcost.analyze(model, SHAPE, capture=capture)
    assert report.flops > 0


def with_memory(model: torch.nn.Module, capture: str) -> None:
    report = fxcost.analyze(model, SHAPE, capture=capture)
    assert report.flops > 0
    assert report.memory.peak_bytes > 0


def with_training(model: torch.nn.Module) -> None:
    report = fxcost.analyze(model, SHAPE, training=True)
    assert report.training is not None
    assert report.training.peak_bytes > 0


def split(model: torch.nn.Module) -> dict[str, float]:
    """CPU time of each step of a symbolic analysis (units: ms)."""
    clock, steps = time.process_time, {}
    with whole_units(), torch.no_grad():
        start = clock()
        job = _Job(model, SHAPE, None, None, (), 2**30)
        steps["copy"] = clock() - start

        start = clock()
        graph, root, _ = trace_symbolically(job.model, job.arguments, lambda m, name: is_leaf(m, name))
        steps["trace"] = clock() - start

        start = clock()
        recorder = job._recorder()
        propagator = Propagator(root, graph, recorder, node_owner)
        propagator.run(*map(recorder.spec, job.arguments.tensors()), enable_io_processing=False)
        recording = job._recording(graph, root, "symbolic", recorder, propagator.records, ())
        steps["propagate"] = clock() - start

    start = clock()
    nodes = cost_nodes(recording.nodes, default_registry())
    steps["rules"] = clock() - start

    start = clock()
    report = Report(recording, nodes)
    assert all((report.flops, report.params, report.by_module()))
    steps["report"] = clock() - start
    return {name: 1e3 * seconds for name, seconds in steps.items()}


def measure(name: str, runs: int) -> dict[str, Any]:
    with torch.device("meta"):
        model = torchvision.models.get_model(name, weights=None).eval()
    row: dict[str, Any] = {"model": name, "forward": median_ms(partial(plain_forward, model), runs)}
    row["FlopCounterMode"] = median_ms(partial(flop_counter, model), runs)
    row["analyze"] = median_ms(partial(analyze, model, "auto"), runs)
    row["concrete"] = median_ms(partial(analyze, model, "concrete"), runs)
    row["memory"] = median_ms(partial(with_memory, model, "auto"), runs)
    row["training"] = median_ms(partial(with_training, model), runs)
    splits = [split(model) for _ in range(runs)]
    row["split"] = {step: statistics.median(s[step] for s in splits) for step in splits[0]}
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=MODELS, help="torchvision classification models")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write medians, machine and versions here")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    rows = [measure(name, options.runs) for name in options.models]
    columns = ("FlopCounterMode", "analyze", "concrete", "memory", "training")
    table = [
        [r["model"], f"{r['forward']:.0f}"]
        + [f"{r[c] / r['forward']:.2f}" for c in columns]
        + [f"{ms:.1f}" for ms in r["split"].values()]
        for r in rows
    ]
    headers = ["model", "forward ms", *(f"{c} ×" for c in columns), *(f"{s} ms" for s in rows[0]["split"])]
    print(tabulate(table, headers=headers, disable_numparse=True, stralign="right"))
    if options.json:
        machine = {"processor": platform.processor() or platform.machine(), "python": platform.python_version()}
        versions = {"torch": torch.__version__, "torchvision": torchvision.__version__, "fxcost": fxcost.__version__}
        options.json.write_text(json.dumps({"machine": machine, "versions": versions, "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
