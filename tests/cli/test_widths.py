"""Every command's output fits the terminal that it is printed to, from 60 columns up; a pipe gets all of it."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from fxcost import cli
from fxcost.text import paper
from fxcost.text.tables import tabulated

pexpect = pytest.importorskip("pexpect", reason="pexpect is not installed")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals on Windows")

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
WIDTHS = (60, 80, 100, 200)
NET = """
from torch import nn

class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.a_convolution_with_a_long_name = nn.Conv2d(width, width, 3, padding=1)
        self.normalization = nn.BatchNorm2d(width)

    def forward(self, x):
        return x + self.normalization(self.a_convolution_with_a_long_name(x)).relu()

class Net(nn.Sequential):
    def __init__(self, width=8, blocks=2):
        super().__init__(nn.Conv2d(3, width, 3), *(Block(width) for _ in range(blocks)), nn.Flatten())
"""
SHAPE = ("--input", "2,3,12,12")
COMMANDS = {
    "cost": ("net.py:Net", *SHAPE),
    "node": ("net.py:Net", *SHAPE, "--by", "node"),
    "columns": ("net.py:Net", *SHAPE, "--columns", "name,type,input,output,params,macs,flops,bytes,intensity"),
    "operator": ("net.py:Net", *SHAPE, "--by", "operator", "--format", "psql"),
    "tools": ("net.py:Net", *SHAPE, "--as", "thop,fvcore,torchinfo"),
    "memory": ("net.py:Net", *SHAPE, "--memory", "--training", "--device", "h100"),
    "formula": ("net.py:Net", "--input", "B,3,S,S", "--dim", "B=1..8", "--dim", "S=8..64", "--formula"),
    "show": ("show", "net.json", "--by", "family"),
    "explain": ("explain", "net.py:Net", *SHAPE, "0"),
    "explain all": ("explain", "net.py:Net", *SHAPE),
    "diff": ("diff", "net.json", "wide.json"),
    "check": ("check", "net.json", "--max-macs", "1K", "--baseline", "wide.json"),
    "fit": ("fit", "net.py:Net", *SHAPE, "--memory", "1MiB"),
    "plan": ("plan", "net.py:Net", *SHAPE, "--memory", "1MiB"),
    "solve": ("solve", "net.py:Net", "--input", "B,3,9,9", "--dim", "B=1..64", "--memory", "1MiB"),
    "sweep": ("sweep", "net.py:Net", "--input", "N,3,9,9", "--vary", "N=1,2", "--processes", "1"),
    "measure": ("measure", "net.py:Net", *SHAPE, "--runs", "1", "--warmup", "0", "--device", "h100"),
    "rank": ("rank", "net.py:Net", *SHAPE, "--device", "rtx4090"),
    "estimate": ("net.py:Net", *SHAPE, "--estimate", "rtx4090"),
    "estimates": ("net.py:Net", *SHAPE, "--estimate", "rtx4090,h100"),
    "stages": ("stages", "net.json", "-k", "2", "--microbatches", "4"),
    "serve": ("serve", "hf:llama", "--arg", "num_hidden_layers=2", "--device", "h100,rtx4090", "--context", "1k,4k"),
    "devices": ("devices", "--sources"),
    "conventions": ("conventions",),
    "models": ("models", "net.py"),
    "help": ("--help",),
    "error": ("net.py:Net", *SHAPE, "--columns", "nothing"),
}
SCRIPT = """
import sys, shlex
from fxcost import cli
for line in sys.stdin:
    print("=== done", cli.main(shlex.split(line)), flush=True)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a model and two reports."""
    path = tmp_path_factory.mktemp("widths")
    (path / "net.py").write_text(NET)
    for name, width in (("net", 8), ("wide", 16)):
        model = (f"{path / 'net.py'}:Net", *SHAPE, "--arg", f"width={width}", "--quiet")
        assert cli.main([*model, "--json", str(path / f"{name}.json")]) == 0
    return path


@pytest.fixture(scope="module")
def shell(folder):
    """A terminal at which one process runs command lines."""
    hidden = ("NO_COLOR", "FORCE_COLOR", "CI", "COLUMNS", "LINES")
    env = {name: value for name, value in os.environ.items() if name not in hidden}
    paths = filter(None, (str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")))
    env |= {"PYTHONPATH": os.pathsep.join(paths), "TERM": "xterm-256color", "OMP_NUM_THREADS": "1"}
    child = pexpect.spawn(
        sys.executable, ["-c", SCRIPT], echo=False, cwd=str(folder), env=env, encoding="utf-8", timeout=120
    )
    yield child
    child.close(force=True)


@pytest.fixture(params=WIDTHS)
def terminal(request, shell):
    """The terminal made so many columns wide: a function from a command line to the width, the lines, the exit code."""
    shell.setwinsize(50, request.param)

    def run(*args):
        shell.sendline(" ".join(args))
        shell.expect(r"=== done (\d+)\r\n")
        return request.param, [ESCAPE.sub("", line) for line in shell.before.split("\r\n")], int(shell.match[1])

    return run


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "sweep"])
def test_no_line_is_wider_than_the_terminal(terminal, command):
    """Whatever is printed fits, and something is."""
    needed = {"plan": "scipy", "serve": "transformers"}
    if command in needed:
        pytest.importorskip(needed[command])
    quiet = [] if command in ("devices", "conventions", "models", "help") else ["--quiet"]
    width, lines, code = terminal(*COMMANDS[command], *quiet)
    assert code in (0, 1) or command == "error"
    assert len("".join(lines)) > 20
    wide = [line for line in lines if paper.cells_of(line) > width]
    assert wide == []


def test_every_command_is_looked_at():
    """None is forgotten here but the one that prints a script."""
    first = {args[0] if args[0] in cli.fxcost.commands else "cost" for args in COMMANDS.values()}
    assert first == set(cli.fxcost.commands) - {"completion"}


def test_a_sweep_fits(shell):
    """So does a table of many models, at the narrowest."""
    shell.setwinsize(50, 60)
    shell.sendline(" ".join([*COMMANDS["sweep"], "--quiet"]))
    shell.expect(r"=== done 0\r\n")
    lines = [ESCAPE.sub("", line) for line in shell.before.split("\r\n")]
    assert any("MACs" in line for line in lines)
    assert max(map(paper.cells_of, lines)) <= 60


def test_what_goes_first(terminal):
    """Names and MACs are there at every width; what was left out is said, and at 200 columns nothing is."""
    width, lines, _ = terminal(*COMMANDS["cost"], "--quiet")
    heading = next(line for line in lines if "module" in line)
    assert "MACs" in heading
    assert "params" in heading
    said = [line for line in lines if line.startswith("(") and f"not shown: {width} columns" in line]
    assert bool(said) == ("bytes" not in heading)
    assert (width < 100) == bool(said)


def test_a_pipe_gets_everything(folder, capsys, monkeypatch):
    """Without a terminal a table is as wide as it is, whatever COLUMNS says."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "60")
    assert cli.main([*COMMANDS["cost"]]) == 0
    out = capsys.readouterr().out
    assert "bytes" in out
    assert "not shown" not in out


def test_a_table_is_as_before_where_it_fits():
    """Paper that is wide enough changes nothing, and neither does any paper where a program reads the table."""
    rows = [("a" * 50, "12", "sentences are wrapped between words " * 3), ("b", "3", "")]
    whole = tabulated(rows, ("name", "n", "why"), "lrw", "rounded_outline")
    html = tabulated(rows, ("name", "n", "why"), "lrw", "html")
    with paper.paper(300):
        assert tabulated(rows, ("name", "n", "why"), "lrw", "rounded_outline") == whole
    with paper.paper(60):
        assert tabulated(rows, ("name", "n", "why"), "lrw", "html") == html
        narrow = tabulated(rows, ("name", "n", "why"), "lrw", "rounded_outline")
    assert max(map(len, narrow.splitlines())) <= 60
    assert "…" in narrow
    cells = [line.split("│")[3].strip() for line in narrow.splitlines()[3:-2] if line.count("│") == 4]
    assert " ".join(cells).split() == ("sentences are wrapped between words " * 3).split()


def test_the_first_column_stays():
    """However narrow, a name and one number are left."""
    rows = [("name" * 10, *["1234567890" * 2] * 6)]
    with paper.paper(60):
        text = tabulated(rows, ("module", *"abcdef"), "l" + "r" * 6, "rounded_outline", drop=("module", *"fedcba"))
    assert "module" in text.splitlines()[1]
    assert text.splitlines()[-1] == "(b, c, d, e, f not shown: 60 columns)"


def test_wide_signs_take_two_columns():
    """Chinese names are measured as a terminal shows them."""
    assert paper.cells_of("层1") == 3
    assert all(paper.cells_of(line) <= 60 for line in paper.reflowed("模 " * 80, 60).splitlines())
