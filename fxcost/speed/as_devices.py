"""Known devices as a table: names, dense peaks for each dtype, memory, and whose figures these are."""

from __future__ import annotations

from collections.abc import Iterable

from ..text import units
from ..text.tables import tabulated
from .devices import Device

LEAVING = ("int8", "float8", "float64", "tf32", "float16", "device", "float32", "memory", "bandwidth")
"""In the order in which they leave a narrow table."""
DTYPES = ("float64", "float32", "tf32", "bfloat16", "float16", "float8", "int8")


def devices_table(devices: Iterable[Device], *, sources: bool = False, format: str = "rounded_outline") -> str:  # noqa: A002
    """A row for each device; its first short name is what `--device` takes.

    Raises:
        UnknownNameError: the format is not known.
    """
    columns = ["name", "device", *DTYPES, "bandwidth", "memory", *(["source"] if sources else [])]
    rows = [[*_row(device), *([device.source] if sources else [])] for device in devices]
    return tabulated(rows, columns, "sl" + "r" * (len(DTYPES) + 2) + ("w" if sources else ""), format, drop=LEAVING)


def _row(device: Device) -> list[str]:
    peaks = [device.flops_per_s.get(dtype) for dtype in DTYPES]
    return [
        device.keys[0] if device.keys else units.NOTHING,
        device.name,
        *(units.NOTHING if peak is None else units.rate(peak, "") for peak in peaks),
        units.rate(device.bytes_per_s, "B/s"),
        units.rate(device.memory_bytes, "B"),
    ]
