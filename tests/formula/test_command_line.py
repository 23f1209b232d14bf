"""The command line: `--dim`, `--formula`, `fxcost solve`."""

from __future__ import annotations

from pathlib import Path

import pytest

from fxcost.cli import main
from fxcost.report import Report

NET = """
from torch import nn

def net():
    return nn.Sequential(nn.Linear(3, 4, bias=False), nn.ReLU(), nn.Linear(4, 2))
"""


@pytest.fixture
def model(tmp_path: Path) -> str:
    """A model in a file."""
    path = tmp_path / "net.py"
    path.write_text(NET)
    return f"{path}:net"


DIMS = ("--input", "B,S,3", "--dim", "B=1..64", "--dim", "S=8..512")


def test_formulas_are_printed_and_written(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The report, then its formulas; JSON and page carry them."""
    out = tmp_path / "net.json"
    page = tmp_path / "net.html"
    assert main([model, *DIMS, "--formula", "--json", str(out), "--html", str(page)]) == 0
    printed = capsys.readouterr().out
    assert "= 20·B·S" in printed
    assert "B = 1 … 64" in printed
    assert Report.from_json(str(out)).formula.at(B=2, S=10).macs == 400
    assert "20·B·S" in page.read_text()


def test_shapes_may_be_written_with_crosses(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A dim without a range, and a shape written with x."""
    assert main([model, "--input", "Bx3", "--dim", "B", "--formula"]) == 0
    assert "= 20·B\n" in capsys.readouterr().out


def test_names_alone_leave_sizes_open(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Ranges are optional, and so is --dim where formulas are asked for."""
    assert main([model, "--input", "B,S,3", "--dim", "S=8..512", "--formula", "--verify", "5"]) == 0
    found = capsys.readouterr().out
    assert "B = 1 … 4096" in found
    assert "S = 8 … 512" in found
    assert main(["solve", model, "--input", "B,3", "--limit", "macs=200"]) == 0
    assert capsys.readouterr().out == "B = 10: macs = 200\n"


JUMPY = """
import torch
from torch import nn

class Jumpy(nn.Module):
    def forward(self, x):
        return torch.ones((len(x) ** 2 * 7919 + 13) % 31 + 1, 3) @ torch.ones(3, 3)
"""


def test_without_a_formula_the_numbers_still_come(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The table, then why there is none, with the user's line; the page says so, and what needs formulas fails."""
    path, page = tmp_path / "jumpy.py", tmp_path / "page.html"
    path.write_text(JUMPY)
    given = (f"{path}:Jumpy", "--input", "B,3", "--dim", "B=2..64")
    assert main([*given, "--formula", "--html", str(page)]) == 0
    found = capsys.readouterr().out
    assert "MACs" in found
    assert "there is no formula in B" in found
    assert "jumpy.py:6 (forward of Jumpy)" in found
    assert "There are none: there is no formula in B" in page.read_text()
    assert main(["solve", *given, "--memory", "1GiB"]) == 2
    assert "jumpy.py:6" in capsys.readouterr().err


def test_solve(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The largest size, what it needs, and whether the domain ends there."""
    assert main(["solve", model, *DIMS, "--memory", "64KiB", "--given", "S=100"]) == 0
    found = capsys.readouterr().out
    report_size = int(found.partition(" = ")[2].partition(":")[0])
    assert 1 <= report_size < 64
    assert main(["solve", model, *DIMS, "--memory", "1GiB", "--given", "S=100"]) == 0
    assert "B = 64 is the end of the domain" in capsys.readouterr().out
    assert main(["solve", model, *DIMS, "--limit", "macs=2000", "--given", "S=10"]) == 0
    assert capsys.readouterr().out == "B = 10: macs = 2,000\n"
    assert main(["solve", model, *DIMS, "--memory", "64KiB", "--given", "S=100"]) == 0
    assert "KiB)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--input", "2,3", "--formula"], 2, "needs a size that is open"),
        (["--dim", "B=1..64"], 2, "--dim is for names in --input"),
        (["--input", "B,3", "--dim", "B=1"], 2, "give NAME=LOW..HIGH"),
        (["--input", "B,3", "--dim", "B=4..1"], 2, "empty"),
        (["--input", "B,3", "--dim", "B=1..9", "--dim", "B"], 2, "given twice"),
        (["--input", "C,3", "--dim", "B=1..9"], 2, "'C' is no dimension (a whole number, 0 or more, or B)"),
        (
            ["--input", "B,3", "--dim", "B=7..7"],
            2,
            "--dim B: the range 7 … 7 has one size only, 7: write 7 into --input",
        ),
        (["--input", "B,3", "--formula", "--verify", "-1"], 2, "--verify -1 is no number of points"),
        (["--input", "B,3", "--dim", "B=1..9", "--real"], 2, "--real needs all"),
        (["--input", "B,3", "--dim", "B=1..9", "--dim", "S"], 2, "no shape has the dim 'S'"),
    ],
)
def test_bad_options(
    model: str, arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each is answered in one line."""
    assert main([model, *arguments]) == code
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--memory", "10", "--given", "S=100"], 1, "no size fits"),
        (["--given", "S=100"], 2, "give a limit"),
        (["--memory", "1GiB"], 2, "all dims but one"),
        (["--memory", "1GiB", "--given", "S=x"], 2, "whole number"),
        (["--memory", "1GiB", "--given", "Q=1"], 2, "no such dim; open are B, S"),
        (["--memory", "1GiB", "--given", "S=100000"], 2, "outside of"),
        (["--memory", "1KiB", "--given", "S=100"], 1, "the limit is 1,024 (1.00 KiB)"),
        (["--memory", "1GiB", "--given", "S"], 2, "NAME=VALUE"),
    ],
)
def test_what_can_not_be_solved(
    model: str, arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1 where nothing fits, 2 where the question is none."""
    assert main(["solve", model, *DIMS, *arguments]) == code
    assert message in capsys.readouterr().err
