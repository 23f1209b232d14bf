"""Fits single kernels to tables of operators (aiconfigurator's columns; needs pyarrow). Run by estimates.py."""

from __future__ import annotations

import hashlib
import pathlib

import numpy as np
import torch
from torch import Tensor

from fxcost.estimate.times import BY_VARIANT, VARIANTS, Columns, kernel_seconds
from fxcost.estimate.work import LAYOUTS
from fxcost.speed.devices import Device

KINDS = {
    "gemm": "gemm", "context_attention": "attention", "generation_attention": "attention_decode", "moe": "gemm_grouped",
}  # fmt: skip
"""Tables, and the kinds of kernels in them."""
_START = {
    "compute": 1.5, "memory": 1.5, "m0": -1.0, "n0": 3.0, "k0": 4.0, "fill": 10.0, "start_s": -12.2, "serial_s": -19.0,
    "group_s": -19.0, "overlap": 0.7,
}  # fmt: skip


def read(path: pathlib.Path, what: str, limit: int) -> tuple[np.ndarray, np.ndarray]:
    """Kernels (flops, bytes, m, n, k, batch) in bfloat16, and their seconds; `limit` of them, by hash of sizes."""
    import pyarrow.parquet

    t = pyarrow.parquet.read_table(path).to_pandas()
    for column in ("gemm_dtype", "attn_dtype", "kv_cache_dtype", "moe_dtype"):
        t = t[t[column] == "bfloat16"] if column in t else t
    t = t[t.window_size == 0] if "window_size" in t else t
    t = t[t.moe_ep_size == 1] if "moe_ep_size" in t else t
    rows = [_SIZES[what](r) for r in t.itertuples()]
    order = sorted(range(len(rows)), key=lambda i: _hash(rows[i]))[:limit]
    return np.array([rows[i] for i in order], dtype=np.float64), t.latency.to_numpy()[order] / 1e3


def _gemm(r):  # type: ignore[no-untyped-def]
    return 2 * r.m * r.n * r.k, 2 * (r.m * r.k + r.k * r.n + r.m * r.n), r.m, r.n, r.k, 1


def _prompt(r):  # type: ignore[no-untyped-def]
    length, heads, d = r.isl, r.batch_size * r.num_heads, r.head_dim
    causal = 2 * heads * length * length * d * (1 + 64 / length)  # half of it, in blocks of 128
    return causal, 4 * d * length * (heads + r.batch_size * r.num_key_value_heads), length, length, d, heads


def _token(r):  # type: ignore[no-untyped-def]
    length, heads, d = r.isl + r.step, r.batch_size * r.num_heads, r.head_dim
    return 4 * heads * length * d, 4 * d * (heads + r.batch_size * r.num_key_value_heads * length), 1, length, d, heads


def _experts(r):  # type: ignore[no-untyped-def]
    inner, copies = max(1, r.inter_size // r.moe_tp_size), r.num_tokens * r.topk
    touched = r.num_experts * (1 - (1 - r.topk / r.num_experts) ** r.num_tokens)
    moved = 6 * r.hidden_size * inner * touched + 2 * copies * (2 * r.hidden_size + 3 * inner)
    rows = max(copies / r.num_experts, 1e-3)
    return 6 * copies * r.hidden_size * inner, moved, rows, inner, r.hidden_size, r.num_experts


_SIZES = {"gemm": _gemm, "context_attention": _prompt, "generation_attention": _token, "moe": _experts}


def _hash(row: tuple[float, ...]) -> int:
    return int(hashlib.md5(repr(row[2:]).encode()).hexdigest(), 16)


def fit_operator(
    rows: np.ndarray, seconds: np.ndarray, what: str, device: Device
) -> tuple[dict[str, float], np.ndarray]:
    """The parameters of a kind, and each row's error with what was fitted on the other half of them."""
    variant = VARIANTS.index(f"{KINDS[what]}/{LAYOUTS[0]}")
    t = torch.tensor(rows)
    n, zero = len(rows), torch.zeros(len(rows), dtype=torch.float64)
    peak = torch.full((n,), device.peak("bfloat16"), dtype=torch.float64)
    columns = Columns(
        torch.full((n,), variant),
        torch.ones(n).bool(),
        peak,
        t[:, 0],
        zero,
        t[:, 1],
        t[:, 2],
        t[:, 3],
        t[:, 4],
        t[:, 5],
    )
    halves = np.array([_hash(tuple(row)) % 2 for row in rows])
    measured, error = torch.tensor(seconds), np.zeros(n)
    for half in (0, 1):
        raw = _fit(columns, measured, torch.tensor(halves == half), KINDS[what], device)
        found = (kernel_seconds(columns, _natural(raw, KINDS[what]), device) / measured - 1).numpy()
        error[halves != half] = found[halves != half]
    raw = _fit(columns, measured, torch.ones(n).bool(), KINDS[what], device)
    return {name: float(value[0]) for name, value in _natural(raw, KINDS[what]).items()}, error


def _fit(columns: Columns, measured: Tensor, mask: Tensor, kind: str, device: Device) -> dict[str, Tensor]:
    raw = {name: torch.tensor(value, dtype=torch.float64, requires_grad=True) for name, value in _START.items()}
    optimizer = torch.optim.Adam(list(raw.values()), lr=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 200)
    for _ in range(200):
        optimizer.zero_grad()
        error = (kernel_seconds(columns, _natural(raw, kind), device) / measured).log()[mask]
        loss = torch.nn.functional.huber_loss(error, error * 0, delta=0.1) / 0.1
        loss.backward()
        optimizer.step()
        schedule.step()
    return {name: value.detach() for name, value in raw.items()}


def _natural(raw: dict[str, Tensor], kind: str) -> dict[str, Tensor]:
    found = {}
    for name in BY_VARIANT:
        if name == "unaligned":
            value = torch.tensor(0.2, dtype=torch.float64)
        elif (name == "serial_s" and "attention" not in kind) or (name == "group_s" and kind in ("gemm", "attention")):
            value = torch.tensor(0.0, dtype=torch.float64)
        else:
            value = raw[name].sigmoid() if name in ("compute", "memory") else raw[name].exp()
            value = 1 + value if name == "overlap" else value
        found[name] = value.expand(len(VARIANTS))
    return found
