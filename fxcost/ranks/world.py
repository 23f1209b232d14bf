"""A world of ranks in this process, and where in it a process group lies.

Nothing is sent, and nothing is left: the process group ends with the context, also after an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import combinations
from math import prod
from typing import Any

import torch.distributed as dist

from ..errors import ShardingError, shown
from ..errors.arguments import checked
from ..records.communication import Group, Rank
from .private import check, process_group, ranks_of

LARGEST = 2**20
"""Ranks of a world; PyTorch lists those of a group in Python."""
_here: list[int] = []
"""Sizes of the worlds that are open."""


@checked
@contextmanager
def fake_world(size: int, rank: int = 0) -> Iterator[None]:
    """While active, this process is one rank of a world of so many, whose collectives send nothing.

    For those who build meshes or sharded models themselves. Tensors are on meta or on the CPU. What is received is not
    written: numbers of a real run would be wrong.

    >>> import fxcost, torch
    >>> with fxcost.fake_world(64, rank=3):
    ...     print(torch.distributed.get_rank(), torch.distributed.get_world_size())
    3 64

    Raises:
        ShardingError: there is no such rank, this process has a process group already, or PyTorch lacks what is needed.
    """
    check()
    if not 1 <= size <= LARGEST:
        raise ShardingError(f"a world of {shown(size)} ranks: give 1 to {LARGEST:,}")
    if not 0 <= rank < size:
        raise ShardingError(f"there is no rank {shown(rank)} in a world of {size}: ranks are 0 to {size - 1}")
    with process_group(rank, size):
        _here.append(size)
        try:
            yield
        finally:
            _here.pop()


def is_open() -> bool:
    """True inside of :func:`fake_world`."""
    return bool(_here)


@contextmanager
def same_world(size: int, rank: int) -> Iterator[None]:
    """The world that is open, if it is such a one, or else a new one.

    Raises:
        ShardingError: another one is open; and as :func:`fake_world`.
    """
    if not is_open():
        with fake_world(size, rank):
            yield
        return
    if (here := (dist.get_world_size(), dist.get_rank())) != (size, rank):
        raise ShardingError(
            f"inside of fxcost.fake_world({here[0]}, rank={here[1]}) there is no rank {rank} of {size}: give a mesh of "
            f"{here[0]} ranks and rank={here[1]}, or leave the world to analyze"
        )
    yield


def sizes_of(mesh: Any) -> dict[str, int]:
    """The sizes of a mesh's dimensions, by name.

    Raises:
        ShardingError: it is no mesh.
    """
    if not isinstance(mesh, Mapping) or not mesh:
        raise ShardingError(f"{shown(mesh)} is no mesh: give sizes by name, such as {{'dp': 8, 'tp': 8}}")
    for name, size in mesh.items():
        if not isinstance(name, str) or not name.isidentifier():
            raise ShardingError(f"{shown(name)} is no name for a dimension of a mesh: a word such as 'dp' is")
        if type(size) is not int or size < 1:
            raise ShardingError(f"the mesh has {shown(size)} ranks along {name!r}: give a whole number above 0")
    if prod(mesh.values()) > LARGEST:
        raise ShardingError(f"a mesh of {prod(mesh.values()):,} ranks: at most {LARGEST:,} can be")
    return dict(mesh)


def place_of(rank: int, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """A rank's place in a mesh, the last dimension being the innermost.

    >>> place_of(11, {"dp": 8, "tp": 8})
    (1, 3)
    """
    place = []
    for size in reversed(list(sizes.values())):
        rank, at = divmod(rank, size)
        place.append(at)
    return tuple(reversed(place))


class World:
    """The groups of a mesh, seen from one rank."""

    def __init__(self, sizes: Mapping[str, int], rank: int) -> None:
        self.sizes, self.rank = dict(sizes), rank
        self.place = place_of(rank, sizes)
        self._dims = _groups(self.sizes, self.place)
        self._known: dict[Any, Group] = {}

    def group(self, group: Any) -> Group:
        """Which ranks a process group has, and along which dimensions of the mesh they lie."""
        ranks, purpose = ranks_of(group)
        key = ranks, purpose
        if key not in self._known:
            named = purpose.removeprefix("mesh_") if purpose.startswith("mesh_") else ""
            dims = named if named in self.sizes else self._dims.get(ranks, "" if named == "default" else named)
            self._known[key] = Group(ranks, dims)
        return self._known[key]

    def record(self, unsharded_params: int) -> Rank:
        """The rank as reports have it."""
        return Rank(
            rank=self.rank,
            mesh=tuple(self.sizes.items()),
            coordinates=self.place,
            unsharded_params=unsharded_params,
        )


def _groups(sizes: Mapping[str, int], place: tuple[int, ...]) -> dict[tuple[int, ...], str]:
    """The names of the dimensions along which this rank's groups lie, by their ranks; the fewest names win."""
    names = list(sizes)
    strides = [prod(list(sizes.values())[i + 1 :]) for i in range(len(names))]
    found: dict[tuple[int, ...], str] = {}
    for n in range(1, len(names) + 1):
        for chosen in combinations(range(len(names)), n):
            ranks = [0]
            for i, name in enumerate(names):
                along = range(sizes[name]) if i in chosen else (place[i],)
                ranks = [base + at * strides[i] for base in ranks for at in along]
            found.setdefault(tuple(ranks), "_".join(names[i] for i in chosen))
    return found
