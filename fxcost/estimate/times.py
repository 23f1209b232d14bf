"""The model of time: how long a kernel takes on a device, from its sizes and the profile of the device's class.

- A *product* of (m × k) by (k × n) reaches a share of the dtype's peak; narrow ones less: tiles are wider than n, and
  short sums do not fill the pipeline, `(1 + n₀/n) · (1 + k₀/k)`; few rows or results do not fill tiles and device,
  `1 + m₀/m + fill/(m·n)`. Sizes that are no multiples of 8 are loaded piece by piece: a factor on both, arithmetic and
  traffic.
- Depthwise convolutions run on the vector units: each result costs k operations and as much as k₀ beside them.
- *Traffic* reaches a share of the bandwidth that differs by how a kind walks through memory.
- A *walk* goes step by step, whatever else there is: attention along its keys (`serial_s` each), blocks of threads one
  after the other (`group_s` each: heads, experts, or the maps that each thread of an interpolation walks along).
- They overlap, not fully: `(c^p + t^p + w^p)^(1/p)`. Each kernel takes `start_s` on top; attention that splits the keys
  of few queries takes `combine_s` for the second kernel, which puts the parts together.
- No kernel is faster than its bound: shares are at most one.

All in one function on columns (torch tensors, float64), which the fit differentiates and an estimate calls once.

Not here: what stays in the last-level cache from one kernel to the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..speed.devices import Device
from .fusion import FUSED, FUSED_PLACES, FUSED_ROWS
from .work import LAYOUTS, MOVES, PRODUCTS, Work

KINDS = (*PRODUCTS, *MOVES, FUSED, FUSED_ROWS, FUSED_PLACES)
VARIANTS = tuple(f"{kind}/{layout}" for kind in KINDS for layout in LAYOUTS)
"""What has parameters of its own."""
BY_VARIANT = (
    "compute", "memory", "m0", "n0", "k0", "unaligned", "fill", "start_s", "serial_s", "group_s", "combine_s",
    "overlap",
)  # fmt: skip
MOST, TINY = 4.0, 1e-15
"""How much slower traffic is at most where few kernels' blocks ask for it; a time that is none, for its power."""
KEYS_OF_A_BLOCK, CORES = 128, 96
"""Attention to few queries splits keys over blocks of threads: more keys than one block takes, while heads fill less
than 80 % of a device of some 120 cores (`num_splits_heuristic` in FlashAttention)."""
_DEPTHWISE = PRODUCTS.index("conv_depthwise"), PRODUCTS.index("conv_depthwise_wide")
_ATTENTION = PRODUCTS.index("attention"), PRODUCTS.index("attention_decode_grouped")
_DECODE = PRODUCTS.index("attention_decode"), PRODUCTS.index("attention_decode_grouped")


@dataclass(slots=True)
class Columns:
    """Works as columns: their variant (int64), whether they are aligned (bool), peaks (FLOPS) and sizes (float64)."""

    variant: Tensor
    aligned: Tensor
    peak: Tensor
    flops: Tensor
    others: Tensor
    moved: Tensor
    m: Tensor
    n: Tensor
    k: Tensor
    batch: Tensor


def columns(works: Sequence[Work], device: Device, dtype: str) -> Columns:
    """The columns of works on a device, floating-point ones reckoned in `dtype` if it is not "".

    Raises:
        DeviceError: the device has no peak for a dtype that is computed in.
    """
    index = {name: i for i, name in enumerate(VARIANTS)}
    peaks: dict[str, float] = {}
    rows = []
    for w in works:
        kind = (dtype or w.dtype) if w.flops else ""
        if kind not in peaks:
            peaks[kind] = device.peak(kind) if kind else vector_peak(device)
        rows.append(
            (
                index[f"{w.kind}/{w.layout}"],
                w.aligned,
                peaks[kind],
                w.flops,
                w.others,
                w.reads + w.writes,
                w.m,
                w.n,
                w.k,
                w.batch,
            )
        )
    found = torch.tensor(rows, dtype=torch.float64).reshape(-1, 10).T
    return Columns(found[0].long(), found[1].bool(), *found[2:])


def vector_peak(device: Device) -> float:
    """FLOPS of what is no product of matrices: the peak of float32, or the least that there is."""
    return device.flops_per_s.get("float32") or min(device.flops_per_s.values())


def kernel_seconds(at: Columns, parameters: Mapping[str, Tensor], device: Device) -> Tensor:
    """Seconds of each kernel.

    Args:
        at: the kernels.
        parameters: those of `BY_VARIANT` by name, each with a number for each of `VARIANTS`.
        device: whose peaks and bandwidth are shared in.
    """

    def of(name: str) -> Tensor:
        return parameters[name][at.variant]

    def among(kinds: tuple[int, int]) -> Tensor:
        return (kind >= kinds[0]) & (kind <= kinds[1])

    vector, product = vector_peak(device), at.flops > 0
    kind = at.variant // len(LAYOUTS)
    depthwise = among(_DEPTHWISE)
    tiles = (1 + of("n0") / at.n) * (1 + of("k0") / at.k)
    narrow = torch.where(at.aligned | depthwise, 1.0, 1 + of("unaligned"))
    unfilled = of("fill") / (at.m * torch.where(among(_ATTENTION), at.k, at.n) * at.batch)
    factor = torch.where(depthwise, 1 + of("k0") / at.k, tiles * (1 + of("m0") / at.m + unfilled))
    products = at.flops / (torch.where(depthwise, vector, at.peak) * of("compute")) * factor * narrow
    arithmetic = torch.where(product, products, at.others / vector)
    slower = torch.where(product, narrow * (1 + unfilled).clamp(max=MOST), 1.0)
    traffic = at.moved / (device.bytes_per_s * of("memory")) * slower
    walk = of("serial_s") * at.n * product + of("group_s") * at.batch
    p = of("overlap")
    together = ((arithmetic + TINY) ** p + (traffic + TINY) ** p + (walk + TINY) ** p) ** (1 / p)
    splits = among(_DECODE) & (at.n > KEYS_OF_A_BLOCK) & (at.batch < CORES)
    return together + of("start_s") + of("combine_s") * splits
