"""`fxcost MODEL --as …` and `fxcost conventions`."""

from __future__ import annotations

from pathlib import Path

import pytest

import fxcost
from fxcost.cli import main
from fxcost.conventions import CONVENTIONS


@pytest.fixture
def model(tmp_path: Path) -> str:
    """A file with a model that thop and ptflops count differently."""
    path = tmp_path / "net.py"
    path.write_text("from torch import nn\ndef net():\n    return nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6))\n")
    return f"{path}:net"


def test_figures_and_terms_are_printed(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    """For each tool its figures, then the way from our number to its."""
    assert main([model, "--input", "2,4", "--as", "thop, ptflops", "--format", "github"]) == 0
    thop, ptflops = capsys.readouterr().out.strip().split("\n\n")
    assert thop.startswith("thop: total_ops 96, total_params 42\n| term")
    assert "| normalization |    +48 | 1         | 4 per element if affine, else 2 |" in thop
    assert ptflops.splitlines()[0] == "ptflops: macs 36, params 42"
    assert "hooked modules divided by a batch of 2" in ptflops


def test_tools_that_count_no_operations_show_figures_alone(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    """torchsummary has no number to explain."""
    assert main([model, "--input", "2,4", "--as", "torchsummary"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("torchsummary: Total params 42, ")


def test_a_refusal_does_not_stop_the_others(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    """torchstat takes linear layers on 2-d inputs alone."""
    assert main([model, "--input", "2,3,4", "--as", "torchstat,macs"]) == 0
    first, second = capsys.readouterr().out.split("\n\n")
    assert first == "torchstat: torchstat refuses this model: the linear layer '0' has no 2-d input"
    assert second.startswith("macs: macs 144\n")


def test_a_function_that_returns_one_number() -> None:
    """torchstat divides by the batch; where a tensor has no dimension it refuses, instead of failing."""
    report = fxcost.analyze(lambda x: x.sum(), (3, 4))
    with pytest.raises(fxcost.ConventionError, match="a single number"):
        report.count("torchstat")


def test_an_unknown_tool_is_bad_usage(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With the nearest names."""
    assert main([model, "--input", "2,4", "--as", "ptflop"]) == 2
    assert "no convention 'ptflop'; did you mean 'ptflops'" in capsys.readouterr().err


def test_conventions_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """A line each, aligned."""
    assert main(["conventions"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(CONVENTIONS)
    assert len({len(line) - len(line.split(maxsplit=1)[1]) for line in lines}) == 1
