"""Every convention against what the tool itself printed: recorded figures always, the live tool where it is installed.

The default run takes the small cases and a few networks; `pytest -m zoo` takes all.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from peer_cases import CASES, NETWORKS, SMALL, build

import fxcost
from fxcost.report import Report

RECORDED: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "recorded.json").read_text())["figures"]
SAMPLE = ("resnet18", "mobilenet_v3_small", "googlenet_aux", "article_alexnet", "transformer", "vit_b_32_b2")


@cache
def report_of(case: str, capture: str = "auto") -> Report:
    """The analysis of a case."""
    model, inputs = build(case)
    return fxcost.analyze(model, inputs, capture=capture)


def figures(tool: str, report: Report) -> Any:
    """A convention's figures, or the text of its refusal."""
    try:
        return report.counts(tool)
    except fxcost.ConventionError as refusal:
        return str(refusal)


def check(tool: str, case: str, report: Report) -> None:
    """Every recorded figure is reproduced; where the tool refused, so does the convention."""
    expected, found = RECORDED[tool][case], figures(tool, report)
    if expected is None:
        return
    if isinstance(expected, str):
        assert isinstance(found, str), f"{tool} refused {case} ({expected}), but {found} came out"
        return
    assert isinstance(found, dict), f"{tool} counted {case}, but: {found}"
    assert {name: found[name] for name in expected} == expected


def check_all_tools(case: str, capture: str = "auto") -> None:
    """All tools on one case."""
    report = report_of(case, capture)
    for tool in RECORDED:
        check(tool, case, report)


@pytest.mark.parametrize("case", SMALL)
def test_small_cases(case: str) -> None:
    """One module or function at a time, batch above one."""
    check_all_tools(case)


@pytest.mark.parametrize("case", [name for name in SMALL if len(name) % 3 == 0])
def test_concrete_capture_sees_the_same(case: str) -> None:
    """Conventions read records, however they were captured."""
    check_all_tools(case, "concrete")


@pytest.mark.parametrize("case", SAMPLE)
def test_networks(case: str) -> None:
    """A few networks, one of each kind."""
    check_all_tools(case)


@pytest.mark.zoo
@pytest.mark.parametrize("case", [name for name in NETWORKS if name not in SAMPLE])
def test_all_networks(case: str) -> None:
    """All recorded networks."""
    check_all_tools(case)


@pytest.mark.zoo
@pytest.mark.parametrize("case", SMALL)
def test_concrete_capture_of_all_small_cases(case: str) -> None:
    """The same by concrete capture."""
    check_all_tools(case, "concrete")


def test_every_tool_has_records_of_every_case() -> None:
    """A case without figures, or figures without a case, would pass unseen."""
    for tool, cases in RECORDED.items():
        assert set(cases) == set(CASES), tool
        assert sum(isinstance(found, dict) for found in cases.values()) >= 65, tool
