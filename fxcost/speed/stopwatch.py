"""Seconds between marks, on a device whose work may still be under way when Python goes on.

On the CPU a mark reads a clock. On CUDA it puts an event into the stream: the device notes the time when it gets there,
so that nothing waits in between, and a lap is the device's own time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch

from ..errors import DeviceError, shown

Clock = Callable[[], float]
"""Gives a time in seconds; only differences count."""


class Stopwatch:
    """Marks moments, and says how many seconds were between them.

    >>> times = iter([1.0, 1.5, 4.0])
    >>> watch = Stopwatch(torch.device("cpu"), lambda: next(times))
    >>> for _ in range(3):
    ...     watch.mark()
    >>> watch.laps()
    [0.5, 2.5]
    """

    def __init__(self, place: torch.device, clock: Clock = time.perf_counter) -> None:
        self._place = place
        self._clock = clock
        self._marks: list[Any] = []

    def mark(self) -> None:
        """Note this moment: on CUDA, when the device will have done all that it was given so far."""
        if self._place.type == "cuda":
            event = torch.cuda.Event(enable_timing=True)
            event.record(torch.cuda.current_stream(self._place))
            self._marks.append(event)
        else:
            self._marks.append(self._clock())

    def laps(self) -> list[float]:
        """Seconds from each mark to the next, and a fresh start; on CUDA this waits for the device."""
        marks, self._marks = self._marks, []
        if self._place.type == "cuda":
            torch.cuda.synchronize(self._place)
            return [start.elapsed_time(end) / 1000 for start, end in pairwise(marks)]  # events count milliseconds
        return [end - start for start, end in pairwise(marks)]


def find_place(place: Any) -> torch.device:
    """The torch device of that name, where work can be timed.

    Raises:
        DeviceError: there is no such device on this machine, or one on which nothing can be timed (meta).
    """
    try:
        found = torch.device(place)
    except Exception as error:  # PyTorch has many words for it, and a place of the user's may have its own
        raise DeviceError(f"{shown(place)} is no torch device; give 'cpu', 'cuda' or 'cuda:1'") from error
    if found.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (found.index or 0) >= count:
            there = f"there are {count} CUDA devices" if count else "torch.cuda.is_available() is False"
            raise DeviceError(f"there is no {found} on this machine ({there}); measure on 'cpu' instead")
        return torch.device("cuda", found.index if found.index is not None else torch.cuda.current_device())
    if found.type != "cpu":
        raise DeviceError(f"nothing can be timed on {found.type!r}; give 'cpu' or 'cuda'")
    return found
