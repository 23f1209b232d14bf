"""A measurement as text and as plain data: speeds, what was predicted, and where the time went."""

from __future__ import annotations

from typing import Any

from ..speed.as_roofline import device_facts
from ..text import units
from ..text.tables import labelled, tabulated
from .measured import Measured, NodeMeasurement, OperatorTime, Timing

NODE_COLUMNS = (
    "node", "module", "family", "measured", "± spread", "share", "predicted", "reached", "FLOPS", "B/s", "bound by",
)  # fmt: skip
LEAVING = ("B/s", "± spread", "FLOPS", "family", "module", "bound by", "reached", "predicted", "share")
"""In the order in which they leave a narrow table."""
FAMILY_COLUMNS = ("family", "measured", "share", "predicted", "reached")
OPERATOR_COLUMNS = ("operator", "calls", "time", "share")


OVER = (
    "over 100% ran faster than memory and the arithmetic of the definition allow: served by caches, or, of a "
    "convolution, by an algorithm with fewer multiplications (Winograd)"
)


def measurement_table(measurement: Measured, top: int | None, format: str, sort: bool) -> str:  # noqa: A002
    """Totals, families, then nodes, the longest first or in execution order, and operators if they were profiled.

    Raises:
        UnknownNameError: the format is not known.
    """
    parts = [labelled(_facts(measurement))]
    if measurement.nodes:
        parts.append(_families(measurement, format))
        parts.append(_nodes(measurement, top, format, sort))
    if measurement.operators:
        parts.append("Operators in one more run, by PyTorch's profiler (which itself takes time)")
        parts.append(_operators(measurement.operators, top, format))
    return "\n".join(parts)


def _facts(m: Measured) -> list[tuple[str, str]]:
    runs = units.plural(len(m.forward.seconds), "run")
    reached = units.share(m.predicted_s / m.forward.median)
    peak = m.roofline.device.peak(m.dtype)
    facts = [
        ("Model", f"{m.report.model_type} on {m.place}, {m.dtype}"),
        *device_facts(m.roofline.device),
        ("Forward", f"{_timing(m.forward)}, median and spread of {runs}"),
        ("Predicted", f"{units.seconds(m.predicted_s)}: {reached} of the speed that the roofline allows"),
        ("Speed", f"{units.rate(m.flops_per_s, 'FLOPS')}, {units.share(m.share_of_peak)} of the peak"),
        ("Bandwidth", f"{units.rate(m.bytes_per_s, 'B/s')}, {units.share(m.share_of_bandwidth)} of the peak"),
    ]
    if m.throughput is not None:
        facts.append(("Throughput", f"{m.throughput:.4g} samples per second"))
    if m.training is not None:
        step = m.training
        facts += [
            ("Training step", f"{_timing(step.total)}, without optimizer"),
            ("  forward", f"{_timing(step.forward)}, predicted {units.seconds(step.predicted_forward_s)}"),
            ("  backward", f"{_timing(step.backward)}, predicted {units.seconds(step.predicted_backward_s)}"),
            ("  speed", _of_peak(step.flops / step.total.median, peak)),
        ]
        if m.training_throughput is not None:
            facts.append(("  throughput", f"{m.training_throughput:.4g} samples per second"))
    facts.append(("MFU", f"{units.share(m.mfu)}{' (training step)' if m.training is not None else ''}"))
    if m.nodes:
        facts.append(("Node by node", f"{units.seconds(m.nodes_s)} in {units.plural(len(m.nodes), 'node')}"))
    return [*facts, *(("Note", note) for note in _notes(m))]


def _notes(m: Measured) -> tuple[str, ...]:
    over = sum(node.efficiency > 1 for node in m.nodes if node.predicted.time_s)
    said = (f"{units.plural(over, 'node')} {OVER}",) if over else ()
    return (*m.roofline.notes, *said, *m.notes)


def _timing(timing: Timing) -> str:
    return f"{units.seconds(timing.median)} ± {units.seconds(timing.spread)}"


def _of_peak(flops_per_s: float, peak: float) -> str:
    return f"{units.rate(flops_per_s, 'FLOPS')}, {units.share(flops_per_s / peak)} of the peak"


def _families(m: Measured, format: str) -> str:  # noqa: A002
    rows = [
        [family, units.seconds(t), units.share(t / m.nodes_s), units.seconds(p), units.share(p / t if t else 0.0)]
        for family, (t, p) in m.by_family().items()
    ]
    return tabulated(rows, FAMILY_COLUMNS, "lrrrr", format)


def _nodes(m: Measured, top: int | None, format: str, sort: bool) -> str:  # noqa: A002
    shown = sorted(m.nodes, key=lambda node: -node.timing.median) if sort else list(m.nodes)
    rows = [_node(node, m.nodes_s) for node in shown[:top]]
    if len(shown) > len(rows):
        rest = sum(node.timing.median for node in shown[len(rows) :])
        name = units.plural(len(shown) - len(rows), "more node")
        row = [name, "", "", units.seconds(rest), "", units.share(rest / m.nodes_s)]
        rows.append([*row, *[""] * (len(NODE_COLUMNS) - len(row))])
    return tabulated(rows, NODE_COLUMNS, "lllrrrrrrrs", format, drop=LEAVING)


def _node(node: NodeMeasurement, whole: float) -> list[str]:
    nothing = not node.predicted.time_s
    return [
        node.name,
        node.module,
        node.predicted.family,
        units.seconds(node.timing.median),
        units.seconds(node.timing.spread),
        units.share(node.timing.median / whole if whole else 0.0),
        units.NOTHING if nothing else units.seconds(node.predicted.time_s),
        units.NOTHING if nothing else units.share(node.efficiency),
        units.rate(node.flops_per_s, "FLOPS") if node.cost.flops else units.NOTHING,
        units.rate(node.bytes_per_s, "B/s") if node.cost.bytes_moved else units.NOTHING,
        node.predicted.bound,
    ]


def _operators(operators: tuple[OperatorTime, ...], top: int | None, format: str) -> str:  # noqa: A002
    whole = sum(op.seconds for op in operators)
    rows = [[o.name, f"{o.calls:,}", units.seconds(o.seconds), units.share(o.seconds / whole)] for o in operators]
    return tabulated(rows[:top], OPERATOR_COLUMNS, "lrrr", format)


def measurement_dict(m: Measured) -> dict[str, Any]:
    """The numbers as dicts, lists, strings and numbers; all times in seconds."""
    device = m.roofline.device
    result: dict[str, Any] = {
        "model": m.report.model_type,
        "place": m.place,
        "dtype": m.dtype,
        "batch": m.batch,
        "device": {
            "name": device.name,
            "source": device.source,
            "flops_per_s": dict(device.flops_per_s),
            "bytes_per_s": device.bytes_per_s,
            "overhead_s": device.overhead_s,
            "efficiency": dict(device.efficiency),
        },
        "macs": m.report.macs,
        "flops": m.report.flops,
        "bytes_moved": m.report.cost.bytes_moved,
        "forward": {**_times(m.forward), "predicted_s": m.predicted_s},
        "flops_per_s": m.flops_per_s,
        "bytes_per_s": m.bytes_per_s,
        "share_of_peak": m.share_of_peak,
        "mfu": m.mfu,
        "throughput": m.throughput,
        "families": {f: {"measured_s": t, "predicted_s": p} for f, (t, p) in m.by_family().items()},
        "nodes": [_node_dict(node) for node in m.nodes],
        "operators": [{"name": op.name, "calls": op.calls, "seconds": op.seconds} for op in m.operators],
        "notes": list(_notes(m)),
    }
    if m.training is not None:
        step = m.training
        result["training"] = {
            "forward": {**_times(step.forward), "predicted_s": step.predicted_forward_s},
            "backward": {**_times(step.backward), "predicted_s": step.predicted_backward_s},
            "total": {**_times(step.total), "predicted_s": step.predicted_s},
            "flops": step.flops,
            "throughput": m.training_throughput,
        }
    return result


def _times(timing: Timing) -> dict[str, Any]:
    return {"median_s": timing.median, "spread_s": timing.spread, "seconds": list(timing.seconds)}


def _node_dict(node: NodeMeasurement) -> dict[str, Any]:
    return {
        "name": node.name,
        "module": node.module,
        "family": node.predicted.family,
        "flops": node.cost.flops,
        "bytes_moved": node.cost.bytes_moved,
        **_times(node.timing),
        "predicted_s": node.predicted.time_s,
        "bound": node.predicted.bound,
    }
