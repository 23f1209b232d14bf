"""Empty batches and sizes of 0: what the tools do with them, and that no view dies of a tool that gives up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import torch
from peer_cases import build
from torch import nn

import fxcost
from fxcost.conventions import CONVENTIONS
from tests.conventions.tools import runner

CASES = (
    "seq_convbnrelu",
    "root_conv",
    "softmax",
    "mha",
    "gru",
    "f_interp",
    "einsum_qk",
    "gn",
    "aap_3",
    "embedding",
)


def emptied(inputs: tuple[Any, ...], dimension: int) -> tuple[Any, ...]:
    return tuple(x.narrow(dimension, 0, 0) if x.dim() > dimension else x for x in inputs)


def views(report: fxcost.Report) -> Iterator[Callable[[], Any]]:
    """Everything that a report can be shown as."""
    made = ("to_html", "to_dict", "to_json", "to_csv", "to_dot", "to_networkx", "to_markdown", "to_speedscope")
    yield from (getattr(report, name) for name in (*made, "to_model_explorer", "_repr_html_", "__str__", "__repr__"))
    yield from (lambda by=by: report.table(by=by) for by in ("module", "node", "operator", "family"))
    yield lambda: report.table(columns=["share", "flops"], sort="flops")
    yield lambda: str(report.explain()) + str(report.memory)
    yield lambda: report.roofline("h100", fusion="pointwise").table()
    yield lambda: str(fxcost.diff(report, report))
    yield lambda: fxcost.Report.from_json(report.to_json()).to_html()


@pytest.mark.parametrize("dimension", [0, 1])
@pytest.mark.parametrize("name", CASES)
def test_tools_count_or_refuse_and_every_view_is_made(name: str, dimension: int) -> None:
    """Whatever PyTorch runs: an error of a convention is one that says what the tool does."""
    model, inputs = build(name)
    inputs = emptied(inputs, dimension)
    try:
        model(*inputs)
    except (RuntimeError, AssertionError, IndexError):
        pytest.skip("PyTorch refuses it")
    report = fxcost.analyze(model, inputs)
    for tool in CONVENTIONS:
        with suppress(fxcost.ConventionError):
            assert report.count(tool) == report.counts(tool)[CONVENTIONS[tool].headline]
        assert tool in report.compared(tool)
    for view in views(report):
        view()


def test_what_is_divided_by_is_named() -> None:
    """The batch in ptflops' part by hooks and in torchstat, the features in thop's softmax."""
    report = fxcost.analyze(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), (0, 3, 8, 8))
    with pytest.raises(fxcost.ConventionError, match=r"ptflops gives up.*batch, which is 0"):
        report.count("ptflops")
    with pytest.raises(fxcost.ConventionError, match="torchstat runs one image"):
        report.reconcile("torchstat")
    with pytest.raises(fxcost.ConventionError, match="0 features"):
        fxcost.analyze(nn.Sequential(nn.Softmax(1)), (2, 0)).count("thop")
    assert report.count("thop") == report.count("fvcore") == 0
    assert "<" in report.to_html()


EMPTIED = ["thop", "ultralytics-thop", "ptflops", "ptflops-aten", "fvcore", "torchinfo", "calflops", "deepspeed"]


@pytest.mark.parametrize("tool", [*EMPTIED, "torch-profiler"])
@pytest.mark.filterwarnings("ignore")
def test_the_tool_itself_on_an_empty_batch(tool: str) -> None:
    """Where it is installed: the same figures, or it gives up too."""
    run = runner(tool)
    model, x = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval(), torch.empty(0, 3, 8, 8)
    report = fxcost.analyze(model, x)
    expected = run(model, (x,))
    if None in expected.values():
        with pytest.raises(fxcost.ConventionError):
            report.counts(tool)
    else:
        assert {figure: report.counts(tool)[figure] for figure in expected} == expected
