"""The options for one rank of a sharded model: what they print, and what they answer to nonsense."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import fxcost

Run = Callable[..., tuple[int, str, str]]
SOURCE = """
import torch
from torch import nn
from torch.distributed.fsdp import fully_shard

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 64))

def apply(model, mesh):
    fully_shard(model, mesh=mesh)

def along(model, mesh):
    fully_shard(model, mesh=mesh["dp"])

def nothing(model, mesh):
    pass
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A file with a model and functions that shard it."""
    file = tmp_path / "net.py"
    file.write_text(SOURCE)
    return str(file)


def test_a_rank_by_a_ready_recipe(run: Run, path: str, tmp_path: Path) -> None:
    """The totals are the rank's, as in Python; the file has them all."""
    saved = tmp_path / "rank.json"
    how = (f"{path}:Net", "--input", "8,64", "--mesh", "dp=4", "--parallel", "fsdp:dp", "--rank", "3")
    code, said, _ = run(*how, "--json", str(saved))
    assert code == 0
    assert "Rank            3 of 4 (dp 4; at dp 3): all numbers are those of this rank" in said
    assert "33,088 parameters in the whole model" in said
    report = fxcost.Report.from_json(saved)
    assert (report.params, report.unsharded_params) == (8272, 33088)
    assert run("show", str(saved), "--by", "collective")[1].startswith("Sent by this rank: 96.94 KiB in 1 collective")


def test_a_rank_by_a_function_of_a_file(run: Run, path: str) -> None:
    """What it shards, and that it shards nothing."""
    how = (f"{path}:Net", "--input", "8,64", "--training", "--mesh", "dp=4", "--parallelize")
    code, said, _ = run(*how, f"{path}:apply", "--by", "collective")
    assert code == 0
    assert "reduce_scatter" in said
    code, _, error = run(*how, f"{path}:nothing")
    assert (code, "left the model as it was" in error) == (2, True)
    code, _, error = run(*how, f"{path}:aply")
    assert (code, "apply" in error) == (2, True)


def test_what_a_rank_may_send(run: Run, path: str) -> None:
    """A budget on bytes; its culprits are modules."""
    how = ("check", f"{path}:Net", "--input", "8,64", "--mesh", "dp=4", "--parallel", "fsdp:dp")
    assert run(*how, "--max-sent", "97KiB")[0] == 0
    code, said, _ = run(*how, "--max-sent", "96KiB")
    assert (code, "sent bytes" in said) == (1, True)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--parallel", "fsdp:dp"), "are for --mesh"),
        (("--rank", "1"), "are for --mesh"),
        (("--mesh", "dp=4"), "one of --parallel"),
        (("--mesh", "dp=4", "--parallel", "fsdp:dp", "--parallelize", "x.py:f"), "one of --parallel"),
        (("--mesh", "dp", "--parallel", "fsdp:dp"), "give NAME=SIZE"),
        (("--mesh", "dp=2,dp=2", "--parallel", "fsdp:dp"), "given twice"),
        (("--mesh", "dp=4", "--parallel", "zero:dp"), "give WAY:DIM"),
        (("--mesh", "dp=4", "--parallel", "fsdp"), "give WAY:DIM"),
        (("--mesh", "dp=4", "--parallel", "ddp:dp:bfloat16"), "a dtype is for"),
        (("--mesh", "dp=4", "--parallel", "hsdp:dp"), "two dimensions"),
        (("--mesh", "dp=4", "--parallel", "fsdp:tp"), "no dimension 'tp'"),
        (("--mesh", "dp=4", "--parallel", "fsdp:dp", "--rank", "4"), "no rank 4"),
        (("--mesh", "dp=4", "--parallel", "fsdp:dp", "--rank", "last"), "no rank 'last'"),
        (("--mesh", "dp=4", "--parallelize", "apply"), "give FILE.py:NAME"),
    ],
)
def test_nonsense(run: Run, path: str, options: tuple[str, ...], said: str) -> None:
    """One line, and exit code 2."""
    code, out, error = run(f"{path}:Net", "--input", "8,64", *options)
    assert (code, out) == (2, "")
    assert said in error
    assert error.count("\n") == 1


def test_links(run: Run, path: str) -> None:
    """Bounds with what a rank sends, as in Python; a name, or bytes a second, for each dimension or for all."""
    how = (
        f"{path}:Net",
        "--input",
        "8,64",
        "--mesh",
        "dp=2,tp=2",
        "--parallelize",
        f"{path}:along",
        "--device",
        "h100",
    )
    code, said, _ = run(*how, "--links", "tp=nvlink,dp=25GB/s")
    assert code == 0
    words = " ".join(said.split())
    assert "Link dp given: 25.0 GB/s in one direction" in words
    assert "Rank, forward at least" in words
    assert "450 GB/s" in run(*how, "--links", "nvlink")[1]
    assert "Rank, forward" not in run(*how)[1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--links", "nvlink"), "--links is for --device"),
        (("--device", "h100", "--links", "nvlink"), "--links are those between ranks: analyse the model with --mesh"),
        (("--device", "h100", "--links", "dp=nvlin"), "did you mean nvlink"),
        (("--device", "h100", "--links", "copper"), "or bytes a second (25GB)"),
        (("--device", "h100", "--links", "dp=nvlink,pcie5"), "give DIM=LINK"),
        (("--device", "h100", "--links", "dp=25XB"), "is no size in bytes"),
        (("--device", "h100", "--links", "dp=0"), "a link has a bandwidth above 0"),
        (("--device", "h100", "--mesh", "dp=2", "--parallel", "fsdp:dp", "--links", "tp=nvlink"), "--links names 'tp'"),
        (
            ("--device", "h100", "--mesh", "dp=2,tp=1", "--parallel", "fsdp:dp", "--links", "tp=nvlink"),
            "--links has none for dp: give dp=nvlink",
        ),
    ],
)
def test_bad_links(run: Run, path: str, options: tuple[str, ...], said: str) -> None:
    """One line each, in the words of the command line."""
    code, _, error = run(f"{path}:Net", "--input", "8,64", *options)
    assert (code, error.count("\n")) == (2, 1), error
    assert said in error
