"""Dims: ranges, names in shapes, and what is wrong with them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import fxcost
from fxcost.formula.dims import Dim, with_sizes


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Dim(5, 4), "empty"),
        (lambda: Dim(5, 5), "one size only, 5: write 5 into the shape"),
        (lambda: Dim(1, 30, multiple=32), "empty"),
        (lambda: Dim(1, 33, multiple=32), "one size only, 32"),
        (lambda: Dim(-1, 5), "0 or more"),
        (lambda: Dim(1, 8, at=9), "no size"),
        (lambda: Dim(1, 2.5), "whole numbers"),  # type: ignore[arg-type]
    ],
)
def test_bad_ranges_are_refused(make: object, message: str) -> None:
    """Empty ranges, those of one size, and what is no whole number."""
    with pytest.raises(fxcost.FxcostError, match=message):
        make()  # type: ignore[operator]


@pytest.mark.parametrize("dim", [Dim(1, 64), Dim(8, 4096), Dim(64, 128), Dim(3, 5), Dim(48, 960, multiple=48)])
def test_the_middle_is_inside(dim: Dim) -> None:
    """The report's own point is a size of the dim."""
    assert dim.low <= dim.middle <= dim.high
    assert dim.middle % dim.multiple == 0


def test_names_stand_in_shapes() -> None:
    """Plain tuples, specs, lists and dicts; other strings are left alone."""
    inputs = [("B", 3), {"x": fxcost.spec("B", "S", dtype="int64")}, "B", ("mode", "fast"), None]
    sized = with_sizes(inputs, {"B": 2, "S": 5})
    assert sized == [(2, 3), {"x": fxcost.spec(2, 5, dtype="int64")}, "B", ("mode", "fast"), None]


@pytest.mark.parametrize(
    ("inputs", "dims", "message"),
    [
        (("B", 3), {"B": (1, 4), "S": None}, "no shape has the dim 'S'"),
        (("B", 3), {"B": "1..4"}, "give fxcost.Dim"),
        (("B", 3), {"B": (4, 1)}, "dim 'B': the range"),
        ((2, 3), {}, "names no dim"),
        (("B", 3), {"1B": None}, "no name for a dim"),
        (("lambda", 3), {"lambda": None}, "no name for a dim"),
    ],
)
def test_dims_that_can_not_be_are_refused(inputs: object, dims: dict[str, object], message: str) -> None:
    """A dim that no shape has, and what is no range."""
    with pytest.raises(fxcost.FxcostError, match=message):
        fxcost.analyze(nn.Linear(3, 3), inputs, dims=dims)  # type: ignore[arg-type]


def test_ranges_are_optional() -> None:
    """A spec with a name in it leaves the size open, and so does a sequence of names."""
    for dims in (None, ["B"], {"B": None}):
        report = fxcost.analyze(nn.Linear(3, 4), fxcost.spec("B", 3), dims=dims)
        assert report.formula.at(B=4096).macs == 12 * 4096
    report = fxcost.analyze(nn.Linear(3, 4), ("B", 3), dims=["B"])
    assert str(report.formula.macs) == "12*B"


def test_a_name_without_dims_is_an_error_elsewhere() -> None:
    """What does not know dims says what a size is."""
    with pytest.raises(fxcost.FxcostError, match="'B'"):
        fxcost.trace(nn.Linear(3, 4), fxcost.spec("B", 3))


def test_the_report_is_that_of_the_middle() -> None:
    """All numbers of the report are those of an ordinary analysis at the dims' middles."""
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    report = fxcost.analyze(model, ("B", 3), dims={"B": Dim(1, 64, at=5)})
    plain = fxcost.analyze(model, (5, 3))
    assert report.cost == plain.cost
    assert report.to_dict()["nodes"] == plain.to_dict()["nodes"]


def test_a_formula_without_dims_says_how() -> None:
    """A report on plain shapes has none."""
    with pytest.raises(fxcost.FxcostError, match="no size was left open"):
        _ = fxcost.analyze(nn.Linear(3, 4), (1, 3)).formula


def test_verify_is_a_count() -> None:
    """What is no number of points is refused, and more points are looked at where more are asked for."""
    with pytest.raises(fxcost.FxcostError, match="verify"):
        fxcost.analyze(nn.Linear(3, 4), ("B", 3), dims={"B": (1, 64)}, verify=-1)
    few, many = (
        fxcost.analyze(nn.Linear(3, 4), ("B", 3), dims={"B": (1, 1000)}, verify=n).formula.domain for n in (0, 20)
    )
    assert many.verified > few.verified + 15


def test_the_model_is_left_alone() -> None:
    """Weights, mode and inputs are what they were, also after a search that fails."""
    model = nn.Sequential(nn.Linear(3, 4), nn.Dropout()).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    fxcost.analyze(model, ("B", 3), dims={"B": (1, 64)})
    with pytest.raises(fxcost.FxcostError):
        fxcost.analyze(model, ("B", 5), dims={"B": (1, 64)})
    assert model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
