"""Many names of modules in few words: `layers.0`, `layers.1`, `layers.2` are `layers.0–2`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Run:
    """Names that differ in one number, which counts from `first` to `last`; or one name, all of it in `before`."""

    before: str
    first: int = 0
    last: int = 0
    after: str = ""

    def __str__(self) -> str:
        return f"{self.before}{self.first}–{self.last}{self.after}" if self.last > self.first else self.before

    @property
    def code(self) -> str:
        """The names as items of a Python list."""
        if self.last == self.first:
            return repr(self.before)
        pattern = f"{self.before}{{i}}{self.after}"
        return f"*(f{pattern!r} for i in range({self.first}, {self.last + 1}))"


def runs(names: Iterable[str]) -> list[Run]:
    """The names, those that count up in one of their numbers taken together.

    >>> [str(run) for run in runs(["stem", "layers.0.mlp", "layers.1.mlp", "layers.2.mlp", "layers.4.mlp"])]
    ['stem', 'layers.0–2.mlp', 'layers.4.mlp']
    """
    left = dict.fromkeys(names)
    found = []
    while left:
        name = next(iter(left))
        run = max(_counting(name, left), key=lambda r: r.last - r.first, default=Run(name))
        found.append(run if run.last > run.first else Run(name))
        del left[name]
        for i in range(run.first + 1, run.last + 1):
            del left[f"{run.before}{i}{run.after}"]
    return found


def _counting(name: str, known: Iterable[str]) -> Iterator[Run]:
    """Runs that start at a name, by each number in it."""
    known = set(known)
    for number in re.finditer(r"(?<!\d)(?:0|[1-9]\d*)(?!\d)", name):
        before, after, first = name[: number.start()], name[number.end() :], int(number[0])
        last = first
        while f"{before}{last + 1}{after}" in known:
            last += 1
        yield Run(before, first, last, after)


def kind(name: str) -> str:
    """A name without its numbers, which modules of one kind have in common.

    >>> kind("layers.10.mlp")
    'layers.*.mlp'
    """
    return re.sub(r"\d+", "*", name)
