"""Breaks a long chain of boxes into columns, as a newspaper does, so that a deep network fits on a page.

Graphviz ranks boxes by the longest path of edges. Where no edge leads on, what comes after begins at the top again. So
a column break is a place in the order of execution, and the edges that cross it are not drawn, but marked at both ends.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Sequence
from itertools import pairwise

ROWS_PER_COLUMN = 5
"""How many rows of boxes make a column as high as `n` columns of one box are wide, divided by `n`."""
MOST_CROSSING = 3
"""A break is made only where no more tensors than this pass by."""
DEEPEST_BREAK = 2
"""A break cuts through no more nested clusters than this."""

Edge = tuple[int, int]


def column_breaks(frames: Sequence[tuple[int, ...]], edges: Collection[Edge], whole: Collection[int] = ()) -> list[int]:
    """Positions of the boxes at which a new column begins.

    Boxes are numbered in order of execution; `frames[i]` are the numbers of the clusters around box `i`, outermost
    first. Of the places near an even split, a break goes where it cuts through the fewest clusters and edges. It
    never cuts through the clusters in `whole`.
    """
    ranks = _ranks(len(frames), edges)
    rows = max(ranks, default=0) + 1
    boxes_per_row = len(frames) / rows
    columns = round((rows / (ROWS_PER_COLUMN * boxes_per_row)) ** 0.5) if frames else 0
    passing = _passing(len(frames), edges)
    breaks: list[int] = []
    for column in range(1, columns):
        wanted, reach = column * rows / columns, 0.35 * rows / columns
        places = [
            i
            for i in range(breaks[-1] + 1 if breaks else 1, len(frames))
            if abs(ranks[i] - wanted) <= reach and 1 <= passing[i] <= MOST_CROSSING and _is_gap(frames, i, whole)
        ]
        if places:
            breaks.append(min(places, key=lambda i: (len(_shared(frames, i)), passing[i], abs(ranks[i] - wanted), i)))
    return breaks


def column_of(breaks: Sequence[int], box: int) -> int:
    """The number of the column that a box stands in."""
    return bisect_right(breaks, box)


def _ranks(boxes: int, edges: Collection[Edge]) -> list[int]:
    """Length of the longest path to each box; edges lead forward."""
    ranks = [0] * boxes
    for start, stop in sorted(edges, key=lambda edge: edge[1]):
        ranks[stop] = max(ranks[stop], ranks[start] + 1)
    return ranks


def _passing(boxes: int, edges: Collection[Edge]) -> list[int]:
    """For each box, from how many boxes before it edges lead to it or to boxes after it."""
    farthest = [0] * boxes
    for start, stop in edges:
        farthest[start] = max(farthest[start], stop)
    change = [0] * (boxes + 1)
    for start, stop in enumerate(farthest):
        if stop > start:
            change[start + 1] += 1
            change[stop + 1] -= 1
    for before, i in pairwise(range(boxes + 1)):
        change[i] += change[before]
    return change[:boxes]


def broken(frames: Sequence[tuple[int, ...]], breaks: Collection[int]) -> set[int]:
    """The clusters through which breaks cut; drawn, their frames would hold half the page."""
    return {cluster for i in breaks for cluster in _shared(frames, i)}


def _shared(frames: Sequence[tuple[int, ...]], i: int) -> list[int]:
    """The clusters through which a break before box `i` cuts."""
    return [a for a, b in zip(frames[i - 1], frames[i], strict=False) if a == b]


def _is_gap(frames: Sequence[tuple[int, ...]], i: int, whole: Collection[int]) -> bool:
    """True if a break before box `i` is outside of all clusters, or between two inside of few."""
    shared = _shared(frames, i)
    if any(cluster in whole for cluster in shared):
        return False
    return not shared or (len(shared) <= DEEPEST_BREAK and max(len(frames[i - 1]), len(frames[i])) > len(shared))
