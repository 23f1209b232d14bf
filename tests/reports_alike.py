"""Everything that a report says, as text, so that two reports can be compared to the last byte."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import networkx as nx

import fxcost
from fxcost.report import Report


def answers(report: Report) -> Iterator[tuple[str, str]]:
    """(question, answer) for every view and reader."""
    yield "str", str(report)
    yield "repr", repr(report)
    yield "notebook", report._repr_html_()
    yield "html", attempt(lambda _: report.to_html(), "")
    yield "markdown", report.to_markdown()
    yield "speedscope", report.to_speedscope(device="a100")
    yield "model explorer", report.to_model_explorer()
    yield "roofline", f"{report.roofline('h100', dtype='bfloat16')!r}"
    yield "explanation", attempt(report.explain, "")
    yield "json", report.to_json()
    yield "csv", report.to_csv()
    yield "dot", report.to_dot()
    yield "dot, whole", report.to_dot(collapse=99, fold=False)
    yield (
        "networkx",
        repr(nx.to_dict_of_dicts(report.to_networkx())) + repr(dict(report.to_networkx().nodes(data=True))),
    )
    for by in ("module", "node", "operator", "family"):
        yield f"by {by}", report.table(by=by, depth=99, fold=False)
    yield "memory", f"{report.memory}\n{report.memory!r}"
    yield "training", f"{report.training}\n{report.training!r}"
    yield "experts", repr(report.expert_layers)
    for convention in fxcost.conventions():
        yield convention, attempt(lambda name: f"{report.counts(name)}\n{report.reconcile(name)}", convention)


def attempt(ask: Any, name: str) -> str:
    """An answer, or the error in its place: a tool's refusal, or what a report made by hand does not hold."""
    try:
        return str(ask(name))
    except Exception as refusal:
        return f"{type(refusal).__name__}: {refusal}"
