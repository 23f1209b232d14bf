"""Models on a device, fastest first, and devices for a model, those where it fits first.

Not here: where models come from (sources/), and how they are analysed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..errors import DeviceError
from ..memory.analysis import Analysis
from ..speed.devices import Device
from ..text import units
from ..text.tables import tabulated
from .as_estimate import estimates_table
from .estimate import Estimate, estimate


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Models by their estimated time on a device, fastest first; `samples` is the batch that each was analysed with."""

    device: Device
    estimates: tuple[tuple[str, int, Estimate], ...]

    def table(self, format: str = "rounded_outline") -> str:  # noqa: A002  tabulate's name for it
        """A row for each model.

        Raises:
            UnknownNameError: the format is not known.
        """
        rows = [
            [
                str(place),
                name,
                units.seconds(e.seconds),
                f"{units.seconds(e.low)} to {units.seconds(e.high)}",
                f"{samples / e.seconds:,.1f}" if e.seconds else units.NOTHING,
                units.byte_size(e.memory_bytes),
                "yes" if e.fits else "no",
            ]
            for place, (name, samples, e) in enumerate(self.estimates, 1)
        ]
        columns = ("", "model", "time", "range", "samples/s", "memory", "fits")
        return f"{self.device.name}\n{tabulated(rows, columns, 'rlrrrrl', format)}"

    def __str__(self) -> str:
        return self.table()


def rank(
    reports: Mapping[str, Analysis], device: Device | str, mode: str = "eager", samples: Mapping[str, int] | None = None
) -> Ranking:
    """Estimate each of `reports` on a device; the fastest for a sample first.

    Args:
        reports: analyses by the name of their model.
        device: a device or its name.
        mode: "eager" or "compiled".
        samples: how many samples each was analysed with; by default one each.

    Raises:
        DeviceError: no such device, no profile for it, or no peak for a dtype that a model computes in.
        UnknownNameError: no such mode.
    """
    given = samples or {}
    found = [(name, given.get(name, 1), estimate(report, device, mode)) for name, report in reports.items()]
    found.sort(key=lambda entry: entry[2].seconds / entry[1])
    return Ranking(device=Device.named(device), estimates=tuple(found))


@dataclass(frozen=True, kw_only=True)
class Devices:
    """Where a model could run: estimates, those where it fits first, fastest first; `left_out` has others, and why."""

    estimates: tuple[Estimate, ...]
    left_out: tuple[tuple[str, str], ...]

    def table(self, format: str = "rounded_outline") -> str:  # noqa: A002  tabulate's name for it
        """A row for each device.

        Raises:
            UnknownNameError: the format is not known.
        """
        names = ", ".join(name for name, _ in self.left_out)
        notes = [f"Without a profile, or a peak for what is computed: {names}"] if names else []
        return "\n".join([estimates_table(self.estimates, format), *notes])

    def __str__(self) -> str:
        return self.table()


def devices_for(
    report: Analysis, mode: str = "eager", devices: Iterable[Device | str] | None = None, dtype: str | None = None
) -> Devices:
    """Estimate a report on many devices, by default all that are known and have a profile.

    Raises:
        UnknownNameError: no such mode.
    """
    found, out = [], []
    for device in Device.known() if devices is None else devices:
        try:
            found.append(estimate(report, device, mode, dtype))
        except DeviceError as error:
            out.append((Device.named(device).name, str(error)))
    found.sort(key=lambda e: (not e.fits, e.seconds))
    return Devices(estimates=tuple(found), left_out=tuple(out))
