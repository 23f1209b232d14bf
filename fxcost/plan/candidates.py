"""Modules that are worth checkpointing: those that keep something for the backward pass that nobody else needs."""

from __future__ import annotations

from collections.abc import Iterable

from ..memory.lifetimes import LiveTensor
from .steps import Step, within

MOST = 0.5
"""A module that keeps a larger part of all that is kept is passed over for what is in it: to recompute it takes as much
memory again."""


def levels(step: Step, called: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """Modules among those that were called, the outermost first; none of a level is in another of it."""
    kept = _kept(step, called)
    whole = sum(life.nbytes for life in _saved(step))
    names = sorted(kept, key=lambda name: name.count("."))
    inside = {name: [n for n in names if n != name and within(n, name)] for name in names}
    names = [n for n in names if not inside[n] or kept[n][0] <= MOST * whole]
    chosen: dict[str, int] = {}
    for name in names:
        above = [n for n in chosen if within(name, n)]
        if not any(kept[n] == kept[name] for n in above):  # all that the module above does, it does
            chosen[name] = len(above)
    return tuple(
        tuple(name for name, depth in chosen.items() if depth == level)
        for level in range(max(chosen.values(), default=-1) + 1)
    )


def _saved(step: Step) -> list[LiveTensor]:
    """What the forward pass made and kept."""
    saved = {number for number, _ in step.record.saved}
    return [life for life in step.lives if life.storage in saved and life.born < step.forward]


def _kept(step: Step, called: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Of each module that keeps something: how many bytes that only it uses, and how many operators it runs."""
    modules, users = step.modules(), step.users()
    wanted = set(called) - {""}
    kept: dict[str, int] = {}
    runs: dict[str, int] = {}
    for path in modules:
        for name in _around(path, wanted):
            runs[name] = runs.get(name, 0) + 1
    for life in _saved(step):
        where = [modules[tick] for tick in users.get(life.storage, ())]
        for name in _around(modules[life.born], wanted):
            if all(within(path, name) for path in where):
                kept[name] = kept.get(name, 0) + life.nbytes
    return {name: (nbytes, runs[name]) for name, nbytes in kept.items()}


def _around(path: str, wanted: set[str]) -> list[str]:
    """The wanted modules that a path is in."""
    parts = path.split(".")
    return [name for i in range(len(parts)) if (name := ".".join(parts[: i + 1])) in wanted]
