"""Cuts a row of costs into parts: the largest as small as can be, and of such cuts those across which least is sent.

Exact: the smallest largest part is found by bisection, as filling parts greedily tells whether a bound can be kept;
then a dynamic programme over the places takes, for each number of parts, the cheapest last cut that keeps the bound.
In rows of at most `FINE` items the most even parts win among those that cost the same; in longer ones any.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import accumulate

FINE = 1000
"""Items up to which all last cuts are tried for every place, which takes the square of their number."""


def smallest_largest(costs: Sequence[int], k: int) -> int:
    """The smallest cost that the largest of `k` parts can have, none being empty.

    >>> smallest_largest([5, 1, 1, 1, 4], 3)
    5
    """
    low, high = max(max(costs), -(-sum(costs) // k)), sum(costs)
    while low < high:
        middle = (low + high) // 2
        if _parts(costs, middle) <= k:
            high = middle
        else:
            low = middle + 1
    return low


def _parts(costs: Sequence[int], most: int) -> int:
    """Into how few parts of at most this cost the row can be cut."""
    parts, filled = 1, 0
    for cost in costs:
        if filled + cost > most:
            parts, filled = parts + 1, 0
        filled += cost
    return parts


def cheapest_cuts(costs: Sequence[int], crossing: Sequence[int], k: int, most: int) -> list[int]:
    """Places to cut a row into `k` parts, none empty and none above `most`, so that least crosses.

    Args:
        costs: of each item.
        crossing: what a cut before item i costs; the first is not looked at.
        k: how many parts, at most as many as there are items.
        most: the largest cost of a part, at least :func:`smallest_largest`.

    Returns:
        The items before which to cut, in order.

    >>> cheapest_cuts([2, 2, 2, 2], [0, 9, 1, 9], 2, 8)
    [2]
    """
    return (_evenest if len(costs) <= FINE else _quickly)(costs, crossing, k, most)


def _evenest(costs: Sequence[int], crossing: Sequence[int], k: int, most: int) -> list[int]:
    """Of the cuts across which least is sent those with the smallest sum of squares of parts."""
    n, sums = len(costs), [0, *accumulate(costs)]
    best: list[tuple[int, int] | None] = [(0, 0)] + [None] * n
    came: list[list[int]] = []
    for part in range(1, k + 1):
        after: list[tuple[int, int] | None] = [None] * (n + 1)
        places = [0] * (n + 1)
        for end in range(part, n - (k - part) + 1):
            for start in range(end - 1, part - 2, -1):
                size = sums[end] - sums[start]
                if size > most:
                    break
                before, known = best[start], after[end]
                if before is None:
                    continue
                price = before[0] + _extra(crossing, start), before[1] + size * size
                if known is None or price < known:
                    after[end], places[end] = price, start
        best = after
        came.append(places)
    return _traced(came, n)


def _quickly(costs: Sequence[int], crossing: Sequence[int], k: int, most: int) -> list[int]:
    n, sums = len(costs), [0, *accumulate(costs)]
    best: list[int | None] = [0] + [None] * n
    came: list[list[int]] = []
    for part in range(1, k + 1):
        after: list[int | None] = [None] * (n + 1)
        places = [0] * (n + 1)
        window: deque[int] = deque()  # possible last cuts, the cheapest first
        for end in range(part, n - (k - part) + 1):
            start = end - 1
            if (found := best[start]) is not None:
                while window and _price(best, crossing, window[-1]) >= found + _extra(crossing, start):
                    window.pop()
                window.append(start)
            while window and sums[end] - sums[window[0]] > most:
                window.popleft()
            if window:
                after[end], places[end] = _price(best, crossing, window[0]), window[0]
        best = after
        came.append(places)
    return _traced(came, n)


def _traced(came: Sequence[Sequence[int]], end: int) -> list[int]:
    """The cuts, from where each part's last one is."""
    cuts = []
    for places in reversed(came):
        end = places[end]
        cuts.append(end)
    return cuts[-2::-1]


def _extra(crossing: Sequence[int], place: int) -> int:
    return crossing[place] if place else 0


def _price(best: Sequence[int | None], crossing: Sequence[int], place: int) -> int:
    found = best[place]
    assert found is not None
    return found + _extra(crossing, place)
