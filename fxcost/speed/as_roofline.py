"""A roofline as text: the device and the bounds, where the time goes, and a row for each node that takes time."""

from __future__ import annotations

from collections.abc import Mapping

from ..text import units
from ..text.tables import labelled, tabulated
from .devices import Device
from .times import NodeTime, Times

COLUMNS = ("node", "module", "family", "FLOPs", "bytes", "FLOPs/B", "compute", "memory", "time", "share", "bound by")

LEAVING = ("compute", "memory", "FLOPs/B", "bytes", "family", "FLOPs", "module", "bound by", "share")
"""In the order in which they leave a narrow table."""


def roofline_table(roofline: Times, top: int | None, format: str, sort: bool) -> str:  # noqa: A002
    """Totals, then nodes: the longest first, or in execution order.

    Raises:
        UnknownNameError: the format is not known.
    """
    shown = [node for node in roofline.nodes if node.time_s]
    if sort:
        shown.sort(key=lambda node: -node.time_s)
    rows = [_row(node, roofline.latency_s) for node in shown[:top]]
    if len(shown) > len(rows):
        rest = shown[len(rows) :]
        time = sum(node.time_s for node in rest)
        blank = [""] * (len(COLUMNS) - 4)
        name = units.plural(len(rest), "more node")
        rows.append([name, *blank, units.seconds(time), units.share(time / roofline.latency_s), ""])
    return "\n".join([labelled(_facts(roofline)), tabulated(rows, COLUMNS, "lllrrrrrrrs", format, drop=LEAVING)])


def device_facts(device: Device) -> list[tuple[str, str]]:
    """What a device can do, and who says so."""
    peaks = ", ".join(f"{dtype} {units.rate(value, unit_of(dtype))}" for dtype, value in device.flops_per_s.items())
    if device.clock != 1:
        peaks += f"; bounds at {device.clock:g} × that, the highest clock"
    facts = [("Device", device.name), ("Peaks", peaks), ("Memory", memory_text(device))]
    if device.overhead_s:
        facts.append(("Overhead", f"{units.seconds(device.overhead_s)} for each operator at least"))
    return [*facts, ("Source", device.source)] if device.source else facts


def memory_text(device: Device) -> str:
    """Bandwidth and size of a device's memory."""
    return f"{units.rate(device.bytes_per_s, 'B/s')}, {units.rate(device.memory_bytes, 'B')}"


def unit_of(dtype: str) -> str:
    """FLOPS, or OPS for integers."""
    return "OPS" if dtype.startswith("int") else "FLOPS"


def time_shares(times: Mapping[str, float], whole: float) -> str:
    """Seconds by name, each with its share: "compute 1.20 ms (80.0%), memory …"."""
    return ", ".join(f"{n} {units.seconds(t)} ({units.share(t / whole)})" for n, t in times.items()) or "nothing"


def _facts(roofline: Times) -> list[tuple[str, str]]:
    whole = roofline.latency_s
    kind = "Estimate" if roofline.device.efficiency else "Lower bound"
    how = f"{units.rate(roofline.flops_per_s, 'FLOPS')}; nodes one after the other, fusion: {roofline.fusion}"
    if roofline.dtype:
        how += f", reckoned at the {roofline.dtype} peak"
    path = f"{units.seconds(roofline.critical_path_s)} along {units.plural(len(roofline.critical_path), 'node')}"
    facts = [
        ("Model", roofline.model_type),
        *device_facts(roofline.device),
        (kind, f"{units.seconds(whole)}, {how}"),
        ("Critical path", f"{path}, with unlimited parallelism"),
        ("Bound by", time_shares(roofline.by_bound(), whole)),
        ("By family", time_shares(roofline.by_family(), whole)),
    ]
    if roofline.uncosted:
        runs = units.plural(roofline.uncosted, "run")
        facts.append(("Not costed", f"{runs} of operators without a rule: their arithmetic is missing here"))
    return [*facts, *(("Note", note) for note in roofline.notes)]


def _row(node: NodeTime, whole: float) -> list[str]:
    return [
        node.name,
        node.module,
        node.family,
        units.count(node.flops),
        units.byte_size(node.bytes_moved),
        units.ratio(node.arithmetic_intensity),
        units.seconds(node.compute_s),
        units.seconds(node.memory_s),
        units.seconds(node.time_s),
        units.share(node.time_s / whole),
        node.bound,
    ]
