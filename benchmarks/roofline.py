"""Predicted against measured time of forward passes on this machine's CPU, one thread.

    python benchmarks/roofline.py                       # all models
    python benchmarks/roofline.py resnet18 swin_t       # some
    python benchmarks/roofline.py --json roofline.json --markdown

The machine is calibrated first. For each model: the median of some runs, the lower bound of its roofline, an estimate:
the roofline divided by one efficiency for each family of operators, which is learnt from the other half of the models
(every second one), so that no model is estimated from its own times. Times are CPU times of the thread, which other
processes on a busy machine disturb less than the clock on the wall.
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate

import fxcost
from fxcost.sources.load import load

TEXT = {"num_hidden_layers": 4, "hidden_size": 512, "num_attention_heads": 8, "intermediate_size": 2048}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "resnet18": ("torchvision:resnet18", {}),
    "resnet50": ("torchvision:resnet50", {}),
    "mobilenet_v2": ("torchvision:mobilenet_v2", {}),
    "mobilenet_v3_large": ("torchvision:mobilenet_v3_large", {}),
    "efficientnet_b0": ("torchvision:efficientnet_b0", {}),
    "regnet_y_400mf": ("torchvision:regnet_y_400mf", {}),
    "densenet121": ("torchvision:densenet121", {}),
    "googlenet": ("torchvision:googlenet", {}),
    "squeezenet1_1": ("torchvision:squeezenet1_1", {}),
    "vgg11": ("torchvision:vgg11", {}),
    "shufflenet_v2_x1_0": ("torchvision:shufflenet_v2_x1_0", {}),
    "mnasnet1_0": ("torchvision:mnasnet1_0", {}),
    "convnext_tiny": ("torchvision:convnext_tiny", {}),
    "swin_t": ("torchvision:swin_t", {}),
    "vit_b_32": ("torchvision:vit_b_32", {}),
    "deit_small": ("timm:deit_small_patch16_224", {}),
    "mixer_s32": ("timm:mixer_s32_224", {}),
    "bert (4 layers)": ("hf:bert", TEXT),
    "llama (4 layers)": ("hf:llama", {**TEXT, "num_key_value_heads": 8}),
    "gpt2 (4 layers)": ("hf:gpt2", {"n_layer": 4, "n_embd": 512, "n_head": 8}),
}
AIM = 0.25
"""The median error of the estimates that is aimed at."""


def measured(name: str, device: fxcost.Device, runs: int) -> fxcost.Measurement:
    spec, arguments = MODELS[name]
    loaded = load(spec, arguments, real=True)
    inputs = loaded.default_inputs(1)
    return fxcost.measure(
        loaded.model, inputs.args, inputs.kwargs, device=device, runs=runs, warmup=2, clock=time.thread_time
    )


def estimates(results: dict[str, fxcost.Measurement]) -> dict[str, float]:
    """Seconds for each model, with efficiencies learnt from the half of the models that it is not in."""
    names = list(results)
    found: dict[str, float] = {}
    for mine, others in ((names[::2], names[1::2]), (names[1::2], names[::2])):
        if not others:
            continue
        learnt = results[names[0]].roofline.device.fitted(results[name] for name in others)
        found.update({name: results[name].report.roofline(learnt).latency_s for name in mine})
    return {name: found[name] for name in names if name in found}


def spearman(a: Sequence[float], b: Sequence[float]) -> float:
    """The correlation of ranks; values are taken to be distinct."""

    def ranks(values: Sequence[float]) -> list[float]:
        ordered = sorted(values)
        return [float(ordered.index(value)) for value in values]

    return statistics.correlation(ranks(a), ranks(b))


def rows(results: dict[str, fxcost.Measurement]) -> list[dict[str, Any]]:
    estimated = estimates(results)
    return [
        {
            "model": name,
            "GFLOPs": m.report.flops / 1e9,
            "measured ms": m.forward.median * 1e3,
            "± ms": m.forward.spread * 1e3,
            "lower bound ms": m.predicted_s * 1e3,
            "measured / bound": m.forward.median / m.predicted_s,
            "estimate ms": estimated[name] * 1e3,
            "error": estimated[name] / m.forward.median - 1,
        }
        for name, m in results.items()
        if name in estimated
    ]


def families(results: dict[str, fxcost.Measurement]) -> list[dict[str, Any]]:
    """Each family's time over all models, and the share of the roofline that it reaches, per model and in all."""
    times: dict[str, list[tuple[float, float]]] = {}
    for m in results.values():
        for family, pair in m.by_family().items():
            times.setdefault(family, []).append(pair)
    whole = sum(t for pairs in times.values() for t, _ in pairs)
    found = []
    for family, pairs in sorted(times.items(), key=lambda item: -sum(t for t, _ in item[1])):
        reached = sorted(p / t for t, p in pairs if t)
        found.append(
            {
                "family": family,
                "models": len(pairs),
                "share of time": sum(t for t, _ in pairs) / whole,
                "reached": sum(p for _, p in pairs) / sum(t for t, _ in pairs),
                "lowest": reached[0],
                "highest": reached[-1],
            }
        )
    return found


def summary(table: list[dict[str, Any]]) -> dict[str, float]:
    errors = [abs(row["error"]) for row in table]
    return {
        "spearman of bound": spearman([r["measured ms"] for r in table], [r["lower bound ms"] for r in table]),
        "median of measured / bound": statistics.median(r["measured / bound"] for r in table),
        "spearman of estimate": spearman([r["measured ms"] for r in table], [r["estimate ms"] for r in table]),
        "median error of estimate": statistics.median(errors),
        "largest error of estimate": max(errors),
    }


def main() -> None:
    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help=f"at least three of {', '.join(MODELS)}")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--json", type=Path, help="write all numbers here")
    parser.add_argument("--markdown", action="store_true", help="print tables for a document")
    options = parser.parse_args()
    torch.set_num_threads(1)
    device = fxcost.Device.calibrate(dtypes=["float32"], clock=time.thread_time)
    peak, bandwidth = device.peak("float32"), device.bytes_per_s
    print(f"{device.name}: float32 {peak / 1e9:.1f} GFLOPS, {bandwidth / 1e9:.2f} GB/s, {device.source}")
    results = {}
    for name in options.models or MODELS:
        results[name] = measured(name, device, options.runs)
        print(f"{name}: {results[name]!r}, nodes {results[name].nodes_s * 1e3:.1f} ms", file=sys.stderr, flush=True)
        for note in results[name].notes:
            print(f"  {note}", file=sys.stderr, flush=True)
    table, by_family = rows(results), families(results)
    totals = summary(table)
    show(table, by_family, totals, "github" if options.markdown else "rounded_outline")
    if options.json:
        write(options.json, device, results, table, by_family, totals)


def show(table: list[dict[str, Any]], by_family: list[dict[str, Any]], totals: dict[str, float], style: str) -> None:
    percent: Callable[[float], str] = lambda value: f"{100 * value:.1f} %"  # noqa: E731
    shown = [{k: f"{v:.2f}" if isinstance(v, float) else v for k, v in row.items()} for row in table]
    for text, row in zip(shown, table, strict=True):
        text["error"] = f"{100 * row['error']:+.1f} %"
    parts = ("share of time", "reached", "lowest", "highest")
    kinds = [{k: percent(v) if k in parts else v for k, v in row.items()} for row in by_family]
    for each in (shown, kinds):
        print(tabulate(each, headers="keys", tablefmt=style, disable_numparse=True))
    for name, value in totals.items():
        print(f"{name}: {percent(value) if 'error' in name else f'{value:.3f}'}")
    worst = min(by_family[:6], key=lambda row: row["reached"])
    print(f"worst of the families that take most time: {worst['family']} reaches {percent(worst['reached'])}")
    reached = totals["median error of estimate"] <= AIM
    print(f"aim, a median error under {percent(AIM)}: {'reached' if reached else 'not reached'}")


def write(
    path: Path,
    device: fxcost.Device,
    results: dict[str, fxcost.Measurement],
    table: list[dict[str, Any]],
    by_family: list[dict[str, Any]],
    totals: dict[str, float],
) -> None:
    versions = {"torch": torch.__version__, "python": platform.python_version(), "fxcost": fxcost.__version__}
    pairs = {name: m.by_family() for name, m in results.items()}
    record = {"device": device.source, "name": device.name, "versions": versions, "rows": table}
    record |= {"families": by_family, "totals": totals, "measured and predicted seconds by family": pairs}
    path.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
