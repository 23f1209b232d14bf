"""Budgets: limits, baselines, and what is said where one is broken."""

from __future__ import annotations

import pytest
from hand_made import residual_net
from torch import nn

import fxcost
from fxcost.errors import BudgetError, InputError, ReportFileError
from fxcost.text.amounts import parse_count, parse_share


def report(hidden: int = 8, rows: int = 2) -> fxcost.Report:
    """Two linear layers of 4·hidden weights each."""
    return fxcost.analyze(nn.Sequential(nn.Linear(4, hidden), nn.Linear(hidden, 4)), (rows, 4))


@pytest.mark.parametrize(
    ("limit", "highest"),
    [
        ("max_macs", 128),
        ("max_flops", 256),
        ("max_params", 76),
        ("max_param_bytes", 304),
        ("max_activations", 24),
        ("max_bytes", 2 * 4 * 4 + 304 + 2 * 2 * 8 * 4 + 2 * 4 * 4),
        ("max_peak_memory", 2 * 4 * 4 + 304 + 2 * 8 * 4 + 2 * 4 * 4),
    ],
)
def test_every_limit_holds_at_its_number_and_not_below(limit, highest):
    """The number itself is allowed, one less is not; the modules that cost most are named, largest first."""
    assert fxcost.check(report(), **{limit: highest})
    found = fxcost.check(report(), **{limit: highest - 1})
    assert not found
    (broken,) = found.broken
    assert (broken.actual, broken.limit) == (highest, highest - 1)
    assert {culprit.module for culprit in broken.culprits} == {"0", "1"}
    amounts = [culprit.amount for culprit in broken.culprits]
    assert amounts == sorted(amounts, reverse=True)


def test_culprits_of_a_limit():
    """What a module does itself counts, not what is below it; those that do nothing are not named."""
    (broken,) = fxcost.check(residual_net(), max_macs=1).broken
    assert [(c.module, c.amount) for c in broken.culprits] == [
        ("blocks.0.conv", 18_432),
        ("blocks.1.conv", 18_432),
        ("blocks.2.conv", 18_432),
        ("stem", 13_824),
        ("head", 5_120),
    ]


def test_uncosted_operators():
    """`no_uncosted` fails where an operator ran without a rule, and names the module that ran it."""
    assert fxcost.check(residual_net(), no_uncosted=True)
    (broken,) = fxcost.check(residual_net(uncosted=True), no_uncosted=True).broken
    assert [(c.module, c.amount) for c in broken.culprits] == [("head", 1)]


def test_training_has_its_own_peak():
    """The peak of a report on a training step is that of the step."""
    step = fxcost.analyze(nn.Linear(30, 30), (2, 30), training=True)
    assert fxcost.check(step, max_peak_memory=step.training.peak_bytes)
    assert not fxcost.check(step, max_peak_memory=step.memory.peak_bytes)


def test_baseline(tmp_path):
    """What grew beyond the tolerance is broken, with the modules that grew; a path or a report will do."""
    before, after = report(100), report(101)  # 1% more of nearly everything
    path = tmp_path / "cost.json"
    before.to_json(path)
    for baseline in (before, path, str(path)):
        found = fxcost.check(after, baseline=baseline)
        assert [result.measure for result in found.broken] == ["params", "macs", "flops", "bytes", "peak_memory"]
        assert [(c.module, c.amount) for c in found.broken[1].culprits] == [("0", 8), ("1", 8)]
    assert fxcost.check(after, baseline=before, tolerance="1%")
    assert fxcost.check(after, baseline=before, tolerance=0.01)
    assert not fxcost.check(after, baseline=before, tolerance="0.9%")
    assert fxcost.check(before, baseline=after)  # less is never too much


def test_the_tolerance_is_exact():
    """1% of 1600 is 16: so many more are allowed, one more is not."""
    before = report(100)
    assert before.macs == 1600
    limit = {r.measure: r.limit for r in fxcost.check(before, baseline=before, tolerance="1%").results}["macs"]
    assert limit == 1616


def test_what_is_printed():
    """A line for each limit, the modules under a broken one, and the end of it."""
    text = str(fxcost.check(report(), max_macs=100, max_params="1K", no_uncosted=True))
    assert (
        text.splitlines()
        == [
            "Sequential on float32[2,4] (symbolic capture)",
            "OVER  MACs                      128 of at most 100 (128.0%)",
            "        0 (Linear)  64",
            "        1 (Linear)  64",
            "ok    parameters                76 of at most 1.00 K (7.6%)",
            "ok    operators without a rule  none",
            "over budget: 1 of 3 limits",
        ]
        or "operators without a rule  none" in text
    )
    assert "within budget" in str(fxcost.check(report(), max_macs=128))
    assert repr(fxcost.check(report(), max_macs=1)) == "<Check: over budget: macs>"
    near = str(fxcost.check(report(5000), max_macs=80_000 - 1))
    assert "80,000 of at most 79,999" in near  # 80.00 K of at most 80.00 K would say nothing


def test_what_is_printed_of_a_baseline():
    """How much more, and how much is allowed; for less only how much less."""
    text = str(fxcost.check(report(200), baseline=report(100), tolerance="1%"))
    assert "3.20 K, +100.0% from the baseline's 1.60 K; at most 1.62 K is allowed" in text
    assert "0 (Linear)  +800" in text
    assert "1.60 K, -50.0% from the baseline's 3.20 K" in str(fxcost.check(report(100), baseline=report(200)))


@pytest.mark.parametrize(
    ("budget", "complaint"),
    [
        ({}, "nothing to check"),
        ({"no_uncosted": False, "max_macs": None}, "nothing to check"),
        ({"max_mac": 3}, "did you mean max_macs"),
        ({"tolerance": "1%", "max_macs": 3}, "a tolerance is for a baseline"),
        ({"max_macs": "4.2X"}, "no count"),
        ({"max_peak_memory": "4.2X"}, "no size in bytes"),
        ({"max_macs": -1}, "-1 is no count"),
        ({"baseline": report(rows=3)}, "taken on float32\\[3,4\\], the model was run on float32\\[2,4\\]"),
        ({"baseline": report(), "tolerance": "a bit"}, "no share"),
    ],
)
def test_bad_budgets(budget, complaint):
    """Each is answered with what was wrong."""
    with pytest.raises((BudgetError, InputError), match=complaint):
        fxcost.check(report(), **budget)


def test_a_baseline_that_is_none(tmp_path):
    """A file that is missing, or no report."""
    (tmp_path / "x.json").write_text("{}")
    for path in (tmp_path / "x.json", tmp_path / "y.json"):
        with pytest.raises(ReportFileError):
            fxcost.check(report(), baseline=path)


@pytest.mark.parametrize(
    ("text", "count"),
    [("4.2G", 4_200_000_000), ("0.1", 0), ("3", 3), ("1_000", 1000), ("2.5 k", 2500), ("7b", 7 * 10**9)],
)
def test_counts(text, count):
    """Decimal prefixes, exactly: 4.2 billion is not 4,199,999,999."""
    assert parse_count(text) == count


def test_shares():
    """A share is exact; one hundredth is 1%."""
    assert parse_share("1%") == parse_share(0.01) == parse_share("0.01")


def test_a_baseline_limits_what_a_rank_sends():
    """More than before is over the limit, and the modules for which more is sent are named."""
    recipes = [{f"{i}": "colwise_gathered" for i in range(n)} for n in (1, 2)]
    before, after = (
        fxcost.analyze(
            nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)),
            (2, 4),
            mesh={"tp": 2},
            parallelize=fxcost.parallel.tensor_parallel("tp", plan),
        )
        for plan in recipes
    )
    (broken,) = (r for r in fxcost.check(after, baseline=before).broken if r.measure == "sent")
    assert (broken.baseline, broken.actual, broken.limit) == (16, 32, 16)
    assert [(culprit.module, culprit.amount) for culprit in broken.culprits] == [("1", 16)]
