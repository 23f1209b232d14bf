"""A check as text: a line for each limit, and below those that do not hold the modules to look at."""

from __future__ import annotations

from collections.abc import Sequence

from ..text import units
from ..text.words import printable, shortened
from ..totals.sums import Sums
from ..views.summary import header
from .as_diff import percent_change
from .limits import LIMITS, Result

NAME_WIDTH = 48


def text(report: Sums, results: Sequence[Result]) -> str:
    """What was checked, then each limit: whether it holds, the number, and the limit or the baseline."""
    width = max(len(_heading(result)) for result in results)
    lines = [printable(header(report))]
    for result in results:
        lines.append(f"{'ok  ' if result.ok else 'OVER'}  {_heading(result):{width}}  {_verdict(result)}")
        lines += [f"        {line}" for line in _culprits(result)]
    broken = sum(not result.ok for result in results)
    lines.append(f"over budget: {broken} of {units.plural(len(results), 'limit')}" if broken else "within budget")
    return "\n".join(lines)


def _heading(result: Result) -> str:
    return LIMITS[result.measure].heading if result.measure in LIMITS else "operators without a rule"


def _written(result: Result, *numbers: int) -> list[str]:
    """Numbers in short, or in full where two that differ would look the same."""
    if result.measure not in LIMITS:
        return [units.exact(n) for n in numbers]
    short = units.byte_size if LIMITS[result.measure].is_bytes else units.count
    texts = [short(n) for n in numbers]
    return texts if len(set(texts)) == len(set(numbers)) else [units.exact(n) for n in numbers]


def _verdict(result: Result) -> str:
    if result.measure not in LIMITS:
        return "none" if result.ok else f"{units.plural(result.actual, 'run')}"
    actual, limit = _written(result, result.actual, result.limit)
    if result.baseline is None:
        return f"{actual} of at most {limit} ({units.percent(result.actual, result.limit)})"
    if result.actual == result.baseline:
        return f"{actual}, as in the baseline"
    actual, limit, baseline = _written(result, result.actual, result.limit, result.baseline)
    change = percent_change(result.actual - result.baseline, result.baseline)
    return f"{actual}, {change} from the baseline's {baseline}" + ("" if result.ok else f"; at most {limit} is allowed")


def _culprits(result: Result) -> list[str]:
    """Modules and amounts in columns: what grew has a sign."""
    if not result.culprits:
        return []
    short = units.byte_size if result.measure in LIMITS and LIMITS[result.measure].is_bytes else units.count
    sign = "+" if result.baseline is not None and result.measure != "peak_memory" else ""
    names = [_name(culprit.module, culprit.type_name) for culprit in result.culprits]
    width = max(map(len, names))
    return [f"{name:{width}}  {sign}{short(c.amount)}" for name, c in zip(names, result.culprits, strict=True)]


def _name(module: str, type_name: str) -> str:
    full = f"{module} ({type_name})" if module and type_name else module or f"the model itself ({type_name})"
    return shortened(printable(full), NAME_WIDTH)
