"""The dense peak of a device by the name that its driver gives."""

from __future__ import annotations

from typing import Any

from ..errors.arguments import checked
from .devices import Device


@checked
def peak(name: Device | str, dtype: Any = "bfloat16") -> float:
    """The dense peak of a known device in FLOPS (OPS for integers), without sparsity.

    >>> peak("NVIDIA H100 80GB HBM3", "bfloat16") / 1e12, peak("a100", "int8") / 1e12
    (989.5, 624.0)

    Args:
        name: what `torch.cuda.get_device_name()` says, or a short name: "h100", "rtx 4090"; or a device.
        dtype: a `torch.dtype`, or a name: "bfloat16", "float8", "tf32".

    Where other tools' tables differ, docs/speed.md says why.

    Raises:
        DeviceError: there is no such device, or it has no peak for this dtype.
    """
    return Device.named(name).peak(dtype)
