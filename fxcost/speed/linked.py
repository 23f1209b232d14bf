"""How fast one rank of a sharded model could run: its own work, and what it communicates over its links.

Both are lower bounds, and so are their two combinations: `overlapped_s`, if all that may run beside the rank's work
does, and `serial_s`, if nothing does. A run lies above the first; one that overlaps less than all that it could may lie
anywhere. Collectives that block (tensor and sequence parallel: the next operator needs the result) add to the work in
both; those of FSDP and DDP, sends and receives may run beside it, those along one dimension one after the other.

Not here: what collectives and kernels take from each other (memory bandwidth, processors), stalls of pipelines.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from ..communication.links import Link, link_of, links_of, seconds
from ..errors import DeviceError
from ..errors.arguments import checked
from ..memory.analysis import Analysis
from ..records.communication import Collective
from ..records.cost import Cost, NodeCost
from ..rules.communication import FAMILY
from ..text import units
from ..text.tables import labelled
from .devices import Device
from .roofline import Roofline, roofline, step_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class RankTime:
    """Seconds of one rank: `compute_s` of its own work, and of its collectives by dimension of the mesh.

    The work waits for those of `blocking_s`; those of `beside_s` may run beside it.
    """

    compute_s: float
    blocking_s: Mapping[str, float] = field(default_factory=dict)
    beside_s: Mapping[str, float] = field(default_factory=dict)

    @property
    def busy_s(self) -> float:
        """The rank's work and what it must wait for."""
        return self.compute_s + sum(self.blocking_s.values())

    @property
    def overlapped_s(self) -> float:
        """If all runs beside the work that may: no step is faster."""
        return max(self.busy_s, *self.beside_s.values()) if self.beside_s else self.busy_s

    @property
    def serial_s(self) -> float:
        """If nothing runs beside anything, each at its bound."""
        return self.busy_s + sum(self.beside_s.values())

    @property
    def exposed_s(self) -> dict[str, float]:
        """What communication adds to the work at least, by dimension: what blocks, and what is longer than the work."""
        exposed = dict(self.blocking_s)
        longest = max(self.beside_s, key=lambda dim: self.beside_s[dim], default=None)
        if longest is not None and self.beside_s[longest] > self.busy_s:
            exposed[longest] = exposed.get(longest, 0.0) + self.beside_s[longest] - self.busy_s
        return exposed


@checked
@dataclass(frozen=True, kw_only=True)
class RankRoofline(Roofline):
    """The roofline of one rank: that of its own work in the forward pass, and bounds with its links.

    `passes` has "forward", and "step" if a training step was analysed; the properties are those of the last.
    """

    links: Mapping[str, Link]
    passes: Mapping[str, RankTime]

    @property
    def overlapped_s(self) -> float:
        """A lower bound (seconds): all that may run beside the rank's work does."""
        return self._last.overlapped_s

    @property
    def serial_s(self) -> float:
        """The same bounds one after the other (seconds): nothing runs beside anything."""
        return self._last.serial_s

    @property
    def exposed_s(self) -> dict[str, float]:
        """What communication adds to the rank's work at least (seconds), by dimension of the mesh."""
        return self._last.exposed_s

    @property
    def _last(self) -> RankTime:
        return list(self.passes.values())[-1]

    def table(self, top: int | None = 20, format: str = "rounded_outline", *, sort: bool = True) -> str:  # noqa: A002
        """As :meth:`Roofline.table`, with the bounds of communication above it."""
        facts = [(f"Link {dim}", _described(link)) for dim, link in self.links.items()]
        for name, time in self.passes.items():
            facts.append((f"Rank, {name}", f"at least {units.seconds(time.overlapped_s)} if all overlaps that may"))
            facts.append(("", f"{units.seconds(time.serial_s)} with nothing beside anything, each at its bound"))
            facts.append(("  work", units.seconds(time.compute_s)))
            facts.extend((f"  {dim}, waited for", units.seconds(s)) for dim, s in time.blocking_s.items())
            facts.extend((f"  {dim}, beside", units.seconds(s)) for dim, s in time.beside_s.items())
        return "\n".join([labelled(facts), super().table(top, format, sort=sort)])


def rank_roofline(report: Analysis, device: Device | str, dtype: Any, fusion: str, links: Any) -> Roofline:
    """The roofline of a report: with `links` a :class:`RankRoofline`. See :meth:`fxcost.Report.roofline`.

    Raises:
        DeviceError: as :func:`roofline`; the model is not sharded, or a dimension of its mesh has no link.
    """
    if links is None:
        return roofline(report, device, dtype, fusion)
    if report.rank is None:
        raise DeviceError("links= are those between ranks: analyse the model with mesh= and parallelize=")
    found = links_of(links, dict(report.rank.mesh))
    own = roofline(replace(report, nodes=tuple(map(_without_communication, report.nodes))), device, dtype, fusion)
    passes = {"forward": _time(own.latency_s, report.communication.collectives, found)}
    if report.training is not None:
        reckoned = own.dtype or max(
            report.macs_by_dtype, key=lambda name: report.macs_by_dtype[name], default="float32"
        )
        collectives = report.training.collectives
        moved = sum(c.payload_bytes + c.payload_bytes // c.group.size for c in collectives)
        whole = sum(step_seconds(report.training, own.device, reckoned))
        passes["step"] = _time(max(0.0, whole - 2 * moved / own.device.bytes_per_s), collectives, found)
    kept = {f.name: getattr(own, f.name) for f in fields(own)}
    return RankRoofline(**kept, links=found, passes=passes)


def _without_communication(node: NodeCost) -> NodeCost:
    """A node without its collectives, whose time is that of the links."""
    if all(op.family != FAMILY for op in node.operations):
        return node
    operations = tuple(op for op in node.operations if op.family != FAMILY)
    return NodeCost(node.record, operations, Cost.total(op.cost for op in operations))


def _time(compute_s: float, collectives: Iterable[Collective], links: Mapping[str, Link]) -> RankTime:
    blocking: dict[str, float] = {}
    beside: dict[str, float] = {}
    for c in collectives:
        sums = blocking if c.blocking else beside
        dim = c.mesh_dim or "other groups"
        sums[dim] = sums.get(dim, 0.0) + seconds(c, link_of(c.group, links))
    return RankTime(compute_s=compute_s, blocking_s=blocking, beside_s=beside)


def _described(link: Link) -> str:
    latency = f", latency {units.seconds(link.latency_s)}" if link.latency_s else ""
    source = f"; {link.source}" if link.source else ""
    return f"{link.name or 'given'}: {units.rate(link.bytes_per_s, 'B/s')} in one direction{latency}{source}"
