"""What a rank sends and receives, added up: by kind, by dimension of the mesh, by module, by phase."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

from ..errors.arguments import checked
from ..records.communication import Collective


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Collectives added up: how many, and bytes as :class:`Collective` has them."""

    count: int = 0
    payload_bytes: int = 0
    wire_bytes: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0

    @staticmethod
    def of(collectives: Iterable[Collective]) -> Traffic:
        """The sum of some collectives."""
        found = list(collectives)
        return Traffic(
            count=len(found),
            payload_bytes=sum(c.payload_bytes for c in found),
            wire_bytes=sum(c.wire_bytes for c in found),
            sent_bytes=sum(c.sent_bytes for c in found),
            received_bytes=sum(c.received_bytes for c in found),
        )


@checked
@dataclass(frozen=True, kw_only=True)
class Communication:
    """What one rank communicates, in the order in which it does (units: bytes)."""

    collectives: tuple[Collective, ...]

    @cached_property
    def traffic(self) -> Traffic:
        """All collectives together."""
        return Traffic.of(self.collectives)

    @property
    def payload_bytes(self) -> int:
        """Bytes of the tensors that are reduced, gathered and so on, whole."""
        return self.traffic.payload_bytes

    @property
    def wire_bytes(self) -> int:
        """Bytes over this rank's link, for each collective in the direction in which more goes."""
        return self.traffic.wire_bytes

    @property
    def sent_bytes(self) -> int:
        """Bytes that leave this rank."""
        return self.traffic.sent_bytes

    @property
    def received_bytes(self) -> int:
        """Bytes that reach this rank."""
        return self.traffic.received_bytes

    def by_kind(self) -> dict[str, Traffic]:
        """Sums by kind: "all_reduce", "all_gather" …; they add up to the total."""
        return self._summed(lambda c: c.kind)

    def by_mesh_dim(self) -> dict[str, Traffic]:
        """Sums by dimension of the mesh; "" for groups that lie along none."""
        return self._summed(lambda c: c.mesh_dim)

    def by_phase(self) -> dict[str, Traffic]:
        """Sums by phase: "forward", "backward", "recomputed"."""
        return self._summed(lambda c: c.phase)

    def by_module(self) -> dict[str, Traffic]:
        """Sums by module FQN, children included; "" is the root and has all."""
        inside: dict[str, list[Collective]] = {"": list(self.collectives)}
        for c in self.collectives:
            name = c.module
            while name:
                inside.setdefault(name, []).append(c)
                name = name.rpartition(".")[0]
        return {name: Traffic.of(found) for name, found in sorted(inside.items(), key=lambda item: item[0].split("."))}

    def _summed(self, key: Callable[[Collective], str]) -> dict[str, Traffic]:
        groups: dict[str, list[Collective]] = {}
        for c in self.collectives:
            groups.setdefault(key(c), []).append(c)
        return {name: Traffic.of(found) for name, found in groups.items()}

    def table(self, top: int = 20, format: str = "rounded_outline") -> str:  # noqa: A002  tabulate's name for it
        """Sums by phase, kind and group, then the largest collectives by module, as text in any format of tabulate.

        Raises:
            UnknownNameError: the format is not known.
        """
        from .as_table import communication_table

        return communication_table(self.collectives, top, format)

    def __str__(self) -> str:
        return self.table()
