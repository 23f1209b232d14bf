"""Does a model stay within its budget: upper limits, and a baseline that it may not exceed by more than a tolerance.

A result names the modules to look at: for a limit those that cost most by themselves, for a baseline those that grew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from os import PathLike
from typing import Any

from ..communication.communication import Communication
from ..errors import BudgetError, shown
from ..errors.arguments import checked
from ..report import Report, as_report
from ..text.amounts import parse_share
from ..totals.module_tree import ModuleCost
from .comparison import Comparison
from .diff import diff, traffic
from .limits import COMPARED, LIMITS, NAMES, Culprit, Result, unknown

MOST_NAMED = 5
"""How many modules a result names."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Check:
    """Whether a report stays within a budget: true if all limits hold. Prints a line for each, and what broke it."""

    report: Report
    results: tuple[Result, ...]

    @property
    def ok(self) -> bool:
        """True if every limit holds."""
        return all(result.ok for result in self.results)

    @property
    def broken(self) -> tuple[Result, ...]:
        """The limits that don't hold."""
        return tuple(result for result in self.results if not result.ok)

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        from .as_check import text

        return text(self.report, self.results)

    def __repr__(self) -> str:
        broken = ", ".join(result.measure for result in self.broken)
        return f"<Check: {f'over budget: {broken}' if broken else 'within budget'}>"

    def _repr_html_(self) -> str:
        from ..text.notebook import preformatted

        return preformatted(str(self))


@checked
def check(report: Report | str | PathLike[str], **budget: Any) -> Check:
    """Check a report against a budget.

    >>> import fxcost, torch
    >>> report = fxcost.analyze(torch.nn.Linear(30, 40), (1, 30))
    >>> fxcost.check(report, max_macs="1.5K", max_params=1000).broken[0].measure
    'params'

    Args:
        report: the report to check, or the path of its JSON file.
        budget: upper limits, each a number or text such as "4.2G" or "2GiB": `max_macs`, `max_flops`, `max_params`,
            `max_param_bytes`, `max_bytes`, `max_activations`, `max_sent` and `max_peak_memory` (both of the training
            step if there is one, else of the forward pass; memory as eager Python holds it where that is known).
            `no_uncosted=True` allows no operator without a rule. `baseline`, a report or the path of its JSON file, is
            what parameters, MACs, FLOPs, bytes moved, peak memory (in graph order) and what a rank sends may exceed by
            no more than `tolerance` ("1%" or 0.01).

    Raises:
        BudgetError: an unknown limit, none at all, or a baseline that was taken on other inputs.
        InputError: a limit can't be read, or the report is none.
        ReportFileError: a file is no report.
    """
    report = as_report(report)
    for name in budget:
        if name not in NAMES:
            raise unknown(name, NAMES)
    if not isinstance(budget.get("no_uncosted"), bool | None):
        raise BudgetError(f"no_uncosted={shown(budget['no_uncosted'])}: True or False is expected")
    given = {name: value for name, value in budget.items() if value is not None and value is not False}
    results = [_limited(report, name, given[f"max_{name}"]) for name in LIMITS if f"max_{name}" in given]
    if given.get("no_uncosted"):
        results.append(_all_costed(report))
    tolerance = parse_share(given.get("tolerance", 0))
    if "baseline" in given:
        results.extend(_compared(as_report(given["baseline"]), report, tolerance))
    elif tolerance:
        raise BudgetError("a tolerance is for a baseline; give baseline=report, or the path of its JSON file")
    if not results:
        raise BudgetError("nothing to check; give a limit such as max_macs='4.2G', or a baseline")
    return Check(report=report, results=tuple(results))


def _limited(report: Report, name: str, limit: int | str) -> Result:
    actual, allowed = _amount(report, name), LIMITS[name].parse(limit)
    culprits = _largest(report, name) if actual > allowed else ()
    return Result(measure=name, actual=actual, limit=allowed, culprits=culprits)


def _amount(report: Report, name: str) -> int:
    """What a budget limits, of the whole model."""
    if name == "peak_memory":
        if report.training is not None:
            return report.training.peak_bytes
        eager = report.memory.peak_eager_bytes
        return report.memory.peak_bytes if eager is None else eager
    if name == "sent":
        return _communication(report).sent_bytes
    amounts = {"params": report.params, "param_bytes": report.param_bytes, "bytes": report.cost.bytes_moved}
    return amounts[name] if name in amounts else int(getattr(report.cost, name))


def _communication(report: Report) -> Communication:
    return report.communication if report.training is None else report.training.communication


def _own(module: ModuleCost, name: str) -> int:
    if name in ("params", "param_bytes"):
        return int(getattr(module.own_parameters, name))
    return module.own.bytes_moved if name == "bytes" else int(getattr(module.own, name))


def _largest(report: Report, name: str) -> tuple[Culprit, ...]:
    """The modules that cost most by themselves; for memory those whose results are alive at the peak."""
    if name == "peak_memory":
        alive = report.training.at_peak if report.training is not None else report.memory.at_peak
        return _top(report, _summed((tensor.module, tensor.nbytes) for tensor in alive))
    if name == "sent":
        return _top(report, _summed((c.module, c.sent_bytes) for c in _communication(report).collectives))
    return _top(report, {module.name: _own(module, name) for module in report.modules.values()})


def _summed(amounts: Iterable[tuple[str, int]]) -> Mapping[str, int]:
    sums: Counter[str] = Counter()
    for module, amount in amounts:
        sums[module] += amount
    return sums


def _top(report: Report, amounts: Mapping[str, int]) -> tuple[Culprit, ...]:
    """The largest amounts above zero."""
    largest = sorted(((n, name) for name, n in amounts.items() if n > 0), key=lambda pair: -pair[0])[:MOST_NAMED]
    modules = report.modules
    return tuple(Culprit(name, modules[name].type_name if name in modules else "", n) for n, name in largest)


def _all_costed(report: Report) -> Result:
    runs = _summed((node.module, len(node.uncosted)) for node in report.nodes)
    return Result(measure="uncosted", actual=sum(runs.values()), limit=0, culprits=_top(report, runs))


def _compared(baseline: Report, report: Report, tolerance: Fraction) -> list[Result]:
    before, after = (_inputs(r) for r in (baseline, report))
    if before != after:
        raise BudgetError(
            f"the baseline was taken on {before or 'no inputs'}, the model was run on {after or 'no inputs'}; "
            "give it the same inputs, or take a new baseline"
        )
    found = diff(baseline, report)
    totals = {total.name: total for total in found.totals}
    results = []
    for name in filter(totals.__contains__, COMPARED):
        was, now = totals[name].before, totals[name].after
        limit = was + int(was * tolerance)
        grown = _grown(found, name) if now > limit else ()
        results.append(Result(measure=name, actual=now, limit=limit, baseline=was, culprits=grown))
    return results


def _inputs(report: Report) -> str:
    return ", ".join(str(spec) for node in report.nodes if node.kind == "placeholder" for spec in node.outputs)


def _grown(found: Comparison, name: str) -> tuple[Culprit, ...]:
    """The modules that cost more by themselves than before."""
    if name == "peak_memory":
        return _top(found.after, _summed((t.module, t.nbytes) for t in found.after.memory.at_peak))
    if name == "sent":
        was, now = (
            _summed((c.module, c.sent_bytes) for c in t.collectives) for t in traffic(found.before, found.after)
        )
        return _top(found.after, {module: n - was.get(module, 0) for module, n in now.items()})
    return _top(found.after, {row.name: getattr(row.own_change, name) for row in found.rows})
