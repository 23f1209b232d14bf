"""Fits the model of time (fxcost/estimate/times.py) to tables of measured models. Run by estimates.py.

Shares lie between 0 and 1 (a sigmoid), sizes and seconds above 0 (an exponential). Each parameter is drawn to a prior,
so that kinds which hardly occur keep it; the loss is the Huber loss of log(estimate ÷ measured).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from estimates_records import FIELDS, FULL, Row, half_of
from torch import Tensor

from fxcost.estimate.times import BY_VARIANT, KINDS, VARIANTS, Columns, kernel_seconds, vector_peak
from fxcost.estimate.work import LAYOUTS
from fxcost.speed.devices import Device

VIEW = 0.15
"""What the host takes for an operator that starts no kernel, of what it takes for one that does."""
_PRIOR = {
    "compute": (1.0, 0.8), "memory": (1.1, 0.8), "m0": (-2.0, 0.3), "n0": (2.5, 0.7), "k0": (3.0, 0.7),
    "unaligned": (-1.2, 0.7), "fill": (7.0, 0.5), "start_s": (-12.9, 0.4), "serial_s": (-21.0, 0.3),
    "group_s": (-22.0, 0.3), "combine_s": (-13.0, 0.3), "overlap": (0.7, 0.5),
}  # fmt: skip
"""Mean and width, before the sigmoid or exponential."""
_LAUNCH = -12.0, 0.3
_BESIDE, _STEP = math.log(3.0), math.log(3e-7)
"""Where k0 of depthwise convolutions starts, and a step of an interpolation: it waits for memory, some 0.3 µs."""
_TIED = ("overlap", "start_s")
"""Tables of whole models can't tell these apart by kind."""


@dataclass
class Table:
    """A table's rows as columns: `index` says of each kernel to which row it belongs."""

    name: str
    mode: str
    device: Device
    columns: Columns
    count: Tensor
    index: Tensor
    launches: Tensor
    seconds: Tensor
    halves: np.ndarray
    rows: list[Row]


def table_of(name: str, mode: str, device: Device, rows: list[Row], records: dict[str, dict]) -> Table:  # type: ignore[type-arg]
    """Join measured rows with the records of their models; rows whose parameters differ are another model's."""
    parts, index, kept, launches = [], [], [], []
    for row in rows:
        found = records.get(row.key)
        if found is None or abs(found["params"] / 1e6 - row.params) > 0.0051 + 0.001 * row.params:
            continue
        works = found["compiled" if mode == "compiled" else "eager"]
        if not len(works):
            continue
        parts.append(scaled(works, row.batch / found["batch"]))
        index.append(np.full(len(works), len(kept)))
        launches.append((works[:, FIELDS.index("count")].sum(), 0 if mode == "compiled" else found["views"]))
        kept.append(row)
    w = torch.tensor(np.concatenate(parts))
    f = {name: w[:, i] for i, name in enumerate(FIELDS)}
    products = f["flops"] > 0
    half = device.flops_per_s.get("float16", vector_peak(device))
    peak = torch.where(products & (f["dtype"] != FULL), half, vector_peak(device)).double()
    variant = (f["kind"] * len(LAYOUTS) + f["layout"]).long()
    columns = Columns(
        variant, f["aligned"].bool(), peak, f["flops"], f["others"], f["moved"], f["m"], f["n"], f["k"], f["batch"]
    )
    return Table(
        name,
        mode,
        device,
        columns,
        f["count"],
        torch.tensor(np.concatenate(index)),
        torch.tensor(launches, dtype=torch.float64),
        torch.tensor([row.seconds for row in kept], dtype=torch.float64),
        np.array([half_of(row.model) for row in kept]),
        kept,
    )


def scaled(works: np.ndarray, factor: float) -> np.ndarray:
    """Kernels at another batch: what hangs on the inputs grows, in m or (where weights are no part) in the batch."""
    at = FIELDS.index
    w = works.copy()
    grow = np.where(w[:, at("varies")] > 0, factor, 1.0)
    for name in ("flops", "others", "moved"):
        w[:, at(name)] *= grow
    w[:, at("moved")] += w[:, at("moved_by_weights")]
    kind = w[:, at("kind")]
    attention = (kind >= KINDS.index("attention")) & (kind <= KINDS.index("attention_decode_grouped"))
    many = (
        attention | (kind == KINDS.index("interpolation")) | ((kind == KINDS.index("gemm")) & (w[:, at("batch")] > 1))
    )
    w[:, at("batch")] *= np.where(many, grow, 1.0)
    w[:, at("m")] *= np.where(many, 1.0, grow)
    return w


def prior() -> dict[str, Tensor]:
    """Where the fit starts, and what it is drawn to."""
    n = len(VARIANTS)
    found = {}
    for name in BY_VARIANT:
        size = () if name in _TIED else (n,)
        found[name] = torch.full(size, _PRIOR[name][0], dtype=torch.float64)
    for i, variant in enumerate(VARIANTS):
        if variant.startswith("conv_depthwise"):
            found["k0"][i] = _BESIDE
        if variant.startswith("interpolation"):
            found["group_s"][i] = _STEP
    found["launch"] = torch.tensor(_LAUNCH[0], dtype=torch.float64)
    return found


def natural(raw: dict[str, Tensor]) -> dict[str, Tensor]:
    """The parameters as times.py takes them."""
    found = {}
    for name in BY_VARIANT:
        value = raw[name].sigmoid() if name in ("compute", "memory") else raw[name].exp()
        value = 1 + value if name == "overlap" else value
        found[name] = value.expand(len(VARIANTS))
    return found


def predicted(raw: dict[str, Tensor], table: Table) -> Tensor:
    """Seconds of each row: the device's, or the host's if it takes longer."""
    times = kernel_seconds(table.columns, natural(raw), table.device) * table.count
    device = torch.zeros(len(table.seconds), dtype=torch.float64).index_add(0, table.index, times)
    host = (table.launches[:, 0] + VIEW * table.launches[:, 1]) * raw["launch"].exp()
    return (device**8 + host**8) ** (1 / 8)


def fit(tables: list[Table], masks: list[np.ndarray], steps: int = 150) -> dict[str, Tensor]:
    """Fit on the rows of `masks`."""
    start = prior()
    raw = {name: value.clone().requires_grad_() for name, value in start.items()}
    optimizer = torch.optim.Adam(list(raw.values()), lr=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    chosen = [torch.tensor(mask) for mask in masks]
    for _ in range(steps):
        optimizer.zero_grad()
        loss = torch.zeros((), dtype=torch.float64)
        for table, mask in zip(tables, chosen, strict=True):
            error = (predicted(raw, table) / table.seconds).log()[mask]
            loss = loss + torch.nn.functional.huber_loss(error, error * 0, delta=0.08, reduction="sum") / 0.08
        for name, value in raw.items():
            mean, width = start[name], (_LAUNCH if name == "launch" else _PRIOR[name])[1]
            loss = loss + 0.02 * (((value - mean) / width) ** 2).sum()
        loss.backward()
        optimizer.step()
        schedule.step()
    return {name: value.detach() for name, value in raw.items()}


def errors(raw: dict[str, Tensor], table: Table) -> np.ndarray:
    """Estimate ÷ measured − 1 of each row."""
    return (predicted(raw, table) / table.seconds - 1).detach().numpy()


def held_out(tables: list[Table]) -> list[np.ndarray]:
    """The errors of each half's rows with what was fitted on the other half."""
    found = [np.zeros(len(t.rows)) for t in tables]
    for half in (0, 1):
        raw = fit(tables, [t.halves == half for t in tables])
        for table, error in zip(tables, found, strict=True):
            out = table.halves != half
            error[out] = errors(raw, table)[out]
    return found


def bounds(table: Table) -> np.ndarray:
    """The roofline's bound of each row: every kernel at the peak, or at the full bandwidth."""
    c = table.columns
    times = torch.maximum(c.flops / (c.peak * table.device.clock), c.moved / table.device.bytes_per_s) * table.count
    return torch.zeros(len(table.rows), dtype=torch.float64).index_add(0, table.index, times).numpy()


def summary(error: np.ndarray) -> dict[str, float | int]:
    """Median and 90th percentile of |error|, and 10th and 90th percentile of measured ÷ estimate."""
    ratio = 1 / (1 + error)
    return {
        "median": round(float(np.median(abs(error))), 4),
        "p90": round(float(np.quantile(abs(error), 0.9)), 4),
        "low": round(float(np.quantile(ratio, 0.1)), 4),
        "high": round(float(np.quantile(ratio, 0.9)), 4),
        "rows": len(error),
    }
