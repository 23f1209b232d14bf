"""How an analysis grows: with the nodes of a graph, with the sizes of its tensors, and what importing it costs.

    python benchmarks/scale.py                       # 100 to 100,000 nodes; some minutes
    python benchmarks/scale.py --nodes 100 1000 --json scale.json

CPU time (one thread, best of a few runs) of `analyze` from module to totals. Memory is what is held by the finished
report, by tracemalloc, and the most that Python held meanwhile. The slope is that of a line through all sizes on
logarithmic scales: 1 means linear.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import platform
import statistics
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate
from torch import Tensor, nn

import fxcost

WIDTHS = (1, 100, 10_000, 1_000_000)
IMPORTS = {"fxcost": "import fxcost", "fxcost.analyze": "import fxcost.analyze"}


class Block(nn.Module):
    """Two nodes: a layer and an addition."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layer(x)


def deep(nodes: int, width: int = 8) -> nn.Module:
    """A residual model whose graph has so many calls, each layer a module with weights of its own."""
    with torch.device("meta"):
        return nn.Sequential(*(Block(width) for _ in range(nodes // 2)))


def seconds(model: nn.Module, width: int, capture: str, runs: int) -> float:
    """CPU time of an analysis, the best of some runs (units: s)."""
    times = []
    for _ in range(runs):
        gc.collect()
        start = time.process_time()
        report = fxcost.analyze(model, (1, width), capture=capture)
        assert report.flops
        assert report.params
        times.append(time.process_time() - start)
    return min(times)


def held(model: nn.Module, width: int = 8) -> tuple[int, int]:
    """Bytes that a report holds, and the most that Python held while it was made."""
    gc.collect()
    tracemalloc.start()
    report = fxcost.analyze(model, (1, width))
    gc.collect()
    held, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert report.flops
    return held, most


def slope(points: list[tuple[float, float]]) -> float:
    """Of the line through points on logarithmic scales, by least squares."""
    return statistics.linear_regression([math.log(x) for x, _ in points], [math.log(y) for _, y in points]).slope


def import_ms(runs: int = 5) -> dict[str, float]:
    """CPU time of imports in fresh processes in which torch is imported, medians (units: ms)."""
    clock = "import time, torch; s = time.process_time(); {}; print(time.process_time() - s)"
    times: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for _ in range(runs):
        for name, statement in IMPORTS.items():
            code = clock.format(statement)
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
            times[name].append(1e3 * float(done.stdout))
    return {name: statistics.median(found) for name, found in times.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", nargs="*", type=int, default=[100, 1_000, 10_000, 100_000])
    parser.add_argument("--json", type=Path, help="write the figures, machine and versions here")
    options = parser.parse_args()
    torch.set_num_threads(1)
    seconds(deep(100), 8, "symbolic", 2)
    rows: list[dict[str, Any]] = []
    for nodes in options.nodes:
        model, runs = deep(nodes), 7 if nodes <= 1000 else 3 if nodes <= 10_000 else 1
        row: dict[str, Any] = {"nodes": nodes, **{c: seconds(model, 8, c, runs) for c in ("symbolic", "concrete")}}
        if nodes <= 10_000:
            row["held"], row["most"] = held(model)
        rows.append(row)
    columns = [
        [r["nodes"], *(f"{1e6 * r[c] / r['nodes']:.0f}" for c in ("symbolic", "concrete"))]
        + [f"{r[c] / r['nodes']:.0f}" if c in r else "" for c in ("held", "most")]
        for r in rows
    ]
    print(tabulate(columns, ["nodes", "symbolic µs/node", "concrete µs/node", "held B/node", "most B/node"]))
    slopes = {c: slope([(r["nodes"], r[c]) for r in rows]) for c in ("symbolic", "concrete")}
    print(*(f"slope, {c}: {value:.3f}" for c, value in slopes.items()), sep="\n")
    widths = {width: seconds(deep(200, width), width, "symbolic", 7) for width in WIDTHS}
    print(tabulate([[w, f"{1e3 * s:.1f}"] for w, s in widths.items()], ["tensor width", "200 nodes, ms"]))
    imports = import_ms()
    print("import beyond torch, ms: " + ", ".join(f"{name} {ms:.0f}" for name, ms in imports.items()))
    if options.json:
        machine = {"processor": platform.processor() or platform.machine(), "python": platform.python_version()}
        found = {"machine": machine, "torch": torch.__version__, "rows": rows, "slopes": slopes}
        options.json.write_text(json.dumps({**found, "widths": widths, "import_ms": imports}, indent=2))


if __name__ == "__main__":
    main()
