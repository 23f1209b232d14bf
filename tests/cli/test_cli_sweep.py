"""`fxcost sweep`: what it runs over, what it prints and writes, and how it exits."""

import csv
import importlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

import fxcost
from fxcost import cli
from tests.sweeps.sweep_models import Net

HERE = Path(__file__).parents[1]

FILE = str(HERE / "sweeps" / "sweep_models.py")
SWEEP = importlib.import_module("fxcost.sweeps.run")


@pytest.fixture
def run(capsys, monkeypatch):
    """Run a command line on threads in the place of processes: exit code, standard output, error stream."""

    @contextmanager
    def threads(tasks, processes=None, timeout=None, memory=None):
        with ThreadPoolExecutor(2) as pool:
            yield pool

    monkeypatch.setattr(SWEEP, "own_pool", threads)

    def run(*args):
        capsys.readouterr()
        code = cli.main(["sweep", *map(str, args)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def rows(text):
    """Rows of a CSV by their names."""
    return {row["name"]: row for row in csv.DictReader(io.StringIO(text))}


def test_what_varies_is_combined(run):
    """Names in inputs and arguments stand for each of their values, in every combination, the last fastest."""
    varied = ("-i", "N,3", "--arg", "width=W", "--vary", "N=1,2", "--vary", "W=3,5")
    code, out, err = run(f"{FILE}:Net", *varied, "--csv", "-")
    assert (code, err) == (0, "")
    macs = {name.partition(" ")[2]: int(row["macs"]) for name, row in rows(out).items()}
    assert macs == {"width=3 1,3": 15, "width=5 1,3": 25, "width=3 2,3": 30, "width=5 2,3": 50}
    assert list(macs) == ["width=3 1,3", "width=5 1,3", "width=3 2,3", "width=5 2,3"]


def test_batches_and_wildcards(run):
    """`--batch 1,3` feeds the default inputs at each size, of each model that matches."""
    timm = pytest.importorskip("timm")
    code, out, err = run("timm:test_resne[t]", "timm:test_efficientnet", "--batch", "1, 3", "--csv", "-")
    assert (code, err) == (0, "")
    assert timm.list_models("test_resne[t]") == ["test_resnet"]
    found = rows(out)
    assert list(found) == [f"timm:test_{model} batch={n}" for model in ("resnet", "efficientnet") for n in (1, 3)]
    assert int(found["timm:test_resnet batch=3"]["macs"]) == 3 * int(found["timm:test_resnet batch=1"]["macs"]) > 0


def test_options_reach_the_analysis(run):
    """`--dtype`, `--capture`, `--train`, `--training` and `--optimizer` are those of a single model."""
    options = ("--dtype", "bfloat16", "--capture", "concrete", "--training", "--optimizer", "sgd")
    (row,) = rows(run(f"{FILE}:Net", "-i", "x=2,3", *options, "--csv", "-")[1]).values()
    report = fxcost.analyze(Net().train(), (2, 3), dtype="bfloat16", training=True, optimizer="sgd")
    assert (row["capture"], row["bytes_read"]) == ("concrete", str(report.bytes_read))
    assert row["training_peak_bytes"] == str(report.training.peak_bytes)
    assert row["name"].endswith("x=2,3 train capture=concrete dtype=bfloat16 training=True optimizer=sgd")


def test_the_table_is_printed_and_files_are_written(run, tmp_path):
    """A table as the layout options say; CSV and JSON lines beside it."""
    paths = {kind: tmp_path / f"out.{kind}" for kind in ("csv", "jsonl")}
    layout = ("--columns", "name,macs", "--sort", "macs", "--top", "1", "--format", "plain")
    files = (f"--{kind}={path}" for kind, path in paths.items())
    code, out, _ = run(f"{FILE}:Net", "-i", "N,3", "--vary", "N=2,8,4", *layout, *files)
    assert code == 0
    assert [line.split()[-2:] for line in out.splitlines()] == [["name", "MACs"], ["8,3", "120"]]
    assert [row["inputs"] for row in rows(paths["csv"].read_text()).values()] == ["2,3", "8,3", "4,3"]
    assert sorted(json.loads(line)["macs"] for line in paths["jsonl"].read_text().splitlines()) == [30, 60, 120]


def test_failures_are_shown_and_the_exit_code_is_1(run, tmp_path):
    """The others are done all the same; `--retry` repeats the failures of a file."""
    path = tmp_path / "rows.jsonl"
    code, out, err = run(f"{FILE}:Raises", f"{FILE}:Net", "-i", "1,3", "--jsonl", path)
    assert code == 1
    assert "1 of 2 items failed:" in out
    assert "lost" in out
    assert err.splitlines()[-1] == "fxcost: error: 1 of 2 could not be analysed"
    assert "about to raise" in err
    for options, lines in (((), 2), (("--retry",), 3)):
        assert run(f"{FILE}:Raises", f"{FILE}:Net", "-i", "1,3", "--jsonl", path, *options)[0] == 1
        assert len(path.read_text().splitlines()) == lines


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        ([], "MODEL"),
        (["NET", "--vary", "N"], "give NAME=VALUE,VALUE"),
        (["NET", "-i", "1,3", "--vary", "N=1,2"], "N is in no --input"),
        (["NET", "-i", "N=1,3", "--vary", "N=1,2"], "N is in no --input"),
        (["NET", "-i", "M,3"], "'M' is no dimension"),
        (["NET", "-i", "1,3", "--batch", "2"], "--batch is for the default inputs"),
        (["NET", "--batch", "2,0"], "'0' is no batch size"),
        (["NET", "-i", "1,3", "--columns", "nmae"], "nmae"),
        (["NET", "-i", "1,3", "--sort", "nmae"], "nmae"),
        (["NET", "-i", "1,3", "--arg", "width"], "NAME=VALUE"),
        (["NET", "-i", "1,3", "--training", "--optimizer", "adamm"], "adamm"),
        (["NET", "-i", "1,3", "--dtype", "float31"], "float31"),
        (["torchvision:resnte*"], "did you mean"),
        (["NET", "-i", "1,3", "--jsonl", FILE], "is no row of a sweep"),
        (["NET", "-i", "1,3", "--csv", "no/such/folder/x.csv"], "cannot write no/such/folder/x.csv"),
    ],
)
def test_bad_usage(run, args, complaint):
    """One line on the error stream says what is wrong."""
    code, out, err = run(*(arg.replace("NET", f"{FILE}:Net") for arg in args))
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert complaint in line


def test_quiet(run, monkeypatch):
    """`--quiet` asks for no bar."""
    asked = []
    real = SWEEP.progress_bar
    monkeypatch.setattr(SWEEP, "progress_bar", lambda total, shown: asked.append(shown) or real(total, shown))
    for options in ((), ("--quiet",)):
        run(f"{FILE}:Net", "-i", "1,3", *options)
    assert asked == [True, False]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_sweep_that_is_killed_leaves_no_process_and_can_be_resumed(run, tmp_path):
    """Whole lines are in the file when the process is gone; its workers go too, and a second run does the rest."""
    path = tmp_path / "rows.jsonl"
    args = [f"{FILE}:Net", f"{FILE}:Hangs", "-i", "1,3", "--jsonl", str(path)]
    command = [sys.executable, "-m", "fxcost", "sweep", *args, "--processes", "1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE.parent)}
    child = subprocess.Popen(command, env=environment, start_new_session=True, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: path.exists() and path.read_text())
        os.kill(child.pid, signal.SIGKILL)
        child.wait(10)
        wait_for(lambda: not is_group_alive(child.pid))
    finally:
        if is_group_alive(child.pid):
            os.killpg(child.pid, signal.SIGKILL)
    (line,) = path.read_text().splitlines()
    assert json.loads(line)["macs"] == 15
    assert run(f"{FILE}:Net", "-i", "1,3", "--jsonl", path)[0] == 0
    assert path.read_text().splitlines() == [line]


def wait_for(condition, seconds=120):
    """Wait until it holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def is_group_alive(group):
    """True if a process of the group is left, other than one that has ended and waits to be reaped."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    if sys.platform != "linux":
        return True
    found = [read_stat(path) for path in Path("/proc").glob("[0-9]*/stat")]
    return any(stat[0] != "Z" and stat[2] == str(group) for stat in found if stat)


def read_stat(path):
    """State, parent and group of a process; nothing if it has gone meanwhile."""
    try:
        return path.read_text().rpartition(")")[2].split()
    except OSError:
        return []
