"""Where a formula holds: for each dim a range and a step, why it ends there, and at how many points that was seen."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .dims import Point


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a formula does not hold at a size: what was seen there, in which module, and at which line.

    `line` is `file:line (code)` of the user's code, "" where it is not known.
    """

    size: int
    text: str
    module: str = ""
    line: str = ""

    def __str__(self) -> str:
        line = f", at {self.line}" if self.line and self.line not in self.text else ""
        return f"at {self.size}: {self.text}{line}"


@dataclass(frozen=True, slots=True)
class Range:
    """Sizes of one dim: `low`, `low` + `step` … `high`.

    `below`, `above` and `between` say why no smaller, no larger and no other sizes are in it; None where the user asked
    for no more.
    """

    low: int
    high: int
    step: int = 1
    below: Reason | None = None
    above: Reason | None = None
    between: Reason | None = None

    @property
    def residue(self) -> int:
        """What sizes leave when divided by `step`."""
        return self.low % self.step

    @property
    def is_fixed(self) -> bool:
        """True if the range has one size only."""
        return self.low == self.high

    def __contains__(self, size: object) -> bool:
        return isinstance(size, int) and self.low <= size <= self.high and (size - self.low) % self.step == 0

    def __len__(self) -> int:
        return (self.high - self.low) // self.step + 1

    def __str__(self) -> str:
        if self.is_fixed:
            return f"= {self.low}"
        text = f"{self.low} … {self.high}"
        return text if self.step == 1 else f"{text}, ≡ {self.residue} mod {self.step}"

    def reasons(self) -> Iterator[Reason]:
        """Why it ends where it ends."""
        yield from (reason for reason in (self.below, self.above, self.between) if reason is not None)


@dataclass(frozen=True)
class Domain(Mapping[str, Range]):
    """The range of each dim. A formula was seen to hold at `verified` points of it; it is not proven for the others.

    `analyses` is how many were run to find it, those that failed included.
    """

    ranges: Mapping[str, Range]
    verified: int = 0
    analyses: int = 0
    notes: tuple[str, ...] = field(default=())

    def __getitem__(self, name: str) -> Range:
        return self.ranges[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.ranges)

    def __len__(self) -> int:
        return len(self.ranges)

    def covers(self, point: Point) -> bool:
        """True if every dim of a point is in its range."""
        return all(name in point and point[name] in sizes for name, sizes in self.ranges.items())

    def sample(self, chance: random.Random) -> dict[str, int]:
        """A random point: each dim evenly among its sizes."""
        return {name: r.low + r.step * chance.randrange(len(r)) for name, r in self.ranges.items()}

    def __str__(self) -> str:
        lines = []
        for name, sizes in self.ranges.items():
            lines.append(f"{name} {sizes}" if sizes.is_fixed else f"{name} = {sizes}")
            lines.extend(f"  {reason}" for reason in sizes.reasons())
        return "\n".join([*lines, *self.notes, f"verified at {self.verified} points"])

    def to_dict(self) -> dict[str, Any]:
        """The domain as plain data."""
        return {
            "ranges": {name: _range_dict(sizes) for name, sizes in self.ranges.items()},
            "verified": self.verified,
            "analyses": self.analyses,
            "notes": list(self.notes),
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Domain:
        """What :meth:`to_dict` gave, as a domain again."""
        ranges = {name: _range_of(sizes) for name, sizes in data["ranges"].items()}
        return Domain(ranges, data["verified"], data["analyses"], tuple(data["notes"]))


_ENDS = ("below", "above", "between")


def _range_dict(sizes: Range) -> dict[str, Any]:
    reasons = {end: getattr(sizes, end) for end in _ENDS}
    told = {
        end: None if r is None else {"size": r.size, "text": r.text, "module": r.module, "line": r.line}
        for end, r in reasons.items()
    }
    return {"low": sizes.low, "high": sizes.high, "step": sizes.step, **told}


def _range_of(data: Mapping[str, Any]) -> Range:
    reasons = {end: None if data[end] is None else Reason(**data[end]) for end in _ENDS}
    return Range(data["low"], data["high"], data["step"], **reasons)
