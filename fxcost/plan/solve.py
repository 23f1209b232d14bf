"""The cheapest choice of modules within a limit: a small integer programme, solved by HiGHS (scipy, an extra).

A variable for each module says whether it is checkpointed. The bytes alive at each moment are a sum over these, so a
limit is a row for each moment; of two modules inside each other at most one is chosen.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from .outlook import Outlook
from .steps import within

_SCALE, _EACH, _LATE = 1e4, 1e-3, 1e-4
"""The cost of the dearest module, what each costs beside its FLOPs, and how much more of that the last one does.

So of equal choices that of fewer modules is taken, and of these that of the first ones."""

Chosen = tuple[int, ...]


class Solver:
    """The programme of an outlook."""

    def __init__(self, outlook: Outlook) -> None:
        self._outlook = outlook
        names = outlook.names
        inside = [(i, j) for i, a in enumerate(names) for j, b in enumerate(names) if i != j and within(b, a)]
        self._inside = np.zeros((len(inside), len(names)))
        for row, pair in enumerate(inside):
            self._inside[row, list(pair)] = 1
        self._unit = float(max(outlook.alive.max(), 1))

    def cheapest(self, limit: int) -> Chosen | None:
        """The modules (numbers) that cost least with a peak of at most `limit` bytes; None if no choice reaches it."""
        costs = np.array(self._outlook.costs, float)
        costs = _SCALE * costs / max(costs.max(), 1.0) + _EACH + _LATE * np.linspace(0, 1, len(costs))
        room = limit - self._outlook.resident
        found = self._solved(costs, room)
        while found is not None and (over := self._outlook.peak(found) - limit) > 0:  # the solver has a tolerance
            room -= over
            found = self._solved(costs, room)
        return found

    def smallest(self) -> Chosen:
        """The modules with the lowest peak that any choice reaches."""
        found = self._solved(np.zeros(len(self._outlook.names)), None)
        assert found is not None  # to choose none is a choice
        return found

    def frontier(self, points: int) -> Iterator[Chosen]:
        """Choices from no module to the lowest peak, of which none is beaten by another in both peak and cost."""
        lowest, highest = self._outlook.peak(self.smallest()), self._outlook.peak(())
        limits = [lowest + (highest - lowest) * i // points for i in range(points + 1)]
        found = [chosen for limit in limits if (chosen := self.cheapest(limit)) is not None]
        best: int | None = None
        for chosen in sorted(found, key=lambda c: (self._outlook.cost(c), self._outlook.peak(c))):
            peak = self._outlook.peak(chosen)
            if best is None or peak < best:
                best = peak
                yield chosen

    def _solved(self, costs: np.typing.NDArray[np.float64], room: int | None) -> Chosen | None:
        """The choice of least cost; without a limit that of the lowest peak, which is then one more variable."""
        n = len(costs)
        alive, change = self._outlook.alive / self._unit, self._outlook.change / self._unit
        peak = np.full((len(change), 1), -1.0 if room is None else 0.0)
        rows = [LinearConstraint(np.hstack([change, peak]), ub=(0 if room is None else room / self._unit) - alive)]
        if len(self._inside):
            rows.append(LinearConstraint(np.hstack([self._inside, np.zeros((len(self._inside), 1))]), ub=1))
        found = milp(
            [*costs, 1.0 if room is None else 0.0],
            integrality=[1] * n + [0],
            bounds=Bounds(0, [1.0] * n + [np.inf if room is None else 0.0]),
            constraints=rows,
            options={"mip_rel_gap": 0.0},
        )
        return None if found.x is None else tuple(int(i) for i in np.flatnonzero(found.x[:n] > 0.5))
