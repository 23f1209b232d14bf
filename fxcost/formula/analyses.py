"""The way into the room: dims and a way to run an analysis at a point, and out come formulas as plain data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ..errors import FormulaError, FxcostError, InputError
from ..memory.analysis import Analysis
from ..meta.places import Uncounted, uncounted
from ..rules.common import argument
from ..rules.registry import Registry
from .as_json import packed
from .dims import Dims, Point
from .expressions import Expressions
from .fitting import Fitted, fit
from .ledger import SKIPPED
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
    counted = any(argument(op, "kept") is not None for node in first[0].recording.nodes for op in node.operations)
    masked = Uncounted(counted)

    def once(point: Point) -> Ran:
        if point == middle and not counted:
            return first
        with uncounted() as masks:
            found = again(point)
        masked.met |= masks.met
        return found

    own_code = first[0].recording.capture != "given"
    try:
        found = fit(dims, once, registry, verify, explain if own_code else None, first[0].recording.root)
    except FormulaError as error:
        return first[0], {"error": str(error)}
    return first[0], packed(_expressions(found, first[0], masked.met))


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


def _expressions(found: Fitted, analysis: Analysis, masked: bool) -> Expressions:
    """The formulas that were found, with the modules of an analysis; `masked`: without what masks throw away."""
    parents: Mapping[str, str | None] = {name: module.parent for name, module in analysis.modules.items()}
    if found.patterned:
        parents = {pattern(name): parent and pattern(parent) for name, parent in parents.items()}
    domain, ledger, missing = found.domain, found.ledger, SKIPPED if masked else ()
    if masked:
        note = f"what masks of positions throw away has no formula: {' and '.join(missing)} are left out"
        domain = replace(domain, notes=(*domain.notes, note))
        entries = {key: value for key, value in ledger.entries.items() if key.number not in missing}
        ledger = replace(ledger, entries=entries)
    return Expressions(
        domain=domain,
        ledger=ledger,
        model_type=analysis.model_type,
        parents=parents,
        aliases={alias: m.name for m in analysis.recording.modules for alias in m.aliases},
        missing=missing,
    )
