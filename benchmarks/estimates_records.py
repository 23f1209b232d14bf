"""What the estimates' fit reads: the kernels of timm models, each analysed once and kept in a cache folder.

A model is analysed at a small batch. What belongs to the weights alone stays, the rest grows with the batch: so one
analysis serves all tables. Run by estimates.py.
"""

from __future__ import annotations

import collections
import contextlib
import csv
import hashlib
import json
import pathlib
import statistics
import time
from dataclasses import dataclass

import numpy as np
import timm
import timm.layers.fast_norm
import timm.layers.norm_act
import torch

import fxcost
from fxcost.estimate.fusion import Compiler, works
from fxcost.estimate.steps import backward_works, optimizer_work
from fxcost.estimate.times import KINDS
from fxcost.estimate.work import LAYOUTS, Work, as_run, works_alone
from fxcost.speed.fusion import kernels as kernels_of

HALF, FULL = 0, 1
"""How a kernel's dtype is kept: float16 (or bfloat16), or float32 and all else."""
BATCH = {"first": 64, "last": 64, "cpu": 1, "train": 16}
"""The configurations that models are analysed in: channels first or last under autocast, float32, a training step."""
FIELDS = (
    "kind", "layout", "dtype", "flops", "others", "moved", "moved_by_weights", "m", "n", "k", "batch", "aligned",
    "varies", "count",
)  # fmt: skip


@dataclass
class Row:
    """A measurement: seconds of one batch (of one step)."""

    model: str
    size: int
    batch: int
    seconds: float
    params: float

    @property
    def key(self) -> str:
        """The name of the model's record."""
        return f"{self.model}@{self.size}"


def read_table(path: pathlib.Path) -> list[Row]:
    """A table of timm's benchmark.py; rows of one architecture and size are one, at their most frequent batch."""
    with path.open() as file:
        given = list(csv.DictReader(file))
    kind = "train" if given and "train_batch_size" in given[0] else "infer"
    needed = ("model", f"{kind}_img_size", f"{kind}_batch_size", f"{kind}_samples_per_sec", "param_count")
    missing = [name for name in needed if not given or name not in given[0]]
    if missing:
        raise SystemExit(f"{path}: no column {', '.join(missing)}; it takes tables of timm's benchmark.py")
    groups = collections.defaultdict(list)
    for r in given:
        row = Row(
            r["model"].split(".")[0],
            int(float(r[f"{kind}_img_size"])),
            int(float(r[f"{kind}_batch_size"])),
            0.0,
            float(r["param_count"]),
        )
        row.seconds = row.batch / float(r[f"{kind}_samples_per_sec"])
        groups[row.key, row.params].append(row)
    found = []
    for rows in groups.values():
        batch = collections.Counter(row.batch for row in rows).most_common(1)[0][0]
        seconds = statistics.median(row.seconds for row in rows if row.batch == batch)
        found.append(Row(rows[0].model, rows[0].size, batch, seconds, rows[0].params))
    return found


def half_of(model: str) -> int:
    """Which half a model belongs to: 0 or 1, by the hash of its name."""
    return int(hashlib.md5(model.encode()).hexdigest(), 16) % 2


def in_order(keys: set[tuple[str, int]]) -> list[tuple[str, int]]:
    """Models by the hash of their names, so that any first so many are a sample without a choice."""
    return sorted(keys, key=lambda k: (hashlib.md5(k[0].encode()).hexdigest(), k[1]))


def record(cache: pathlib.Path, config: str, keys: set[tuple[str, int]], limit: int) -> None:
    """Analyse the first `limit` of `keys` (one size of each model) that the cache lacks."""
    _as_measured()
    folder = cache / config
    folder.mkdir(parents=True, exist_ok=True)
    known, seen = set(timm.list_models()), set()
    for model, size in in_order(keys):
        if model not in known or model in seen or len(seen) >= limit:
            continue
        seen.add(model)
        path = folder / f"{model}@{size}.npz"
        if path.exists():
            continue
        try:
            _record_one(path, config, model, size)
        except Exception as error:  # a model that this timm builds otherwise, or that takes another size
            print(f"{config} {model}@{size}: {type(error).__name__}: {str(error)[:100]}", flush=True)


def _as_measured() -> None:
    """Normalization in autocast's precision (timm's fast norm): the tables' times are below the bound without it."""
    timm.layers.set_fast_norm(True)
    fast = timm.layers.norm_act.fast_group_norm
    if getattr(fast, "_guarded", False):
        return

    def guarded(x: torch.Tensor, *rest: object) -> torch.Tensor:
        plain = x.device.type == "meta"  # while a model that probes itself is built
        return torch.nn.functional.group_norm(x, *rest) if plain else fast(x, *rest)  # type: ignore[arg-type]

    guarded._guarded = True  # type: ignore[attr-defined]
    timm.layers.norm_act.fast_group_norm = guarded


def _record_one(path: pathlib.Path, config: str, model: str, size: int) -> None:
    with torch.device("meta"):
        built = timm.create_model(model)
        if built.pretrained_cfg["input_size"][-1] != size:
            with contextlib.suppress(TypeError):
                built = timm.create_model(model, img_size=size)
    batch = BATCH[config]
    x = torch.empty(batch, built.pretrained_cfg["input_size"][0], size, size, device="meta")
    if config in ("last", "train"):
        built, x = built.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    start = time.perf_counter()
    report = fxcost.analyze(
        built.train() if config == "train" else built.eval(),
        x,
        autocast=None if config == "cpu" else "float16",
        capture="concrete",
        training=config == "train",
        optimizer="momentum" if config == "train" else None,
    )
    took = time.perf_counter() - start
    write(path, config, report.nodes, report.training, report.params, batch, took)


def write(path: pathlib.Path, config: str, nodes, training, params: int, batch: int, took: float) -> None:  # type: ignore[no-untyped-def]
    """Keep the kernels of an analysis."""
    varying = _varying(nodes)
    alone = [(as_run(k), [op for _, op in k.operations]) for k in kernels_of(nodes, "none")]
    kernels = Compiler(nodes).run()
    fused = [(w, [op for _, op in k.operations]) for w, k in zip(works(kernels), kernels, strict=True)]
    if training is not None:
        plain = [w for w, _ in alone]
        alone += [(w, []) for w in backward_works(plain, nodes, training, len(nodes))]
        alone.append((optimizer_work(training, 0), None))  # type: ignore[arg-type]
        fused = []
    views = sum(not works_alone(op) for n in nodes for op in n.operations)
    meta = json.dumps({"params": params, "batch": batch, "views": views, "took": took, "kinds": KINDS})
    tables = {name: _table(w, varying) for name, w in (("eager", alone), ("compiled", fused))}
    np.savez_compressed(path, meta=np.array(meta), **tables)


def _varying(nodes) -> dict[int, tuple[bool, int]]:  # type: ignore[no-untyped-def]
    """For each operator: whether it hangs on the inputs, and how many bytes of weights it reads."""
    made: set[int] = set()
    found = {}
    for node in nodes:
        if node.kind == "placeholder":
            made.update(s.storage for s in node.record.outputs)
        storages = node.record.storages
        for op in node.operations:
            ins = [(storages[s.storage] if 0 <= s.storage < len(storages) else -1, s) for s in op.record.inputs]
            varies = any(number in made for number, _ in ins)
            if varies:
                outs = (s for s in op.record.outputs if s is not None and 0 <= s.storage < len(storages))
                made.update(storages[s.storage] for s in outs)
            found[id(op)] = varies, sum(s.stored_bytes for number, s in ins if number not in made)
    return found


def _table(given, varying) -> np.ndarray:  # type: ignore[no-untyped-def]
    rows: collections.Counter[tuple[float, ...]] = collections.Counter()
    for w, ops in given:
        varies = ops is not None and (not ops or any(varying[id(op)][0] for op in ops))
        weights = min(sum(varying[id(op)][1] for op in ops or []), w.reads) if varies else w.reads + w.writes
        rows[_row(w, varies, weights)] += 1
    return np.array([(*row, count) for row, count in rows.items()], dtype=np.float64).reshape(-1, len(FIELDS))


def _row(w: Work, varies: bool, weights: int) -> tuple[float, ...]:
    dtype = HALF if w.dtype in ("float16", "bfloat16") else FULL
    moved = w.reads + w.writes - weights
    place = KINDS.index(w.kind), LAYOUTS.index(w.layout), dtype
    return (*place, w.flops, w.others, moved, weights, w.m, w.n, w.k, w.batch, w.aligned, varies)
