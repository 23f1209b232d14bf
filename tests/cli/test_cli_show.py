"""`fxcost show`: a report from a file gives every view that a fresh one gives."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from torch import nn

import fxcost
from fxcost import cli
from fxcost.cli.views import FILES

Run = Callable[..., tuple[int, str | bytes, str]]


@pytest.fixture
def run(capfdbinary: pytest.CaptureFixture[bytes]) -> Run:
    """Run a command line: exit code, standard output, error stream."""

    def run(*args: object, quiet: bool = True) -> tuple[int, str | bytes, str]:
        capfdbinary.readouterr()
        code = cli.main([*(str(arg) for arg in args), *(["--quiet"] if quiet else [])])
        captured = capfdbinary.readouterr()
        try:
            return code, captured.out.decode(), captured.err.decode()
        except UnicodeDecodeError:
            return code, captured.out, captured.err.decode()

    return run


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file with a small model."""
    path = tmp_path_factory.mktemp("models") / "net.py"
    path.write_text(
        "from torch import nn\n\ndef net():\n    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten())\n"
    )
    return f"{path}:net"


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--by", "node", "--columns", "name,macs", "--format", "plain", "--sort", "macs", "--top", "1"),
        ("--as", "thop,fvcore,torchinfo"),
        ("--memory",),
        ("--device", "a100", "--fusion", "pointwise"),
        ("--csv", "-"),
        ("--dot", "-"),
        ("--markdown", "-"),
        ("--speedscope", "-"),
        ("--model-explorer", "-"),
    ],
    ids=" ".join,
)
def test_it_is_as_if_the_model_had_just_been_analysed(run: Run, net: str, tmp_path: Path, options: tuple[str]) -> None:
    """The same options give the same text."""
    fresh = run(net, "--input", "2,3,6,6", "--json", tmp_path / "net.json", *options)
    assert run("show", tmp_path / "net.json", *options) == fresh
    assert fresh[0] == 0
    assert fresh[1]


def test_a_training_step_is_shown(run: Run, net: str, tmp_path: Path) -> None:
    """A report that has one needs no option."""
    fresh = run(net, "--input", "2,3,6,6", "--training", "--json", tmp_path / "net.json")
    assert "backward" in fresh[1]
    assert run("show", tmp_path / "net.json") == fresh
    assert run("show", tmp_path / "net.json", "--json", "-")[1] == (tmp_path / "net.json").read_text("utf-8")


def test_the_standard_input(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`-` reads what another command wrote."""
    fxcost.analyze(nn.Linear(3, 4), (2, 3)).to_json(tmp_path / "net.json")
    with (tmp_path / "net.json").open() as file:
        monkeypatch.setattr("sys.stdin", file)
        assert run("show", "-") == run("show", tmp_path / "net.json")


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz's program dot is not installed")
def test_every_kind_of_file_is_written(run: Run, net: str, tmp_path: Path) -> None:
    """What lies in the files is what the report's methods return; pictures come as bytes."""
    report = fxcost.analyze(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten()).eval(), (2, 3, 6, 6))
    report.to_json(tmp_path / "net.json")
    options = [part for name, _, _ in FILES for part in (f"--{name}", tmp_path / f"out.{name}")]
    code, out, err = run("show", tmp_path / "net.json", *options)
    assert (code, err) == (0, "")
    assert "Sequential" in str(out)
    for name, method, _ in FILES:
        expected = getattr(report, method)()
        written = (tmp_path / f"out.{name}").read_bytes()
        assert written == (expected if isinstance(expected, bytes) else expected.encode()), name
    assert (tmp_path / "out.flops.model-explorer").exists()
    assert run("show", tmp_path / "net.json", "--png", "-")[1] == report.to_png()


def test_what_can_not_be_shown_is_one_line(run: Run, tmp_path: Path) -> None:
    """A file that is not there or no report, a folder that is not there."""
    (tmp_path / "other.json").write_text('{"a": 1}')
    fxcost.analyze(nn.Linear(3, 4), (2, 3)).to_json(tmp_path / "net.json")
    for args, complaint in (
        ([tmp_path / "none.json"], "No such file"),
        ([tmp_path / "other.json"], "no report of fxcost"),
        ([tmp_path / "net.json", "--html", tmp_path / "none" / "a.html"], "cannot write"),
        ([tmp_path / "net.json", "--columns", "colour"], "colour"),
        ([], "REPORT"),
    ):
        code, out, err = run("show", *args)
        assert (code, out) == (2, "")
        (line,) = err.splitlines()
        assert complaint in line


def test_check_and_explain_take_a_report_for_a_model(run: Run, net: str, tmp_path: Path) -> None:
    """What needs no model is answered from the file, and the same as from the model."""
    path = tmp_path / "report.json"
    assert run(net, "--input", "1,3,8,8", "--json", path)[0] == 0
    given = (net, "--input", "1,3,8,8")
    assert run("explain", path, "0") == run("explain", *given[:1], "0", *given[1:])
    for limit, code in (("1K", 1), ("1M", 0)):
        from_file, from_model = run("check", path, "--max-macs", limit), run("check", *given, "--max-macs", limit)
        assert from_file == from_model
        assert from_file[0] == code
