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
    "gemm": ("gemm",), "context_attention": ("attention",),
    "generation_attention": ("attention_decode", "attention_decode_grouped"), "moe": ("gemm_grouped",),
}  # fmt: skip
"""Tables, and the kinds of kernels in them."""
_START = {
    "compute": 1.5, "memory": 1.5, "m0": -1.0, "n0": 3.0, "k0": 4.0, "unaligned": -1.0, "fill": 10.0, "start_s": -12.2,
    "serial_s": -19.0, "group_s": -18.0, "combine_s": -12.5, "overlap": 0.7,
}  # fmt: skip
_ONLY = {"serial_s": "attention", "group_s": "_", "combine_s": "decode", "unaligned": "gemm_grouped"}
"""Parameters of kinds in whose names this stands; the tables can't tell them for others, which have none of it."""
_COLUMNS = {
    "gemm": ("gemm_dtype", "m", "n", "k"),
    "context_attention": ("attn_dtype", "batch_size", "isl", "num_heads", "num_key_value_heads", "head_dim"),
    "generation_attention": ("attn_dtype", "batch_size", "isl", "step", "num_heads", "num_key_value_heads", "head_dim"),
    "moe": ("moe_dtype", "num_tokens", "hidden_size", "inter_size", "topk", "num_experts", "moe_tp_size"),
}  # fmt: skip
Rows = dict[str, tuple[np.ndarray, np.ndarray]]
"""By kind: kernels (flops, bytes, m, n, k, batch, aligned), and their seconds."""


def read(path: pathlib.Path, what: str, limit: int) -> Rows:
    """Kernels in bfloat16, `limit` of them, by hash of sizes."""
    import pyarrow.parquet

    t = pyarrow.parquet.read_table(path).to_pandas()
    missing = [name for name in (*_COLUMNS[what], "latency") if name not in t]
    if missing:
        raise SystemExit(f"{path}: no column {', '.join(missing)}; it takes aiconfigurator's tables of operators")
    for column in ("gemm_dtype", "attn_dtype", "kv_cache_dtype", "moe_dtype"):
        t = t[t[column] == "bfloat16"] if column in t else t
    t = t[t.window_size == 0] if "window_size" in t else t
    t = t[t.moe_ep_size == 1] if "moe_ep_size" in t else t
    found = [_SIZES[what](r) for r in t.itertuples()]
    chosen = sorted(range(len(found)), key=lambda i: _hash(found[i][1:]))[:limit]
    seconds = t.latency.to_numpy() / 1e3
    rows = {}
    for kind in KINDS[what]:
        of_kind = [i for i in chosen if found[i][0] == kind]
        rows[kind] = np.array([found[i][1:] for i in of_kind], dtype=np.float64), seconds[of_kind]
    return rows


def _gemm(r):  # type: ignore[no-untyped-def]
    return "gemm", 2 * r.m * r.n * r.k, 2 * (r.m * r.k + r.k * r.n + r.m * r.n), r.m, r.n, r.k, 1, True


def _prompt(r):  # type: ignore[no-untyped-def]
    length, heads, d = r.isl, r.batch_size * r.num_heads, r.head_dim
    causal = 2 * heads * length * length * d * (1 + 64 / length)  # half of it, in blocks of 128
    moved = 4 * d * length * (heads + r.batch_size * r.num_key_value_heads)
    return "attention", causal, moved, length, length, d, heads, True


def _token(r):  # type: ignore[no-untyped-def]
    length, heads, d = r.isl + r.step, r.batch_size * r.num_heads, r.head_dim
    keys = r.batch_size * r.num_key_value_heads
    kind = "attention_decode_grouped" if keys < heads else "attention_decode"
    return kind, 4 * heads * length * d, 4 * d * (heads + keys * length), 1, length, d, keys, True


def _experts(r):  # type: ignore[no-untyped-def]
    inner, copies = max(1, r.inter_size // r.moe_tp_size), r.num_tokens * r.topk
    touched = r.num_experts * (1 - (1 - r.topk / r.num_experts) ** r.num_tokens)
    moved = 6 * r.hidden_size * inner * touched + 2 * copies * (2 * r.hidden_size + 3 * inner)
    rows = copies / touched
    return (
        "gemm_grouped",
        6 * copies * r.hidden_size * inner,
        moved,
        rows,
        inner,
        r.hidden_size,
        touched,
        inner % 8 == 0,
    )


_SIZES = {"gemm": _gemm, "context_attention": _prompt, "generation_attention": _token, "moe": _experts}


def _hash(row: tuple[float, ...]) -> int:
    return int(hashlib.md5(repr(tuple(map(float, row[2:]))).encode()).hexdigest(), 16)


def fit_operator(
    rows: np.ndarray, seconds: np.ndarray, kind: str, device: Device
) -> tuple[dict[str, float], np.ndarray]:
    """The parameters of a kind, and each row's error with what was fitted on the other half of them."""
    t = torch.tensor(rows).T
    n = len(rows)
    columns = Columns(
        variant=torch.full((n,), VARIANTS.index(f"{kind}/{LAYOUTS[0]}")),
        aligned=t[6].bool(),
        peak=torch.full((n,), device.peak("bfloat16"), dtype=torch.float64),
        flops=t[0],
        others=torch.zeros(n, dtype=torch.float64),
        moved=t[1],
        m=t[2],
        n=t[3],
        k=t[4],
        batch=t[5],
    )
    halves = np.array([_hash(tuple(row)) % 2 for row in rows])
    measured, error = torch.tensor(seconds), np.zeros(n)
    for half in (0, 1):
        raw = _fit(columns, measured, torch.tensor(halves == half), kind, device)
        found = (kernel_seconds(columns, _natural(raw, kind), device) / measured - 1).numpy()
        error[halves != half] = found[halves != half]
    raw = _fit(columns, measured, torch.ones(n).bool(), kind, device)
    return {name: float(value[0]) for name, value in _natural(raw, kind).items()}, error


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
        value = raw[name].sigmoid() if name in ("compute", "memory") else raw[name].exp()
        if _ONLY.get(name, "") not in kind:
            value = torch.tensor(0.0, dtype=torch.float64)
        found[name] = (1 + value if name == "overlap" else value).expand(len(VARIANTS))
    return found
