"""What changed between two reports: module by module, in parameters, MACs, FLOPs and bytes, and in peak memory.

Rows are the modules of both models as one tree. Each has its own numbers and those with its children, before and
after; own changes add up to the change of the total. Not here: which module is which (`alignment.py`), and text.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, fields

from ..errors.arguments import checked
from ..records.cost import Cost
from ..report import Report
from ..totals.alignment import align
from ..totals.module_tree import ModuleCost
from ..totals.parameters import ParameterTotals
from ..totals.sums import Sums


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The numbers that are compared: parameters, MACs, FLOPs, and bytes moved."""

    params: int = 0
    macs: int = 0
    flops: int = 0
    bytes: int = 0

    def __sub__(self, other: Figures) -> Figures:
        return Figures(**{f.name: getattr(self, f.name) - getattr(other, f.name) for f in fields(self)})

    def __add__(self, other: Figures) -> Figures:
        return Figures(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)})


NOTHING = Figures()


def _figures(parameters: ParameterTotals, cost: Cost) -> Figures:
    return Figures(params=parameters.params, macs=cost.macs, flops=cost.flops, bytes=cost.bytes_moved)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A number of the whole model, before and after."""

    name: str
    before: int
    after: int

    @property
    def change(self) -> int:
        """After − before."""
        return self.after - self.before


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleChange:
    """A module in both models, or in one. `before` and `after` are its FQNs, None where there is no such module.

    `parent` is the position of its parent among the rows, -1 for the root. `was` and `is_now` include its children,
    `own_was` and `own_now` don't; all zero where the module is not there. `moved` is true where it has another name
    than before, or another parent; what is below a renamed module is not renamed itself.
    """

    before: str | None
    after: str | None
    type_before: str
    type_after: str
    parent: int
    depth: int
    moved: bool
    was: Figures
    is_now: Figures
    own_was: Figures
    own_now: Figures

    @property
    def name(self) -> str:
        """The FQN after the change, or before it for a module that was removed."""
        return (self.before or "") if self.after is None else self.after

    @property
    def change(self) -> Figures:
        """After − before, children included."""
        return self.is_now - self.was

    @property
    def own_change(self) -> Figures:
        """After − before, without the children."""
        return self.own_now - self.own_was

    @property
    def kind(self) -> str:
        """What happened: "added", "removed", "renamed", "retyped" (another class), "changed", or "" for nothing.

        A module whose numbers changed only through its children is not changed itself.
        """
        if self.before is None or self.after is None:
            return "added" if self.before is None else "removed"
        if self.type_before != self.type_after and self.parent >= 0:
            return "retyped"
        return "renamed" if self.moved else "changed" if self.own_change != NOTHING else ""


@checked
@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Comparison:
    """Two reports, and what changed. `rows` are the modules of both models, parents before children.

    `names` is what views call the two; empty texts where nobody named them.
    """

    before: Report
    after: Report
    totals: tuple[Change, ...]
    rows: tuple[ModuleChange, ...]
    names: tuple[str, str] = ("", "")

    def __bool__(self) -> bool:
        return any(total.change for total in self.totals) or any(row.kind for row in self.rows)

    def kinds(self, kind: str) -> tuple[ModuleChange, ...]:
        """The rows of one kind: "added", "removed", "renamed", "retyped" or "changed"."""
        return tuple(row for row in self.rows if row.kind == kind)


Place = tuple[str | None, str | None]
"""A module's FQN before and after."""


def rows_of(before: Sums, after: Sums) -> Iterator[ModuleChange]:
    """Both trees as one, in preorder: the order of the second model, removed modules where they stood."""
    partner = align(before, after)
    back = {b: a for a, b in partner.items()}
    stack: list[tuple[Place, int, int]] = [(("", ""), -1, 0)]
    places: list[Place] = []
    while stack:
        (a, b), parent, depth = stack.pop()
        was = before.modules[a] if a is not None else None
        now = after.modules[b] if b is not None else None
        yield _row(was, now, parent, depth, moved=_moved(was, now, partner))
        position = len(places)
        places.append((a, b))
        stack.extend((place, position, depth + 1) for place in reversed(_below(was, now, partner, back)))


def _moved(was: ModuleCost | None, now: ModuleCost | None, partner: dict[str, str]) -> bool:
    """True for a module that has another name or another parent than before."""
    if was is None or now is None or was.parent is None or now.parent is None:
        return False
    if now.name == was.name or was.name in now.aliases or now.name in was.aliases:
        return False
    return was.local_name != now.local_name or partner.get(was.parent) != now.parent


def _below(
    was: ModuleCost | None, now: ModuleCost | None, partner: dict[str, str], back: dict[str, str]
) -> list[Place]:
    """The children of a row: those of the second model, and those that were removed after the one they followed."""
    present = [(back.get(child), child) for child in (now.children if now is not None else ())]
    known = {a for a, _ in present if a is not None}
    removed: defaultdict[str | None, list[Place]] = defaultdict(list)
    before_it: str | None = None
    for child in was.children if was is not None else ():
        if child in known:
            before_it = child
        elif child not in partner:
            removed[before_it].append((child, None))
    places: list[Place] = list(removed[None])
    for a, b in present:
        places.append((a, b))
        if a is not None:
            places.extend(removed[a])
    return places


def _row(was: ModuleCost | None, now: ModuleCost | None, parent: int, depth: int, *, moved: bool) -> ModuleChange:
    return ModuleChange(
        before=was.name if was is not None else None,
        after=now.name if now is not None else None,
        type_before=was.type_name if was is not None else "",
        type_after=now.type_name if now is not None else "",
        parent=parent,
        depth=depth,
        moved=moved,
        was=_figures(was.parameters, was.cost) if was is not None else NOTHING,
        is_now=_figures(now.parameters, now.cost) if now is not None else NOTHING,
        own_was=_figures(was.own_parameters, was.own) if was is not None else NOTHING,
        own_now=_figures(now.own_parameters, now.own) if now is not None else NOTHING,
    )
