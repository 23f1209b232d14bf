"""Fixtures for pytest that hold a model to its budget. pytest finds them by the entry point `pytest11`.

Importing this file imports neither torch nor the rest of fxcost, so that it costs nothing where it is not used.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from .compare.limits import NAMES

if TYPE_CHECKING:
    from .compare.check import Check
    from .report import Report


class AssertCost(Protocol):
    """The type of :func:`assert_cost`."""

    def __call__(self, model: Any, inputs: Any = (), kwargs: dict[str, Any] | None = None, **options: Any) -> Report:
        """Analyse `model` and fail the test where it exceeds a limit."""


class CheckBudget(Protocol):
    """The type of :func:`fxcost_budget`."""

    def __call__(self, name: str = "") -> Report:
        """Check the budget called `name` and fail the test where it is exceeded."""


@pytest.fixture
def assert_cost() -> AssertCost:
    """A function that fails the test if a model costs more than it may, and returns the report.

    `assert_cost(model, (1, 3, 224, 224), max_macs="4.2G", no_uncosted=True)` takes a model with its inputs, or
    a report. Limits are those of :func:`fxcost.check`; other options go to :func:`fxcost.analyze`.
    """

    def checked(model: Any, inputs: Any = (), kwargs: dict[str, Any] | None = None, **options: Any) -> Report:
        __tracebackhide__ = True
        from .analyze import analyze
        from .compare.check import check
        from .report import Report

        limits = {name: options.pop(name) for name in NAMES if name in options}
        report = model if isinstance(model, Report) else analyze(model, inputs, kwargs, **options)
        return _passed(check(report, **limits))

    return checked


@pytest.fixture
def fxcost_budget(request: pytest.FixtureRequest) -> CheckBudget:
    """A function that fails the test if a budget in pyproject.toml is exceeded, and returns the report.

    `fxcost_budget("resnet50")` checks `[tool.fxcost.budgets.resnet50]`, `fxcost_budget()` that of `[tool.fxcost]`. The
    file is the nearest one in the folder of the test or above it.
    """

    def checked(name: str = "") -> Report:
        __tracebackhide__ = True
        from .compare.budgets import find_project, read_budgets
        from .errors import BudgetError

        project = find_project(Path(request.path).parent)
        budgets = read_budgets(project)
        if name not in budgets:
            known = ", ".join(map(repr, budgets))
            raise BudgetError(f"{project} has no budget {name!r}; there are {known}")
        return _passed(budgets[name].check())

    return checked


def _passed(found: Check) -> Report:
    """The report of a check that passed."""
    __tracebackhide__ = True
    if not found:
        pytest.fail(f"the model costs more than it may\n{found}", pytrace=False)
    return found.report
