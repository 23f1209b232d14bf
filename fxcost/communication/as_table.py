"""Communication as text: sums by phase, kind and group, and the modules for which most is sent."""

from __future__ import annotations

from collections.abc import Sequence

from ..records.communication import Collective
from ..text import units
from ..text.tables import tabulated

SUMS = ("phase", "collective", "group", "ranks", "dtype", "count", "payload", "sent", "received")
MODULES = ("module", "collective", "group", "count", "payload", "sent", "share")


def communication_table(collectives: Sequence[Collective], top: int, format: str) -> str:  # noqa: A002
    """Two tables, or a sentence where nothing is communicated.

    Raises:
        UnknownNameError: the format is not known.
    """
    if not collectives:
        return "Nothing is communicated."
    sums: dict[tuple[str, ...], list[Collective]] = {}
    modules: dict[tuple[str, ...], list[Collective]] = {}
    for c in collectives:
        sums.setdefault((c.phase, c.kind, str(c.group), str(c.group.size), c.dtype), []).append(c)
        modules.setdefault((c.module, c.kind, str(c.group)), []).append(c)
    whole = _sent(collectives)
    rows = [[*key, f"{len(found):,}", *map(units.byte_size, _bytes(found))] for key, found in sums.items()]
    largest = sorted(modules.items(), key=lambda item: -_sent(item[1]))
    lines = [
        [
            *key,
            f"{len(found):,}",
            units.byte_size(_bytes(found)[0]),
            units.byte_size(_sent(found)),
            _share(found, whole),
        ]
        for key, found in largest[:top]
    ]
    said = f"Sent by this rank: {units.byte_size(whole)} in {units.plural(len(collectives), 'collective')}"
    parts = [said, tabulated(rows, SUMS, "lllrlrrrr", format), tabulated(lines, MODULES, "lllrrrr", format)]
    if len(largest) > top:
        parts.append(f"and {units.plural(len(largest) - top, 'more row')}")
    return "\n".join(parts)


def _bytes(found: Sequence[Collective]) -> tuple[int, int, int]:
    payload = sum(c.payload_bytes for c in found)
    return payload, _sent(found), sum(c.received_bytes for c in found)


def _sent(found: Sequence[Collective]) -> int:
    return sum(c.sent_bytes for c in found)


def _share(found: Sequence[Collective], whole: int) -> str:
    return units.percent(_sent(found), whole)
