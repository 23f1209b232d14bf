"""Fit the profiles of fxcost/estimate/profiles.json on tables of measurements, and say how far estimates are off.

    python benchmarks/estimates.py --data DIR [--cache DIR] [--models 400] [--write]

DIR has `timm/` (tables of timm's benchmark.py, CSV) and `operators/` (aiconfigurator's, Parquet; needs pyarrow). Models
are analysed once and kept in the cache (an hour for all of timm). With --write the profiles are written into the
package; without, the errors are printed alone. Halves are made by the hash of a model's name.
"""

from __future__ import annotations

import argparse
import json
import pathlib

import numpy as np
import torch
from estimates_fit import VIEW, Table, bounds, errors, fit, held_out, natural, summary, table_of
from estimates_operators import KINDS as OPERATORS
from estimates_operators import fit_operator, read
from estimates_records import read_table, record

from fxcost.estimate.profile import MODES
from fxcost.estimate.times import BY_VARIANT, KINDS, VARIANTS
from fxcost.estimate.work import LAYOUTS
from fxcost.speed.devices import Device

PROFILES = pathlib.Path(__file__).parent.parent / "fxcost" / "estimate" / "profiles.json"
TABLES = (
    # profile, table, device, mode, configuration
    ("ampere", "benchmark-infer-amp-nchw-pt240-cu124-rtx3090", "rtx3090", "eager", "first"),
    ("ampere", "benchmark-infer-amp-nhwc-pt240-cu124-rtx3090", "rtx3090", "eager", "last"),
    ("ampere", "benchmark-train-amp-nhwc-pt112-cu113-rtx3090", "rtx3090", "training", "train"),
    ("ada", "benchmark-infer-amp-nhwc-pt240-cu124-rtx4090", "rtx4090", "eager", "last"),
    ("ada", "benchmark-infer-amp-nchw-pt291-cu128-4090", "rtx4090", "eager", "first"),
    ("ada", "benchmark-infer-amp-nchw-pt291-cu128-4090-dynamo", "rtx4090", "compiled", "first"),
    ("cpu", "benchmark-infer-fp32-nchw-pt240-cpu-i9_10940x-dynamo", "i9-10940x", "compiled", "cpu"),
)
MODELS = "timm models held out"
_WHAT = {"training": "training steps of timm models on an RTX 3090, held out"}
TIMM = "timm's published results"
OPERATOR_SOURCE = "aiconfigurator's published tables of operators"


def main() -> None:
    """Record, fit, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--cache", type=pathlib.Path, default=pathlib.Path("estimates-cache"))
    parser.add_argument("--models", type=int, default=400, help="how many models to analyse for each configuration")
    parser.add_argument("--operators", type=int, default=2000, help="how many operators of each table to fit on")
    parser.add_argument("--no-record", action="store_true", help="take what the cache has")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if not options.no_record:
        for config in dict.fromkeys(t[4] for t in TABLES):
            rows = [r for t in TABLES if t[4] == config for r in read_table(options.data / "timm" / f"{t[1]}.csv")]
            record(options.cache, config, {(r.model, r.size) for r in rows}, options.models)
    profiles = fit_profiles(options.data, options.cache, options.operators)
    if options.write:
        PROFILES.write_text(json.dumps(profiles, indent=1) + "\n", encoding="utf-8")


def fit_profiles(data: pathlib.Path, cache: pathlib.Path, operators: int) -> dict[str, object]:
    """All profiles as they ship."""
    found = {name: _of_models(name, data, cache) for name in dict.fromkeys(t[0] for t in TABLES)}
    _transfer(data, cache)
    gpus = (("ampere-datacenter", "ampere", "a100"), ("hopper", "ada", "h100"))
    for name, base, device in gpus:
        found[name] = _of_operators(name, found[base], base, device, data, operators)
    note = "no device of this class was measured: these are Ada's numbers, and its error is that of Ada's devices"
    steps = found["ampere"]
    for name, profile in found.items():  # steps were measured on one device alone
        if name != "cpu":
            profile["training_factor"] = steps["training_factor"]
            if "training" in steps["errors"]:
                profile["errors"]["training"] = steps["errors"]["training"]
    found["blackwell"] = {**found["ada"], "note": note}
    return found


def _records(cache: pathlib.Path, config: str) -> dict[str, dict]:  # type: ignore[type-arg]
    found = {}
    for path in sorted((cache / config).glob("*.npz")):
        with np.load(path) as data:
            meta, tables = json.loads(str(data["meta"])), {mode: data[mode] for mode in MODES}
        numbers = np.array([KINDS.index(kind) for kind in meta["kinds"]], dtype=np.float64)
        for works in tables.values():
            works[:, 0] = numbers[works[:, 0].astype(int)]
        found[path.stem] = {**meta, **tables}
    return found


def _tables(name: str, data: pathlib.Path, cache: pathlib.Path) -> list[Table]:
    found = []
    for profile, file, device, mode, config in TABLES:
        records = _records(cache, config) if profile == name else {}
        if len(records) >= 20:
            rows = read_table(data / "timm" / f"{file}.csv")
            found.append(table_of(file, mode, Device.named(device), rows, records))
    return found


def _of_models(name: str, data: pathlib.Path, cache: pathlib.Path) -> dict[str, object]:
    every = _tables(name, data, cache)
    tables = [t for t in every if t.mode != "training"]
    by_mode: dict[str, list[np.ndarray]] = {}
    for table, error in zip(tables, held_out(tables), strict=True):
        said = summary(error)
        print(f"{name:8} {table.name:56} {said}", flush=True)
        worst = sorted(zip(error, (r.key for r in table.rows), strict=True), key=lambda pair: -abs(pair[0]))[:12]
        print("         worst:", ", ".join(f"{key} {value:+.0%}" for value, key in worst))
        beaten = table.seconds.numpy() / bounds(table)
        below = [f"{table.rows[i].key} ({beaten[i]:.2f})" for i in np.argsort(beaten) if beaten[i] < 1]
        print(f"         faster than the bound: {len(below)} of {len(beaten)}: {', '.join(below)}", flush=True)
        by_mode.setdefault(table.mode, []).append(error)
    _speedups(tables, [error for errors_ in by_mode.values() for error in errors_])
    whole = fit(tables, [np.ones(len(t.rows), dtype=bool) for t in tables])
    factor = 1.0
    for table in every:
        if table.mode == "training":
            factor, error = _training(whole, table)
            print(f"{name:8} {table.name:56} {summary(error)}, factor {factor:.3f}", flush=True)
            by_mode["training"] = [error]
    launch = float(whole["launch"].exp())
    seen = torch.cat([t.columns.variant for t in tables]).unique().tolist()
    devices = " and ".join(dict.fromkeys(t.device.name for t in tables))
    return {
        "source": f"{TIMM}, {devices}: {', '.join(t.name for t in tables)}",
        "note": "",
        "launch_s": float(f"{launch:.4g}"),
        "view_s": float(f"{VIEW * launch:.4g}"),
        "training_factor": float(f"{factor:.4g}"),
        "parameters": _written(natural(whole), seen),
        "errors": {m: {**summary(np.concatenate(e)), "what": _WHAT.get(m, MODELS)} for m, e in by_mode.items()},
    }


def _speedups(tables: list[Table], errors_: list[np.ndarray]) -> None:
    """What compiling brings, estimated, beside the best constant."""
    by_mode = {t.mode: (t, e) for t, e in zip(tables, errors_, strict=True)}
    if len(by_mode) < 2:
        return
    (plain, off), (fused, off_fused) = by_mode["eager"], by_mode["compiled"]
    eager = {r.key: (float(s), float(e)) for r, s, e in zip(plain.rows, plain.seconds, off, strict=True)}
    both = [
        (float(s) / eager[r.key][0], (1 + float(e)) / (1 + eager[r.key][1]))
        for r, s, e in zip(fused.rows, fused.seconds, off_fused, strict=True)
        if r.key in eager
    ]
    measured, wrong = np.array([m for m, _ in both]), np.array([abs(w - 1) for _, w in both])
    constant = abs(np.median(measured) / measured - 1)
    said = f"median {np.median(wrong):.1%} against {np.median(constant):.1%} of a constant ({np.median(measured):.2f})"
    print(f"         compiled ÷ eager: {said}, {len(both)} models", flush=True)


def _training(whole: dict[str, torch.Tensor], table: Table) -> tuple[float, np.ndarray]:
    """By what steps took longer than their kernels, and each half's errors with the other half's factor."""
    ratio = 1 + errors(whole, table)
    found = np.zeros(len(ratio))
    for half in (0, 1):
        out = table.halves != half
        found[out] = ratio[out] / np.median(ratio[~out]) - 1
    return float(1 / np.median(ratio)), found


def _written(parameters: dict[str, torch.Tensor], seen: list[int]) -> dict[str, dict[str, float]]:
    """By variant where it occurred, and the geometric mean of those for the others."""
    found = {}
    for name in BY_VARIANT:
        values = {VARIANTS[i]: float(f"{float(parameters[name][i]):.4g}") for i in seen}
        default = float(torch.tensor(list(values.values()), dtype=torch.float64).log().mean().exp())
        found[name] = {"default": float(f"{default:.4g}"), **(values if len(set(values.values())) > 1 else {})}
    return found


def _of_operators(name: str, base: dict, base_name: str, gpu: str, data: pathlib.Path, limit: int) -> dict[str, object]:  # type: ignore[type-arg]
    device, pooled = Device.named(gpu), []
    parameters = {key: dict(values) for key, values in base["parameters"].items()}
    for what in OPERATORS:
        errors_ = []
        for kind, (rows, seconds) in read(data / "operators" / f"{gpu}_sxm-{what}_perf.parquet", what, limit).items():
            fitted, error = fit_operator(rows, seconds, kind, device)
            errors_.append(error[seconds > 10e-6])
            for key, value in fitted.items():
                parameters[key].update(dict.fromkeys((f"{kind}/{layout}" for layout in LAYOUTS), float(f"{value:.4g}")))
        print(f"{name:18} {what:22} over 10 µs: {summary(np.concatenate(errors_))}", flush=True)
        pooled += errors_
    print(f"{name:18} all operators over 10 µs: {summary(np.concatenate(pooled))}", flush=True)
    return {
        **base,
        "source": f"{OPERATOR_SOURCE}, {device.name}; what is no product: the profile {base_name}",
        "note": f"convolutions and what is no product were not measured here: the profile {base_name} stands in",
        "parameters": parameters,
        "errors": {
            mode: {**summary(np.concatenate(pooled)), "what": "single products and attention over 10 µs, held out"}
            for mode in ("eager", "compiled")
        },
    }


def _transfer(data: pathlib.Path, cache: pathlib.Path) -> None:
    """What the RTX 3090 alone says of the RTX 4090."""
    tables = [t for t in _tables("ampere", data, cache) if t.mode == "eager"]
    raw = fit(tables, [np.ones(len(t.rows), dtype=bool) for t in tables])
    for table in _tables("ada", data, cache):
        print(f"from the RTX 3090 alone: {table.name:50} {summary(errors(raw, table))}", flush=True)


if __name__ == "__main__":
    main()
