"""Models made to deceive: where formulas end, and what they say of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import fxcost
from fxcost import Dim
from fxcost.formula.domain import Domain
from fxcost.report import Report
from tests.formula.fresh import agree

INPUTS = ("B", "S", 16)


class Tricky(nn.Module):
    """Two linear layers, for forwards that do something with the sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.l, self.k = nn.Linear(16, 16), nn.Linear(16, 64)


class Crop(Tricky):
    def forward(self, x: Tensor) -> Tensor:
        x = x[:, -512:]
        return self.l(x)  # type: ignore[no-any-return]


class Branch(Tricky):
    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] > 300:
            return self.k(self.l(x))  # type: ignore[no-any-return]
        return self.l(x)  # type: ignore[no-any-return]


class Window(Tricky):
    def forward(self, x: Tensor) -> Tensor:
        return self.k(x) if 200 <= x.shape[1] <= 210 else self.l(x)  # type: ignore[no-any-return]


class Padded(Tricky):
    def forward(self, x: Tensor) -> Tensor:
        return self.l(F.pad(x, (0, 0, 0, -x.shape[1] % 64)))  # type: ignore[no-any-return]


class Half(Tricky):
    def forward(self, x: Tensor) -> Tensor:
        _, best = x.norm(dim=-1).topk(x.shape[1] // 2, dim=1)
        chosen = torch.gather(x, 1, best[..., None].expand(-1, -1, 16))
        return self.l(chosen) @ x.transpose(1, 2)  # type: ignore[no-any-return]


class Chunks(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([c @ c.transpose(1, 2) @ c for c in x.split(64, 1)], 1)


class Loop(Tricky):
    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.l(x[:, t]) for t in range(x.shape[1])], 1)


class Prefixes(Tricky):
    def forward(self, x: Tensor) -> Tensor:
        prefixes = (self.l(x[:, :t]) for t in range(1, x.shape[1] + 1))
        return torch.stack([(y @ y.transpose(1, 2)).sum((1, 2)) for y in prefixes], 1)


class Fixed(Tricky):
    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[1] == 224, "only 224"
        return self.l(x)  # type: ignore[no-any-return]


class Ignored(Tricky):
    def forward(self, x: Tensor) -> Tensor:
        return self.l(torch.ones(3, 16))  # type: ignore[no-any-return]


def domain_of(model: nn.Module, low: int = 8, high: int = 4096, **options: Any) -> Domain:
    """The domain in B and S; the formulas are seen to be exact on it."""
    model = model.eval()
    report = fxcost.analyze(model, INPUTS, dims={"B": Dim(2, 64), "S": Dim(low, high)}, **options)
    agree(report, model, INPUTS, points=3)
    return report.formula.domain


@pytest.mark.parametrize(
    ("model", "low", "high", "step"),
    [(Crop(), 8, 512, 1), (Branch(), 8, 300, 1), (Padded(), 64, 4096, 64), (Half(), 8, 4096, 2)],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
def test_domains(model: nn.Module, low: int, high: int, step: int) -> None:
    """A crop, a branch, padding and a half: the formula holds up to there, and by these steps."""
    found = domain_of(model)["S"]
    assert (found.low, found.high, found.step) == (low, high, step)
    assert (found.above is None) == (high == 4096)
    assert (found.between is None) == (step == 1)


def test_a_window_between_the_points_is_not_seen() -> None:
    """The limit of sampling: what is special at 200 ≤ S ≤ 210 alone is not found, and the domain says so."""
    report = fxcost.analyze(Window(), INPUTS, dims={"B": Dim(2, 64), "S": Dim(8, 4096)})
    domain = report.formula.domain
    assert (domain["S"].low, domain["S"].high) == (8, 4096)
    assert f"verified at {domain.verified} points" in str(domain)
    assert report.formula.at(B=2, S=205).macs != fxcost.analyze(Window(), (2, 205, 16)).macs


def test_chunks_are_summed() -> None:
    """Where the number of operators hangs on a dim, sums are fitted, and that is said."""
    found = domain_of(Chunks())
    assert (found["S"].low, found["S"].high, found["S"].step) == (64, 4096, 64)
    assert any("number of operators depends on S" in note for note in found.notes)


def test_a_loop_over_the_sequence() -> None:
    """An own loop over S in Python."""
    found = domain_of(Loop(), 2, 40)
    assert (found["S"].low, found["S"].high) == (2, 40)


def test_sums_of_squares_over_a_loop() -> None:
    """Prefixes of every length: cubic sums; peaks for which there is no formula are left out, which is said."""
    report = fxcost.analyze(Prefixes(), INPUTS, dims={"B": Dim(2, 64), "S": Dim(2, 24)})
    assert report.formula.growth("S", "macs").exponent == 3
    for b, s in ((2, 2), (5, 13), (64, 24)):
        assert report.formula.at(B=b, S=s).macs == fxcost.analyze(Prefixes(), (b, s, 16)).macs
    missing = {"peak_bytes", "peak_eager_bytes"} - set(report.formula.numbers)
    assert bool(missing) == any("peak of memory" in note for note in report.formula.domain.notes)


def test_a_fixed_size_stays() -> None:
    """A size that the model insists on is named with the user's line; the other dims have formulas."""
    report = fxcost.analyze(Fixed(), INPUTS, dims={"B": Dim(2, 64), "S": Dim(32, 512)})
    found = report.formula.domain["S"]
    assert (found.low, found.high) == (224, 224)
    assert found.between is not None
    assert "test_domain.py:" in str(found.between)
    assert "only 224" in str(found.between)
    assert str(report.formula.macs) == str(224 * 256) + "*B"
    assert report.macs == fxcost.analyze(Fixed(), (report.formula.domain and 8, 224, 16)).macs


def test_without_any_formula_the_numbers_still_come() -> None:
    """All dims fixed: the report is there, its formula is an error that names the line."""
    report = fxcost.analyze(Fixed(), (2, "S", 16), dims={"S": Dim(32, 512, at=224)})
    assert report.macs == fxcost.analyze(Fixed(), (2, 224, 16)).macs
    with pytest.raises(fxcost.FxcostError, match=r"no formula in S.*test_domain\.py:\d+"):
        _ = report.formula
    assert "test_domain.py" in report.to_dict()["formula"]["error"]
    with pytest.raises(fxcost.FxcostError, match="only 224"):
        _ = Report.from_json(report.to_json()).formula


def test_a_dim_that_is_not_used_is_named() -> None:
    """Nothing but the inputs' bytes depends on it."""
    found = domain_of(Ignored())
    notes = [note for note in found.notes if "the model never uses it" in note]
    assert len(notes) == 2
    assert all("test_domain.py:" in note and "(forward of Ignored)" in note for note in notes)


def test_a_corrupted_size_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """One size of one analysis off by one: no formula goes through it, and none is made up."""
    from dataclasses import replace

    from fxcost.formula import probing
    from fxcost.formula.observation import Observation, observe

    def corrupted(report: Any, step: Any, registry: Any) -> Observation:
        seen = observe(report, step, registry)
        if report.nodes[0].outputs[0].shape[1] != 4096:
            return seen
        items = list(seen.items)
        at = next(i for i, item in enumerate(items) if "addmm" in item.label)
        items[at] = replace(items[at], sizes=(items[at].sizes[0] + 1, *items[at].sizes[1:]))
        return replace(seen, items=tuple(items))

    monkeypatch.setattr(probing, "observe", corrupted)
    report = fxcost.analyze(nn.Linear(16, 16), INPUTS, dims={"B": Dim(2, 64), "S": Dim(8, 4096)})
    assert report.formula.domain["S"].high == 4095
    above = report.formula.domain["S"].above
    assert above is not None
    assert "addmm" in above.text


def test_ranges_know_their_sizes() -> None:
    """Membership, length, residue, and a way through plain data."""
    found = domain_of(Padded())
    assert 128 in found["S"]
    assert 130 not in found["S"]
    assert "8" not in found["S"]
    assert found["S"].residue == 0
    assert len(found["S"]) == 64
    assert found.covers({"B": 2, "S": 64})
    assert not found.covers({"B": 2})
    assert Domain.from_dict(found.to_dict()) == found
