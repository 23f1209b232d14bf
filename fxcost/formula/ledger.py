"""Every number of an analysis under a key, as an int or as a polynomial: what a formula is made of.

Numbers of modules, operators and families are sums of these, so they can't disagree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from itertools import accumulate
from typing import Generic, NamedTuple, TypeVar

from ..records.cost import Cost
from ..totals.parameters import ParameterTotals, totals_of
from ..totals.sums import UNCOSTED_FAMILY
from .observation import Item, Observation, memory_of, parameter_of

COST_NUMBERS = tuple(f.name for f in fields(Cost))
SKIPPED = ("skipped_macs", "skipped_flops")
"""Numbers of a cost that hang on the values of masks."""
PARAMETER_NUMBERS = tuple(f.name for f in fields(ParameterTotals))
RESIDENT = {"parameter": "parameter_bytes", "buffer": "buffer_bytes", "input": "input_bytes"}
PASSES = ("graph", "eager", "step")
"""Where memory is followed: the forward pass in graph order, as eager Python holds it, and a training step."""


class Key(NamedTuple):
    """Which number: `kind` is the pass ("forward", "step.backward" …) or what is counted, `number` its name."""

    kind: str
    module: str
    operator: str
    family: str
    number: str


Value = TypeVar("Value")


@dataclass(frozen=True)
class Ledger(Generic[Value]):
    """Numbers by key; zero ones are left out. `live` has the bytes alive at each moment of a pass that matters."""

    entries: Mapping[Key, Value]
    live: Mapping[str, tuple[Value, ...]]


def booked(
    observation: Observation,
    sizes: Callable[[Item], tuple[int, ...]],
    cost: Callable[[Item], Cost],
) -> Ledger[int]:
    """All numbers of an analysis, with sizes and costs as given for each item: its own ones, or symbolic ones."""
    entries: dict[Key, int] = {}
    memory: dict[str, list[int]] = {name: [] for name in observation.lifetimes}

    def add(key: Key, value: int) -> None:
        entries[key] = entries[key] + value if key in entries else value

    for item in observation.items:
        kind, given = item.kind, sizes(item)
        if item.cost is not None:
            priced = cost(item)
            for number in COST_NUMBERS:
                add(Key(kind, item.module, item.label, item.family or UNCOSTED_FAMILY, number), getattr(priced, number))
        elif kind == "parameter":
            totals = totals_of(parameter_of(item.key, given, item.label))
            for number in PARAMETER_NUMBERS:
                add(Key(kind, item.module, "", "", number), getattr(totals, number))
        elif kind == "resident":
            add(Key(kind, "", "", "", RESIDENT[item.module]), memory_of(item.key, given))
        elif kind == "saved":
            add(Key(kind, item.module, "", "", "saved_bytes"), memory_of(item.key, given))
        elif kind == "total":
            add(Key(kind, "", "", "", item.key), given[0])
        else:
            memory[kind].append(memory_of(item.key, given))
    live = {name: _alive(memory[name], spans) for name, spans in observation.lifetimes.items()}
    return Ledger({key: value for key, value in entries.items() if type(value) is not int or value}, live)


def _alive(sizes: Iterable[int], spans: Iterable[tuple[int, int]]) -> tuple[int, ...]:
    """Bytes alive at each moment; different ones only, in order."""
    spans = list(spans)
    change: list[int] = [0] * (max((died for _, died in spans), default=0) + 2)
    for size, (born, died) in zip(sizes, spans, strict=True):
        change[born] = change[born] + size
        change[died] = change[died] - size
    return tuple(dict.fromkeys(accumulate(change[: max((born for born, _ in spans), default=0) + 1])))


def concrete(observation: Observation) -> Ledger[int]:
    """The numbers of an analysis as they are."""
    return booked(observation, lambda item: item.sizes, _own_cost)


def _own_cost(item: Item) -> Cost:
    assert item.cost is not None
    return item.cost
