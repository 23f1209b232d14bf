"""Measures the machine at hand, for :meth:`fxcost.Device.calibrate`.

The peak of a dtype is the best speed of a square matrix product, which grows until one takes long enough to time. The
bandwidth is that of adding two arrays that are far larger than any cache. The overhead is the time of an addition of
single elements. The random generators are not used.

Not here: integer peaks (PyTorch has no plain integer matrix product).
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

from ..errors import DeviceError, shown
from .dtypes import dtype_key
from .stopwatch import Clock, Stopwatch, find_place

DTYPES = ("float32", "bfloat16", "float16", "float64")
LONGEST_S = 10.0
_ENOUGH_S = 0.02
"""A matrix product that takes this long is well above the clock's resolution and any launch."""
_LARGEST = 8192
_STREAM_BYTES = 2**26
"""Of each of the three arrays: together more than the last-level caches of most processors hold."""
_CALLS = 200


def calibrate(
    place: Any = "cpu",
    dtypes: Iterable[Any] | None = None,
    seconds: float = 6.0,
    clock: Clock = time.perf_counter,
) -> dict[str, Any]:
    """The fields of a :class:`fxcost.Device` that is this machine. See :meth:`fxcost.Device.calibrate`.

    Raises:
        DeviceError: there is no such device here, a dtype is unknown or has no matrix product there.
    """
    if not 0 < seconds <= LONGEST_S:
        raise DeviceError(f"calibrating for {seconds} s: give more than 0 and at most {LONGEST_S:g} seconds")
    where = find_place(place)
    wanted = list(dict.fromkeys(dtype_key(dtype) for dtype in (DTYPES if dtypes is None else dtypes)))
    share = seconds / (len(wanted) + 2)
    watch = Stopwatch(where, clock)
    with torch.inference_mode():
        peaks = {dtype: _matmul_flops(dtype, where, watch, share) for dtype in wanted}
        bandwidth = _stream_bandwidth(where, watch, share)
        overhead = _overhead(where, watch)
    name, memory = _described(where)
    when = time.strftime("%Y-%m-%d")
    source = f"measured by Device.calibrate({str(where)!r}) with torch {torch.__version__} on {when}"
    rates = {"flops_per_s": peaks, "bytes_per_s": bandwidth, "overhead_s": overhead}
    return {"name": name, "memory_bytes": memory, "source": source, **rates}


def _matmul_flops(dtype: str, place: torch.device, watch: Stopwatch, seconds: float) -> float:
    """FLOPS of the fastest matrix product: 2·n³ operations, n doubling until one takes long enough."""
    kind = getattr(torch, dtype, None)
    if not isinstance(kind, torch.dtype):
        raise DeviceError(f"there is no dtype {shown(dtype)} to calibrate; choose from {', '.join(DTYPES)}")
    deadline, best, n = time.perf_counter() + seconds, 0.0, 128
    while n <= _LARGEST:
        try:
            a = torch.ones(n, n, dtype=kind, device=place)
            out = a @ a
        except RuntimeError as error:
            raise DeviceError(f"{place} has no matrix product for {dtype}: {error}") from error
        took = _best(lambda a=a, out=out: torch.mm(a, a, out=out), watch, deadline)  # type: ignore[misc]
        best = max(best, 2 * n**3 / took)
        if took > _ENOUGH_S or time.perf_counter() + 16 * took > deadline:  # the next one takes 8 times as long, twice
            break
        n *= 2
    return best


def _stream_bandwidth(place: torch.device, watch: Stopwatch, seconds: float) -> float:
    """Bytes per second of `c = a + b`: two arrays read, one written."""
    deadline = time.perf_counter() + seconds
    a, b, c = (torch.ones(_STREAM_BYTES // 4, device=place) for _ in range(3))
    took = _best(lambda: torch.add(a, b, out=c), watch, deadline)
    return 3 * _STREAM_BYTES / took


def _overhead(place: torch.device, watch: Stopwatch) -> float:
    """Seconds that an operator on a single element takes, one after the other: the median of many."""
    a = torch.ones(1, device=place)
    times = []
    for _ in range(15):
        watch.mark()
        for _ in range(_CALLS):
            torch.add(a, a)
        watch.mark()
        times.append(watch.laps()[0] / _CALLS)
    return sorted(times)[len(times) // 2]


def _best(work: Callable[[], Any], watch: Stopwatch, deadline: float) -> float:
    """The shortest time of several runs after a first one: at most twenty, as many as there is time for."""
    work()
    times: list[float] = []
    while not times or (len(times) < 20 and time.perf_counter() < deadline):
        watch.mark()
        work()
        watch.mark()
        times.extend(watch.laps())
    return max(min(times), 1e-9)


def _described(place: torch.device) -> tuple[str, int]:
    """The device's name, with the number of threads where they make the speed, and its memory in bytes."""
    if place.type == "cuda":
        properties = torch.cuda.get_device_properties(place)
        return properties.name, int(properties.total_memory)
    threads = torch.get_num_threads()
    return f"{_processor()}, {threads} thread{'' if threads == 1 else 's'}", _ram()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine() or "CPU"


def _ram() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):  # not POSIX: not known
        return 0
