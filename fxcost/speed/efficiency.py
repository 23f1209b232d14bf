"""What share of the roofline each family of operators reaches on a machine, learnt from measurements.

A roofline is a lower bound. How near a library comes to it differs by what it computes: large matrix products reach
most of the peak, small normalizations little. One number per family takes up the larger part of that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import exp, log
from typing import Protocol

from ..errors import DeviceError, shown


class Measured(Protocol):
    """What is learnt from: a :class:`fxcost.Measurement`."""

    def by_family(self) -> Mapping[str, tuple[float, float]]:
        """(measured, predicted) seconds by family of operators."""


def efficiencies(measurements: Iterable[Measured]) -> dict[str, float]:
    """The efficiency of each family: predicted over measured time, the mean over models.

    The mean is geometric, and each model weighs as much as the family's share of its time is. Families that were not
    seen have none.

    Raises:
        DeviceError: one is no measurement, or none has times of single nodes.
    """
    ratios: dict[str, list[tuple[float, float]]] = {}
    for measurement in measurements:
        if not callable(getattr(measurement, "by_family", None)):
            raise DeviceError(f"{shown(measurement)} is no measurement; give what fxcost.measure(…) returned")
        times = measurement.by_family()
        whole = sum(measured for measured, _ in times.values())
        for family, (measured, predicted) in times.items():
            if measured and predicted:
                ratios.setdefault(family, []).append((measured / whole, log(predicted / measured)))
    if not ratios:
        raise DeviceError("no measurement has times of single nodes to learn from: measure(…, nodes=True)")
    return {
        family: exp(sum(weight * ratio for weight, ratio in seen) / sum(weight for weight, _ in seen))
        for family, seen in ratios.items()
    }
