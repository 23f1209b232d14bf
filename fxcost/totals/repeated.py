"""How often ranks together do the work of a model that is not sharded, in all and in each module."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .sums import Sums


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeated:
    """MACs of all ranks over those of the whole model: 1.0 where all of it is split.

    `modules` has those in which it is more, by FQN, each without its children.
    """

    macs: float
    modules: Mapping[str, float]


def repeated(rank: Sums, whole: Sums, ranks: int) -> Repeated:
    """How often so many ranks, each of which does what one does, do the work of the whole model on the same inputs."""
    found = {}
    for name, module in whole.modules.items():
        here = rank.modules.get(name)
        if module.own.macs and here is not None and here.own.macs * ranks > module.own.macs:
            found[name] = here.own.macs * ranks / module.own.macs
    return Repeated(macs=rank.macs * ranks / whole.macs if whole.macs else 1.0, modules=found)
