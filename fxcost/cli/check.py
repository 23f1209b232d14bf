"""`fxcost check MODEL`: does a model stay within its budget; without MODEL, do those of pyproject.toml."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import chdir, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..compare.limits import LIMITS, OTHERS
from ..errors import nearest
from .checks import check_limits
from .complete import complete_model
from .group import fxcost
from .model import input_options, report_of
from .names import check_spec, is_report
from .output import FAILED, GOOD, emit, present, write
from .progress import working
from .ranks import rank_options

if TYPE_CHECKING:
    from ..compare.budgets import Budget
    from ..report import Report

Function = TypeVar("Function", bound=Callable[..., Any])
WORDS = (*(f"max_{name}" for name in LIMITS), *OTHERS)


def limit_options(function: Function) -> Function:
    """An option for everything that a budget can say."""
    limits = [
        click.option(f"--max-{name.replace('_', '-')}", metavar=limit.example, help=limit.text)
        for name, limit in LIMITS.items()
    ]
    others = [
        click.option("--no-uncosted", is_flag=True, help="Allow no operator without a rule."),
        click.option("--baseline", metavar="PATH", help="A report written with --json, which may not be exceeded."),
        click.option("--tolerance", metavar="1%", help="By how much the baseline may be exceeded.  [default: 0]"),
        click.option("--update", is_flag=True, help="Write the baseline instead of comparing with it."),
    ]
    for option in reversed([*limits, *others]):
        function = option(function)
    return function


@fxcost.command()
@click.argument("model", required=False, shell_complete=complete_model)
@input_options
@limit_options
@rank_options
@click.option("--training", is_flag=True, help="Also cost a training step: peak memory is then that of the step.")
@click.option("--optimizer", metavar="NAME", help="For --training: as for `fxcost MODEL`.")
def check(*, model: str | None, update: bool, **options: Any) -> int:
    """Check that MODEL stays within a budget; exit code 1, and the modules to look at, if it does not.

    MODEL may also be a report that was written with --json. Without MODEL the budgets in [tool.fxcost] of
    pyproject.toml are checked; with a name of one of them, that one.

    \b
      fxcost check torchvision:resnet50 --max-macs 4.2G --max-params 26M --no-uncosted
      fxcost check net.py:Net --input 1,3,32,32 --baseline cost.json --tolerance 1%
      fxcost check
    """
    limits = {name: options.pop(name) for name in WORDS}
    said = {name: value for name, value in limits.items() if value not in (None, False)}
    one = model is not None and (":" in model or is_report(model))
    if one and not said and not update:
        raise click.UsageError("nothing to check; give a limit such as --max-macs 4.2G, or --baseline PATH")
    check_limits(said, update=update and one)
    if model is not None and ":" in model and not is_report(model):
        check_spec(model)
    if model is not None and (":" in model or is_report(model)):
        return GOOD if _passes("", report_of(model, options), said, Path(), update) else FAILED
    _check_no_options({**options, **said})
    passed = [
        _passes(budget.name, _analyse(budget), budget.limits, budget.folder, update) for budget in _budgets(model)
    ]
    return GOOD if all(passed) else FAILED


def _passes(name: str, report: Report, limits: Mapping[str, Any], folder: Path, update: bool) -> bool:
    """Print whether the limits hold; or write the baseline."""
    from ..compare.check import check as verdict

    heading = f"{name}: " if name else ""
    if update:
        path = limits.get("baseline")
        if path is None:
            raise click.UsageError(f"{heading}--update writes a baseline, and there is none; give --baseline PATH")
        target = os.path.relpath(folder / path)
        os.makedirs(os.path.dirname(target) or ".", exist_ok=True)  # the folder of baselines, the first time
        emit(f"{heading}wrote {write(target, report.to_json())}")
        return True
    baseline = limits.get("baseline")
    if isinstance(baseline, str) and not (folder / baseline).exists():
        raise click.UsageError(f"{heading}there is no baseline {baseline} yet; write it: fxcost check {name} --update")
    with chdir(folder):
        found = verdict(report, **limits)
    present(lambda: f"{heading}{found}")
    return found.ok


def _check_no_options(options: dict[str, Any]) -> None:
    """Budgets in pyproject.toml say what they want themselves."""
    given = [name for name, value in options.items() if value and value != "auto"]
    if given:
        raise click.UsageError("options are for a MODEL; a budget in pyproject.toml says its own")


def _analyse(budget: Budget) -> Report:
    with redirect_stdout(sys.stderr), working(f"analysing {budget.model}"):
        return budget.analyse()


def _budgets(name: str | None) -> list[Budget]:
    """All budgets in pyproject.toml, or the one of that name."""
    from ..compare.budgets import find_project, read_budgets
    from ..errors import BudgetError

    if name is None:
        return list(read_budgets(find_project(Path())).values())
    try:
        budgets = read_budgets(find_project(Path()))
    except BudgetError:
        budgets = {}
    if name not in budgets:
        near = nearest(name, budgets, n=1) or list(filter(None, budgets))
        known = f"; pyproject.toml has {', '.join(near)}" if near else ""
        raise click.UsageError(f"{name!r} is no model (torchvision:resnet50 …) and no budget{known}")
    return [budgets[name]]
