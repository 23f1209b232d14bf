"""Formulas beside fresh analyses: every number, every module, operator and family, at random points of the domain."""

from __future__ import annotations

import random
from typing import Any

import fxcost
from fxcost.formula.dims import with_sizes
from fxcost.formula.numbers import reported
from fxcost.records.cost import Cost
from fxcost.report import Report


def agree(report: Report, model: Any, inputs: Any, points: int = 5, **options: Any) -> None:
    """See that a report's formulas say what fresh analyses say, at random points and at the domain's corners."""
    formula, chance = report.formula, random.Random(3)
    low = {name: sizes.low for name, sizes in formula.domain.items()}
    high = {name: sizes.high for name, sizes in formula.domain.items()}
    for point in (low, high, *(formula.domain.sample(chance) for _ in range(points))):
        built = model(point) if callable(model) and not hasattr(model, "parameters") else model
        same(report, fxcost.analyze(built, with_sizes(inputs, point), **options), point)


def same(report: Report, fresh: Report, point: dict[str, int]) -> None:
    """See that the formulas at a point are the numbers of a fresh analysis there."""
    formula = report.formula
    costs = formula.at(**point)
    assert dict(costs.numbers) == reported(fresh), point
    modules = costs.by_module()
    assert {name: cost for name, cost in fresh.by_module().items() if cost != modules[name]} == {}
    assert set(modules) == set(fresh.by_module())
    assert costs.by_operator() == nonzero(fresh.by_operator())
    assert costs.by_family() == nonzero(fresh.by_family())
    for name, module in fresh.modules.items():
        part = formula.of(name)
        assert part.numbers["params"](costs.point) == module.parameters.params
        assert part.numbers["param_bytes"](costs.point) == module.parameters.param_bytes
    assert type(costs.macs) is int


def nonzero(costs: dict[str, Cost]) -> dict[str, Cost]:
    """Without what costs nothing, for which there is no formula."""
    return {name: cost for name, cost in costs.items() if cost != Cost()}
