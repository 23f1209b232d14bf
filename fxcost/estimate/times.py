"""The model of time: how long a kernel takes on a device, from its sizes and the profile of the device's class.

- A *product* of (m × k) by (k × n) reaches a share of the dtype's peak; narrow ones less: tiles are wider than n, and
  short sums do not fill the pipeline, `(1 + n₀/n) · (1 + k₀/k)`; few rows or results do not fill tiles and device,
  `1 + m₀/m + fill/(m·n)`; sizes that are no multiples of 8 cost a factor.
- Attention walks over the keys, `serial_s` for each; kernels of many small products take `group_s` for each.
- Depthwise convolutions run on the vector units, and slower per operation the larger their window is.
- *Traffic* reaches a share of the bandwidth that differs by how a kind walks through memory.
- Arithmetic and traffic overlap, not fully: `(c^p + t^p)^(1/p)`. Each kernel takes `start_s` on top.
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
    "compute", "memory", "m0", "n0", "k0", "unaligned", "fill", "start_s", "serial_s", "group_s", "overlap",
)  # fmt: skip
MOST, TINY = 4.0, 1e-15
"""How much slower traffic is at most where few kernels' blocks ask for it; a time that is none, for its power."""
_DEPTHWISE = PRODUCTS.index("conv_depthwise")
_ATTENTION = (PRODUCTS.index("attention"), PRODUCTS.index("attention_decode"))


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

    vector, product = vector_peak(device), at.flops > 0
    kind = at.variant // len(LAYOUTS)
    depthwise, attention = kind == _DEPTHWISE, (kind >= _ATTENTION[0]) & (kind <= _ATTENTION[1])
    tiles = (1 + of("n0") / at.n) * (1 + of("k0") / at.k)
    tiles = tiles * torch.where(at.aligned, 1.0, 1 + of("unaligned"))
    unfilled = of("fill") / (at.m * torch.where(attention, at.k, at.n) * at.batch)
    factor = torch.where(depthwise, 1 + at.k / of("k0"), tiles * (1 + of("m0") / at.m + unfilled))
    products = at.flops / (torch.where(depthwise, vector, at.peak) * of("compute")) * factor
    arithmetic = torch.where(product, products, at.others / vector)
    traffic = at.moved / (device.bytes_per_s * of("memory")) * torch.where(product, (1 + unfilled).clamp(max=MOST), 1.0)
    p = of("overlap")
    together = ((arithmetic + TINY) ** p + (traffic + TINY) ** p) ** (1 / p)
    return together + of("start_s") + torch.where(product, of("serial_s") * at.n + of("group_s") * at.batch, 0.0)
