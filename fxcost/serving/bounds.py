"""Bounds of a generation on a device: made, checked, swept, shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..errors import DeviceError, InputError, shown
from ..errors.arguments import checked
from ..speed.devices import Device
from ..text.amounts import parse_bytes
from .as_serving import bounds_text, summary
from .floors import Floors
from .plan import Plan
from .rows import rows_of
from .sweep import Sweep


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class Bounds(Floors):
    """Bounds of a generation on `devices` devices: no engine is faster. Times in seconds, rates in tokens a second."""

    def at(self, batch: int) -> Bounds:
        """The same for another batch, whether it fits or not."""
        return replace(self, batch=batch)

    def sweep(self, batch: Iterable[int | str] = (1,), context: Iterable[int] | None = None) -> Sweep:
        """Bounds over batches and contexts: rows, a table, CSV, a plot of throughput against latency.

        Args:
            batch: batches; "max" is the largest that fits.
            context: tokens that a request has; by default those at the end of the generation.

        Raises:
            InputError: a number is not above 0, the model has no room for so many tokens, or memory for none of them.
        """
        asked, wanted = list(batch), None if context is None else list(context)
        rows = rows_of(self, asked, wanted)
        if asked and not any(row.fits for row in rows):
            smallest = min((n for n in asked if isinstance(n, int)), default=1)
            raise InputError(_too_many(self, smallest, min(wanted or [self._prompt + self.generation.new_tokens])))
        return Sweep(model=self.generation.name, device=self.device.name, devices=self.devices, rows=rows)

    def summary(self) -> str:
        """The device, and what bounds the generation there, as text."""
        return summary(self)

    def __str__(self) -> str:
        return bounds_text(self)


def bounds(generation: Plan, device: Device | str, devices: int, peak: Any, reserve: Any) -> Bounds:
    """As :meth:`Generation.bounds`, the batch checked."""
    made = unchecked_bounds(generation, device, devices, peak, reserve)
    if made.free_bytes < 0:
        raise InputError(_too_large(made))
    if made.batch > made.largest_batch:
        raise InputError(_too_many(made, made.batch, made._prompt + generation.new_tokens))
    return made


def unchecked_bounds(generation: Plan, device: Device | str, devices: int, peak: Any, reserve: Any) -> Bounds:
    """The same, whether the batch fits or not.

    Raises:
        DeviceError: there is no such device, or it has no such peak.
    """
    found = Device.named(device)
    if devices < 1:
        raise InputError(f"devices={devices}: there must be at least 1")
    memory = devices * (found.memory_bytes - parse_bytes(reserve))
    names = peak_names(generation, found, peak)
    peaks = {family: found.highest(name) for family, name in names.items()}
    return Bounds(
        generation=generation, device=found, devices=devices, peaks=peaks, names=names, memory=memory,
        batch=generation.batch,
    )  # fmt: skip


def peak_names(generation: Plan, device: Device, peak: Any) -> dict[str, str]:
    """The dtype at whose peak products and attention are reckoned.

    Raises:
        DeviceError: the device has no such peak.
    """
    from ..speed.dtypes import dtype_key

    own = dtype_key(str(generation.compute_dtype))
    if isinstance(peak, Mapping):
        if odd := [k for k in peak if k not in ("matmul", "attention")]:
            raise InputError(f"peak={{{shown(odd[0])}: …}}: products are 'matmul' or 'attention'")
        return {"matmul": dtype_key(peak.get("matmul", own)), "attention": dtype_key(peak.get("attention", own))}
    if peak is not None:
        return dict.fromkeys(("matmul", "attention"), dtype_key(peak))
    rates = device.flops_per_s
    if own not in rates:
        raise DeviceError(
            f"{device.name} has no peak for {own}, in which the model computes; it has {', '.join(rates)}. Name the "
            "peak to reckon with (peak=…, --peak)"
        )
    wanted = {h.compute for h in generation.held.values()} & set(_NARROWER)
    possible = [name for kind in wanted for name in _NARROWER[kind] if name in rates]
    matmul = max([*possible, own], key=lambda name: rates[name])
    kv = generation.cache.stored
    attention = [n for n in _NARROWER.get(kv.compute if kv else "", ()) if n in rates]
    return {"matmul": matmul, "attention": max([*attention, own], key=lambda name: rates[name])}


_NARROWER = {"float4": ("float4", "float8"), "float8": ("float8",), "int8": ("int8",)}
"""For what is stored so: the dtypes in which an engine may compute, where the device can."""


def _too_large(made: Bounds) -> str:
    need = made.generation.weights.stored_bytes
    return (
        f"the weights ({_gb(need)}) are larger than the memory of {_devices(made)} ({_gb(made.memory)}); store them "
        "smaller (weights=), or take more devices"
    )


def _too_many(made: Bounds, batch: int, context: int) -> str:
    gen = made.generation
    need = gen.cache.bytes(context=context, batch=batch)
    return (
        f"a batch of {batch:,} requests of {context:,} tokens keeps {_gb(need)} beside "
        f"{_gb(gen.weights.stored_bytes)} of weights, and {_devices(made)} has {_gb(made.memory)}: "
        f"at most {made.fitting_batch(context):,} fit"
    )


def _devices(made: Bounds) -> str:
    return made.device.name if made.devices == 1 else f"{made.devices} × {made.device.name}"


def _gb(nbytes: int) -> str:
    return f"{float(nbytes) / 1e9:,.2f} GB"
