"""Reports as JSON in which something is wrong, and every question that a report answers.

A corruption takes a random place of the data and puts something else there: odd values, parts of the same file (which
look right and belong elsewhere), texts and numbers that are a little off, rows that are missing or too many.
"""

from __future__ import annotations

import copy
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from types import FrameType
from typing import Any

import networkx as nx

import fxcost
from fxcost.report import Report

Place = tuple[Any, Any]
"""A list or dict, and the index or key in it."""

JUNK: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 7, 64, -(2**63), 2**31, 2**63, 10**18, 10**400, 1.5, -0.0, 1e308),
    *("", "x", ".", "a.b", "a..b", "\0", "\ud800", "\u202e", "\x1b[31m", "x" * 100_000, "=1+1", "</script>"),
    *([], [[]], [None], [1], [1, 2, 3], [-1], ["x"], [[1, 2]], [0] * 1000, [[0, 0]], [["x", 1]], {}),
    *({"opaque": 5}, {"opaque": "x"}, {"float": "nan"}, {"float": "inf"}, {"float": "x"}, {"float": 1}),
    *({"complex": [1, 2]}, {"complex": [1]}, {"list": [1]}, {"list": 5}, {"set": [[1]]}, {"set": [{"list": [1]}]}),
    *({"range": [0, 10**18, 1]}, {"set": {"range": [0, 10**18, 1]}}, {"range": [0, 1, 0]}, {"range": [1]}),
    *({"slice": [0, 1, 2]}, {"slice": []}, {"bytes": "zz"}, {"bytes": "00"}, {"bytes": 5}, {"ellipsis": True}),
    *({"dict": [["a", 1]]}, {"dict": [[{"list": []}, 1]]}, {"dict": [1]}, {"dict": {"a": 1}}, {"frozenset": [1]}),
    *({"device": "cuda"}, {"device": "x"}, {"device": 5}, {"dtype": "float16"}, {"dtype": "uint1"}, {"dtype": "x"}),
    *({"dtype": 5}, {"layout": "strided"}, {"memory_format": "x"}, {"a": 1, "b": 2}, {"what": 1}),
    *({"TensorSpec": 0}, {"TensorSpec": 10**9}, {"TensorSpec": -1}, {"TensorSpec": True}, {"NodeRecord": 0}),
    *({"OpRecord": 0}, {"Recording": 0}, {"Cost": 0}, {"NamedOperator": 0}, {"ModuleBone": 0}, {"HeldTensor": 0}),
)


def _deep(depth: int) -> Any:
    nest: Any = 1
    for _ in range(depth):
        nest = [nest]
    return nest


def random_place(data: Any, random: Random) -> Place:
    """A place in a row of a table more often than not; as likely to be high up as deep down."""
    place: Any = (data, random.choice(list(data)))
    tables = data.get("tables")
    if isinstance(tables, dict) and random.random() < 0.9:
        table = tables[random.choice(list(tables))]
        place = (table, "rows") if isinstance(table, dict) and "rows" in table else place
    while True:
        inner = place[0][place[1]]
        if not isinstance(inner, (list, dict)) or not inner or random.random() < 0.05:
            return place
        place = (inner, random.choice(range(len(inner)) if isinstance(inner, list) else list(inner)))


def corrupt(data: dict[str, Any], random: Random) -> str:
    """Change one place of a report's data; says what was done."""
    parent, key = random_place(data["recording"], random)
    before = parent[key]
    way = random.choice((_junk, _junk, _grafted, _grafted, _nudged, _nudged, _gone, _doubled, _swapped, _renamed))
    way(data, parent, key, random)
    return f"{way.__name__} at {key!r}, where {repr(before)[:80]} was"


def _junk(_data: Any, parent: Any, key: Any, random: Random) -> None:
    parent[key] = copy.deepcopy(random.choice((*JUNK, _deep(80), _deep(300))))


def _grafted(data: Any, parent: Any, key: Any, random: Random) -> None:
    """Something of the same kind from elsewhere in the file, or anything."""
    before = parent[key]
    for _ in range(20):
        other, place = random_place(data["recording"], random)
        if type(other[place]) is type(before) or random.random() < 0.1:
            parent[key] = copy.deepcopy(other[place])
            return


def _nudged(_data: Any, parent: Any, key: Any, random: Random) -> None:
    """A number or text that is nearly right; of an object, what is in it."""
    value = parent[key]
    while isinstance(value, (dict, list)) and value:
        parent, key = value, random.choice(list(value) if isinstance(value, dict) else range(len(value)))
        value = parent[key]
    if isinstance(value, bool):
        parent[key] = not value
    elif isinstance(value, int):
        parent[key] = random.choice((value + 1, value - 1, -value, value * 1000, value + 2**32))
    elif isinstance(value, str):
        at = random.randrange(len(value) + 1)
        parent[key] = value[:at] + random.choice((".", "", "\n", "\ud800", "0", value, "\x1b")) + value[at + 1 :]
    else:
        parent[key] = [value]


def _gone(_data: Any, parent: Any, key: Any, _random: Random) -> None:
    del parent[key]


def _doubled(_data: Any, parent: Any, key: Any, random: Random) -> None:
    if isinstance(parent, list):
        parent.insert(random.randrange(len(parent) + 1), copy.deepcopy(parent[key]))
    else:
        parent[f"{key}2"] = copy.deepcopy(parent[key])


def _swapped(_data: Any, parent: Any, key: Any, random: Random) -> None:
    other = random.choice(range(len(parent)) if isinstance(parent, list) else list(parent))
    parent[key], parent[other] = parent[other], parent[key]


def _renamed(_data: Any, parent: Any, key: Any, random: Random) -> None:
    if isinstance(parent, dict):
        parent[random.choice(("x", "TensorSpec", "Cost", "opaque", "set"))] = parent.pop(key)
    else:
        parent.reverse()


# Questions -----------------------------------------------------------------------------------------------------------


def views(report: Report) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Everything that a report can be asked, but pictures: name and question."""
    yield "str", report.__str__
    yield "repr", report.__repr__
    yield "notebook", report._repr_html_
    for by in ("module", "node", "operator", "family"):
        yield f"by {by}", lambda by=by: report.table(by=by, depth=99, fold=False)
        yield f"by {by}, sorted", lambda by=by: report.table(by=by, sort="share", format="github")
    yield "every column", lambda: report.table(by="node", columns=list(_columns()), format="html")
    yield "markdown", report.to_markdown
    yield "json", report.to_json
    yield "csv", report.to_csv
    yield "dot", report.to_dot
    yield "dot, whole", lambda: report.to_dot(collapse=99, fold=False)
    yield "networkx", lambda: nx.to_dict_of_dicts(report.to_networkx())
    yield "speedscope", report.to_speedscope
    yield "speedscope, time", lambda: report.to_speedscope(weight="time", device="a100")
    yield "model explorer", report.to_model_explorer
    yield "html", report.to_html
    yield "memory", lambda: f"{report.memory}\n{report.memory!r}"
    yield "training", lambda: f"{report.training}\n{report.training!r}"
    yield "sums", lambda: (report.by_module(own=True), report.macs_by_dtype, report.active_params, report.uncosted)
    yield "roofline", lambda: f"{report.roofline('h100', dtype='bfloat16', fusion='pointwise')}"
    yield "explain", lambda: f"{report.explain()}{report.explain().to_dict()}"
    yield (
        "explain all",
        lambda: [str(report.explain(name)) for name in (*report.modules, *(n.name for n in report.nodes))],
    )
    yield "diff", lambda: f"{fxcost.diff(report, report)}{fxcost.diff(report, report).to_markdown()}"
    yield "check", lambda: f"{fxcost.check(report, max_macs=0, baseline=report)}"
    for convention in fxcost.conventions():
        yield convention, lambda name=convention: f"{report.counts(name)}\n{report.reconcile(name)}"


def _columns() -> tuple[str, ...]:
    from fxcost.views.as_table import COLUMNS

    return tuple(COLUMNS)


class TooSlowError(BaseException):
    """A view that takes longer than it may; no view takes it for an error of its own."""


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raises TooSlowError in the main thread after so many seconds of its own time."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise TooSlowError

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def faults(report: Report) -> Iterator[tuple[str, BaseException]]:
    """Views that end with an error that is none of ours, or don't end."""
    for name, ask in views(report):
        try:
            with at_most(5):
                ask()
        except fxcost.FxcostError:
            continue
        except (Exception, TooSlowError) as error:
            yield name, error
