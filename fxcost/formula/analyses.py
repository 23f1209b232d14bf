"""The way into the room: dims and a way to run an analysis at a point, and out come formulas as plain data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ..errors import FormulaError, FxcostError, InputError
from ..memory.analysis import Analysis
from ..rules.registry import Registry
from .as_json import packed
from .dims import Dims, Point
from .expressions import Expressions
from .fitting import Fitted, fit
from .probing import Ran, Run
from .uneven import pattern


def opened(
    dims: Dims, run: Run, again: Run, registry: Registry, verify: int, explain: Callable[[Point], Analysis]
) -> tuple[Analysis, dict[str, Any]]:
    """The analysis at the middle of the dims' ranges, and formulas, or `{"error": why}` where there are none.

    Args:
        dims: the ranges.
        run: an analysis at a point.
        again: the same at further points, of the model's own code: its numbers are those of a graph that is believed.
        registry: the rules by which it prices.
        verify: at how many points at random to compare with an analysis.
        explain: runs the model's own code at a point, to find the lines at which formulas end.

    Raises:
        InputError: `verify` is no number of points.
        FxcostError: the model runs nowhere.
    """
    if type(verify) is not int or verify < 0:
        raise InputError(f"verify={verify!r} is no number of points")
    middle, first = _first(dims, run)
    dims = {name: replace(dim, at=middle[name]) for name, dim in dims.items()}

    def once(point: Point) -> Ran:
        return first if point == middle else again(point)

    own_code = first[0].recording.capture != "given"
    try:
        found = fit(dims, once, registry, verify, explain if own_code else None, first[0].recording.root)
    except FormulaError as error:
        return first[0], {"error": str(error)}
    return first[0], packed(_expressions(found, first[0]))


USUAL = (224, 256, 384, 299, 336, 448, 512, 518, 1024, 64, 32, 16, 8, 4, 2, 1)
"""Sizes that models are made for, tried where one can't run in the middle of the ranges."""


def _first(dims: Dims, run: Run) -> tuple[dict[str, int], Ran]:
    """A point at which the model runs: the middle, or one with a size that many models take; and the analysis there.

    Raises:
        FxcostError: it runs at none of them; what it raised in the middle.
    """
    middle = {name: dim.middle for name, dim in dims.items()}
    try:
        return middle, run(middle)
    except FxcostError as error:
        fixed = {name for name, dim in dims.items() if dim.at is not None}
        for size in USUAL:
            point = {
                name: size
                if name not in fixed and dim.low <= size <= dim.high and size % dim.multiple == 0
                else middle[name]
                for name, dim in dims.items()
            }
            if point == middle:
                continue
            try:
                return point, run(point)
            except FxcostError:
                continue
        raise error


def _expressions(found: Fitted, analysis: Analysis) -> Expressions:
    """The formulas that were found, with the modules of an analysis."""
    parents: Mapping[str, str | None] = {name: module.parent for name, module in analysis.modules.items()}
    if found.patterned:
        parents = {pattern(name): parent and pattern(parent) for name, parent in parents.items()}
    return Expressions(
        domain=found.domain,
        ledger=found.ledger,
        model_type=analysis.model_type,
        parents=parents,
        aliases={alias: m.name for m in analysis.recording.modules for alias in m.aliases},
    )
