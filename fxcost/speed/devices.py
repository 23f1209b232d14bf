"""What a device can do at most: FLOPS for each dtype, bytes per second, memory. Needs no PyTorch.

Peaks are dense ones: figures that a vendor prints "with sparsity" count products with zeros that nobody computes, and
are halved here. The table of known devices is in device_table.py, with the vendor's document for each.

Not here: what a model needs of a device (roofline.py), and how a machine is measured (calibration.py).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from ..errors import DeviceError, nearest, shown
from ..errors.arguments import checked
from ..text.words import shortened
from .dtypes import dtype_key
from .efficiency import Measured, efficiencies

SLOWEST, FASTEST = 1e-30, 1e30
"""Between these a rate is one that times can be reckoned with."""


@checked
@dataclass(frozen=True, kw_only=True)
class Device:
    """What a device can do at most.

    - `name` is the vendor's, `keys` are the ones by which it is found: short ones, and what its driver calls it.
    - `flops_per_s` has the dense peak for each dtype, FLOPS: "float32", "tf32", "bfloat16", "float16", "float8", "int8"
      (operations per second), "float64".
    - `bytes_per_s` is the bandwidth of its memory, `memory_bytes` the size.
    - `source` is the document that says so, or how it was measured.
    - `overhead_s` is the least time that one operator takes, whatever its size; 0 where it is not known.
    - `clock` is the highest clock that the device runs at, in units of the one that its peaks are printed for: bounds
      are reckoned at it, shares of the peak at the printed one. 1 where it is not known to run faster.
    - `efficiency` has, by family of operators, the share of the roofline that is reached (1 where none is named);
      :meth:`fitted` fills it in. With it, a time is no lower bound any more but an estimate.
    """

    name: str
    flops_per_s: Mapping[str, float]
    bytes_per_s: float
    memory_bytes: int
    source: str = ""
    keys: tuple[str, ...] = ()
    overhead_s: float = 0.0
    clock: float = 1.0
    efficiency: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rates = (*self.flops_per_s.values(), self.bytes_per_s, self.clock, *self.efficiency.values())
        possible = all(SLOWEST <= rate <= FASTEST for rate in rates) and 0 <= self.overhead_s <= FASTEST
        if not self.flops_per_s or not possible or not 0 <= self.memory_bytes <= FASTEST:
            raise DeviceError(
                f"device {shown(self.name)}: give flops_per_s at least one dtype, and rates above 0 (FLOPS, bytes per "
                "second), e.g. Device(name='mine', flops_per_s={'float32': 1e12}, bytes_per_s=5e10, …)"
            )

    def peak(self, dtype: Any) -> float:
        """The dense peak (FLOPS) for a `torch.dtype` or the name of one; also "tf32".

        Raises:
            DeviceError: the device has no peak for it; the message names those that it has.
        """
        key = dtype_key(dtype)
        if key not in self.flops_per_s:
            raise DeviceError(
                f"{self.name} has no peak for {shortened(key, 60)}; it has {', '.join(self.flops_per_s)}. Cost the "
                "model in one of these (analyze(…, dtype=…)), or name the peak to reckon with (roofline(…, dtype=…))"
            )
        return self.flops_per_s[key]

    def highest(self, dtype: Any) -> float:
        """What nothing beats (FLOPS): the peak at the highest clock, at which bounds are reckoned.

        Raises:
            DeviceError: as :meth:`peak`.
        """
        return self.peak(dtype) * self.clock

    def ridge(self, dtype: Any) -> float:
        """FLOPs per byte at which arithmetic and memory take equally long.

        Raises:
            DeviceError: as :meth:`peak`.
        """
        return self.peak(dtype) / self.bytes_per_s

    @staticmethod
    def named(name: str | Device) -> Device:
        """A device of the table by one of its names: "h100", "H100 SXM", "rtx 4090", "NVIDIA A100-SXM4-80GB".

        Raises:
            DeviceError: there is no such device; the message offers the nearest.
        """
        if isinstance(name, Device):
            return name
        plain = _plain(name) if isinstance(name, str) else ""
        found = _by_name().get(plain)
        if found is None:
            keys = [key for device in Device.known() for key in device.keys]
            near = nearest(plain, map(_plain, keys), cutoff=0.5)
            offered = [key for key in keys if _plain(key) in near]
            hint = (
                f"did you mean {' or '.join(offered)}?"
                if offered
                else f"there are {', '.join(d.keys[0] for d in Device.known())}."
            )
            raise DeviceError(
                f"no device {shown(name)} is known; {hint} `fxcost devices` lists all; Device(…) describes another "
                "one, Device.calibrate() measures this machine"
            )
        return found

    @staticmethod
    def known() -> tuple[Device, ...]:
        """All devices of the table."""
        return _known()

    @staticmethod
    def calibrate(
        place: Any = "cpu",
        *,
        dtypes: Iterable[Any] | None = None,
        seconds: float = 6.0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> Device:
        """Measure this machine: matrix products per dtype, streaming through memory, the least time of an operator.

        Args:
            place: a torch device: "cpu", "cuda", "cuda:1".
            dtypes: what to measure; by default float32, bfloat16, float16 and float64.
            seconds: how long to take, about; at most 10.
            clock: what to read the time from, on the CPU; `time.thread_time` for one thread on a busy machine.

        Raises:
            DeviceError: there is no such device here.
        """
        from .calibration import calibrate

        return Device(**calibrate(place, dtypes, seconds, clock))

    def fitted(self, measurements: Iterable[Measured]) -> Device:
        """The same device with an efficiency for each family of operators that these measurements show.

        Raises:
            DeviceError: none of the measurements has times of single nodes.
        """
        return replace(self, efficiency=efficiencies(measurements))


def _plain(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower().removeprefix("nvidia").removeprefix(" geforce"))


@cache
def _known() -> tuple[Device, ...]:
    from .device_table import DEVICES

    return tuple(Device(**figures) for figures in DEVICES)


def _by_name() -> dict[str, Device]:
    return {_plain(key): device for device in Device.known() for key in (device.name, *device.keys)}
