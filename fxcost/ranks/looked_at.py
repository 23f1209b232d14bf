"""Which ranks are looked at: the one that is asked for, or the corners of the mesh, of which the worst is taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ..errors import ShardingError, shown
from .sharding import Sharding, one_rank
from .world import sizes_of

Ran = TypeVar("Ran")


WORST = "worst"


def on_ranks(
    mesh: Any,
    parallelize: Any,
    rank: int | str,
    run: Callable[[Sharding], Ran],
    peak: Callable[[Ran], int],
) -> tuple[Ran, str]:
    """What `run` returns for a rank, and what is to be said of the choice.

    Args:
        mesh: sizes by name.
        parallelize: the recipe.
        rank: its number, or "worst" for the one with the highest peak among the corners of the mesh.
        run: analyses one rank.
        peak: the peak of memory of what it returned.

    Raises:
        ShardingError: there is no such mesh or rank, or no recipe.
    """
    if mesh is None:
        raise ShardingError("parallelize= and rank= are for mesh=, which says how many ranks there are: {'dp': 8}")
    if type(rank) is int:
        with one_rank(mesh, parallelize, rank) as sharding:
            return run(sharding), ""
    if rank != WORST:
        raise ShardingError(f"there is no rank {shown(rank)}: give a number, or {WORST!r}")
    found: dict[int, Ran] = {}
    for number in corners(sizes_of(mesh)):
        with one_rank(mesh, parallelize, number) as sharding:
            found[number] = run(sharding)
    worst = max(found, key=lambda number: peak(found[number]))
    looked_at = ", ".join(map(str, found))
    return found[worst], f"of ranks {looked_at}, the corners of the mesh, rank {worst} has the highest peak of memory"


def corners(sizes: Mapping[str, int]) -> list[int]:
    """The ranks that are first or last along every dimension.

    >>> corners({"dp": 8, "tp": 4})
    [0, 3, 28, 31]
    """
    ranks = [0]
    for size in sizes.values():
        ranks = [rank * size + at for rank in ranks for at in sorted({0, size - 1})]
    return ranks
