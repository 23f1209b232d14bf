"""DataFrames: rows by name, exact numbers."""

from __future__ import annotations

import sys

import pytest
from hand_made import ADD, Builder, module, operation, residual_net

from fxcost.errors import MissingLibraryError, UnknownNameError
from fxcost.records.cost import Cost

pytest.importorskip("pandas")


def test_nodes_add_up_to_the_report() -> None:
    """One row for each node, in order, whose columns add up to the totals."""
    report = residual_net()
    frame = report.to_dataframe()
    assert list(frame.index) == [node.name for node in report.nodes]
    assert frame["flops"].sum() == report.flops
    assert frame.loc["stem", "outputs"] == ((2, 4, 8, 8),)
    assert frame.loc["stem", "operation"] == "Conv2d"
    assert frame.attrs["model"] == "Net"


def test_the_other_kinds_of_rows() -> None:
    """Modules at every level, operators, families and parameters."""
    report = residual_net(True)
    modules = report.to_dataframe("module")
    assert modules.loc["", "macs"] == report.macs
    assert modules.loc["blocks.1.conv", "params"] == 4 * 4 * 3 * 3
    assert modules.loc["blocks.1", "type"] == "Block"
    operators = report.to_dataframe("operator")
    assert operators.loc["aten.add.Tensor", "count"] == 3
    assert operators.loc["aten.grid_sampler_3d.default", "family"] == "uncosted"
    assert report.to_dataframe("family")["macs"].sum() == report.macs
    parameters = report.to_dataframe("parameter")
    assert parameters.loc["head.weight", "aliases"] == ("tied.weight",)
    assert parameters["elements"][parameters["kind"] == "parameter"].sum() == report.params
    assert parameters["elements"][parameters["trainable"]].sum() == report.trainable_params


def test_numbers_of_any_size_stay_exact() -> None:
    """Beyond 64 bits a column holds Python's own integers."""
    build = Builder().node("n", "call_function", "f", operations=(operation(ADD, Cost(macs=10**30 + 1)),))
    assert build.report((module("", "Net"),)).to_dataframe().loc["n", "macs"] == 10**30 + 1


def test_empty_and_unknown() -> None:
    """A report without nodes makes an empty frame; what is not known is answered with what is."""
    report = Builder().report((module("", "Net"),))
    assert len(report.to_dataframe("node")) == 0
    with pytest.raises(UnknownNameError, match="node, module, operator, family, parameter"):
        report.to_dataframe("layer")


def test_without_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named."""
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingLibraryError, match=r"pip install pandas"):
        residual_net().to_dataframe()
