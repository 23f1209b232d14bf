"""What a step would need with any choice of modules checkpointed, from few steps that were run.

With nothing checkpointed, so many bytes are alive at each tick of a step. To checkpoint a module changes that: what it
kept inside is gone until its own backward pass, what it was given stays for that. The changes of modules that are not
inside each other add up, but for what two of them share. The moments at which a module runs again come on top. All this
is read off the step without checkpoints, and one step for each level of modules, with all of them checkpointed.

Exact where a storage's life hangs on one module's choice, as in chains of blocks; else an estimate, so the answer is
verified by a step of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ..errors import PlanError
from ..memory.lifetimes import LiveTensor
from .steps import Step, within

Ticks = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Outlook:
    """Bytes alive at each telling moment: `alive[i]` with nothing checkpointed, and `change[i, m]` with module m.

    `resident` bytes come on top of all; `costs[m]` are the FLOPs that checkpointing module m runs again. What is alive
    while a module runs again counts only if it is checkpointed: its row is below zero without it.
    """

    names: tuple[str, ...]
    costs: tuple[int, ...]
    resident: int
    alive: Ticks
    change: Ticks

    def peak(self, chosen: Iterable[int]) -> int:
        """The peak in bytes with these modules checkpointed (numbers; none inside another)."""
        return self.resident + int((self.alive + self.change[:, list(chosen)].sum(1)).max())

    def cost(self, chosen: Iterable[int]) -> int:
        """The FLOPs that are run again."""
        return sum(self.costs[m] for m in chosen)


@dataclass(frozen=True, slots=True)
class _Again:
    """While module number `module` runs again: bytes alive with no other one checkpointed, and before which tick."""

    module: int
    tick: int
    alive: int


def outlook(base: Step, runs: Sequence[tuple[Sequence[str], Step]]) -> Outlook:
    """From the step without checkpoints, and for each level its modules and the step with all of them checkpointed.

    Raises:
        PlanError: a step with checkpoints does something else than the one without.
    """
    names: list[str] = []
    costs: list[int] = []
    changes: list[Ticks] = []
    again: list[_Again] = []
    for level, step in runs:
        change, moments = _changes(base, step, level)
        again += [replace(moment, module=len(names) + moment.module) for moment in moments]
        names += level
        costs += [step.training.modules[name].recomputed.flops for name in level]
        changes.append(change)
    change = np.concatenate(changes).T
    tick, which = np.unique(change, axis=0, return_inverse=True)
    alive = np.zeros(len(tick), np.int64)
    np.maximum.at(alive, which.reshape(-1), np.array(base.training.live, np.int64))
    rows = [_row(moment, change[moment.tick]) for moment in again]
    return Outlook(
        tuple(names),
        tuple(costs),
        base.resident,
        np.array([*alive, *(a for a, _ in rows)], np.int64),
        np.array([*tick, *(r for _, r in rows)], np.int64),
    )


def _row(moment: _Again, change: Ticks) -> tuple[int, Ticks]:
    """What is alive while a module runs again, as a row that is below zero where it does not."""
    row = change.copy()
    row[moment.module] = 0
    row[moment.module] = moment.alive + int(row.clip(0).sum())
    return moment.alive - int(row[moment.module]), row


def _changes(base: Step, step: Step, level: Sequence[str]) -> tuple[Ticks, list[_Again]]:
    """What each module of a level changes at each tick of the base, and the moments at which it runs again."""
    clock, extra = _clock(base, step)
    place = _Places(base, level)
    ticks = len(base.training.live)
    change = np.zeros((len(level), ticks + 1), np.int64)

    def alive(who: int, born: int, died: int, nbytes: int) -> None:
        if who >= 0 and born < died:
            change[who, born] += nbytes
            change[who, min(died, ticks)] -= nbytes

    pairs, new = _paired(base, step, clock, extra)
    for before, after in pairs:
        born, died = clock[after.born], clock[min(after.died, len(clock) - 1)]
        if (before.born, min(before.died, ticks)) != (born, died):
            who = place.decides(before, died)
            alive(who, before.born, before.died, -before.nbytes)
            alive(who, born, died, after.nbytes)
    for life in new:
        alive(place.at(clock[life.born]), clock[life.born], clock[min(life.died, len(clock) - 1)], life.nbytes)
    profile = change.cumsum(1)[:, :ticks]
    most: dict[tuple[int, int], int] = {}
    for tick, is_extra in enumerate(extra):
        if is_extra and (who := place.at(clock[tick])) >= 0:
            key = who, clock[tick]
            most[key] = max(most.get(key, 0), step.training.live[tick])
    others = profile.sum(0)
    moments = [_Again(m, t, n - int(others[t] - profile[m, t])) for (m, t), n in most.items()]
    return profile, moments


def _clock(base: Step, step: Step) -> tuple[list[int], list[bool]]:
    """For each tick of a step the tick of the base that it is, or comes before; and whether it is one of its own.

    Raises:
        PlanError: the step does something else.
    """
    wanted, ran = base.operators(), step.operators()
    again = [False] * step.forward + list(step.record.recomputed)
    clock: list[int] = []
    extra: list[bool] = []
    at = 0
    for op, recomputed in zip(ran, again, strict=True):
        same = not recomputed and at < len(wanted) and op.op is wanted[at].op
        clock.append(at)
        extra.append(not same)
        at += same
    if at != len(wanted) or clock[step.forward] != base.forward:  # older PyTorch makes small tensors of its own
        raise PlanError(
            "with checkpoints the model runs other operators than without: its code asks whether it is run again, or "
            "keeps something from one run to the next"
        )
    return [*clock, at, at + 1], [*extra, False]


def _paired(
    base: Step, step: Step, clock: Sequence[int], extra: Sequence[bool]
) -> tuple[list[tuple[LiveTensor, LiveTensor]], list[LiveTensor]]:
    """Storages of both steps that the same operators made, and those of the step alone."""
    made: dict[int, list[LiveTensor]] = {}
    for life in base.lives:
        made.setdefault(life.born, []).append(life)
    pairs, new = [], []
    for life in step.lives:
        twins = made.get(clock[life.born]) if not extra[life.born] else None
        if twins:
            pairs.append((twins.pop(0), life))
        else:
            new.append(life)
    return pairs, new


class _Places:
    """Which module of a level a tick of the base belongs to (−1: none), and who decides on a storage's life."""

    def __init__(self, base: Step, level: Sequence[str]) -> None:
        known: dict[str, int] = {}
        paths = [*base.modules(), *base.owners()]
        for path in paths:
            if path not in known:
                known[path] = next((i for i, name in enumerate(level) if within(path, name)), -1)
        self._at = [known[path] for path in paths]
        self._users, self._forward = base.users(), base.forward

    def at(self, tick: int) -> int:
        """The module that an operator belongs to."""
        return self._at[tick] if tick < len(self._at) else -1

    def decides(self, life: LiveTensor, died: int) -> int:
        """The module on whose checkpoint it hangs how long a storage lives.

        What lives longer (until `died`) is what a module was given, or at least let go; what lives shorter was kept by
        the one that made it.
        """
        home = self.at(life.born)
        if life.born >= self._forward:
            return home
        given = [at for tick in self._users.get(life.storage, ()) if (at := self.at(tick)) not in (-1, home)]
        if died < life.died and home >= 0:
            return home
        return given[0] if given else home if home >= 0 else self.at(died - 1)
