"""What PyTorch's own functions and modules did, remembered from one analysis to the next.

An architecture search, a notebook and a sweep meet the same layers again and again. What is remembered is plain data
(no tensor, no module, nothing of a model), it is bounded, and it holds only while nobody has changed what PyTorch's
functions do (world.py): a World is compared with the one for which the memory was made. Where a function that PyTorch
asks for is not its own (other tools replace some to count), nothing is remembered at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from ..model.modules import function_is_pure
from ..records.recording import OpRecord, TensorSpec
from .purity import proof
from .world import World, replaced

LIMIT = 10_000
"""Operations that are remembered in all; with more, everything is forgotten. So it is with those that have a price."""

_SCALARS = (int, float, bool, str, complex, type(None))
_PLAIN = frozenset(
    {*_SCALARS, TensorSpec, torch.Size, torch.dtype, torch.device, torch.layout, torch.memory_format, type(...)}
)
_OPERATORS = frozenset({"aten", "prims", "torchvision", "fxcost"})


class Proven:
    """A function of the user's as it was when it was proven to follow from its arguments (purity.py)."""

    __slots__ = ("why",)

    def __init__(self, why: tuple[Any, ...]) -> None:
        self.why = why


class Memory(dict[Any, Any]):
    """From what decides a call to what it did. Forgets everything when it would grow beyond its bound."""

    def __init__(self) -> None:
        super().__init__()
        self._operations = 0
        self._proven: dict[Any, Proven] = {}

    def target(self, function: Any) -> Any:
        """What stands for a function in keys; None for one that is not proven to do the same for the same arguments."""
        if function_is_pure(function):
            return function
        why = proof(function)
        if why is None:
            return None
        known = self._proven.get(function)
        if known is None or known.why != why:
            self._make_room(0)
            known = self._proven[function] = Proven(why)
        return known

    def keep(self, key: Any, value: Any, operations: tuple[OpRecord, ...]) -> None:
        """Remember what a call did, if the operations that it ran are plain data."""
        if len(operations) > LIMIT or not all(map(_is_plain_record, operations)):
            return
        self._make_room(len(operations))
        self[key] = value

    def _make_room(self, operations: int) -> None:
        if self._operations + operations > LIMIT:
            self.clear()
        self._operations += 1 + operations

    def clear(self) -> None:
        """Forget everything."""
        super().clear()
        self._proven.clear()
        self._operations = 0


class Prices:
    """What operations cost by the rules of one registry, each row of operations as :meth:`put` got it."""

    def __init__(self, registry: Any = None) -> None:
        self.registry = registry
        self._rows: dict[int, tuple[tuple[OpRecord, ...], Any]] = {}
        self._operations = 0

    def get(self, operations: tuple[OpRecord, ...]) -> Any:
        """The price of these very operations; None if there is none."""
        found = self._rows.get(id(operations))
        return found and found[1]

    def put(self, operations: tuple[OpRecord, ...], price: Any) -> None:
        """Remember a price, if the operations are plain data."""
        if len(operations) > LIMIT or not all(map(_is_plain_record, operations)):
            return
        self._operations += 1 + len(operations)
        if self._operations > LIMIT:
            self._rows.clear()
            self._operations = 1 + len(operations)
        self._rows[id(operations)] = operations, price  # an id is only good while its object lives


_MEMORY = Memory()
_prices = Prices()
_world: World | None = None


def memory() -> tuple[World, Memory]:
    """The world as it is, and what is remembered and holds in it: nothing where PyTorch's functions are replaced."""
    global _world
    world = World()
    if world != _world:
        _MEMORY.clear()
        _world = None if replaced() else world
    return (world, Memory()) if _world is None else (_world, _MEMORY)


@contextmanager
def forgotten() -> Iterator[None]:
    """As in a new process: nothing is remembered at first, and nothing of what is met meanwhile afterwards."""
    global _MEMORY, _prices
    before = _MEMORY, _prices
    _MEMORY, _prices = Memory(), Prices()
    try:
        yield
    finally:
        _MEMORY, _prices = before


def prices(registry: Any) -> Prices:
    """What is remembered of prices by the rules of a registry; nothing if others were asked for last."""
    global _prices
    if _prices.registry is not registry:
        _prices = Prices(registry)
    return _prices


def _is_plain_record(record: OpRecord) -> bool:
    return getattr(record.op, "namespace", "") in _OPERATORS and _is_plain_data(record.args)


def _is_plain_data(value: Any) -> bool:
    """True for numbers, texts, dtypes and specs, and tuples of them."""
    return all(map(_is_plain_data, value)) if type(value) is tuple else type(value) in _PLAIN
