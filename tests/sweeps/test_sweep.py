"""Sweeps: what an item may be, what becomes of each, and that nothing stops the others."""

import csv
import importlib
import io
import json
import os
import sys
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import fxcost
from fxcost.errors import InputError, ModelLoadError, UnknownNameError, WorkerError
from fxcost.sweeps import Sweep
from fxcost.sweeps.items import items_of
from fxcost.sweeps.journal import appending, read
from fxcost.sweeps.pool import Processes
from fxcost.sweeps.rows import Row
from tests.sweeps import sweep_models
from tests.sweeps.sweep_models import Net

FILE = str(Path(__file__).with_name("sweep_models.py"))
SWEEP = importlib.import_module("fxcost.sweeps.run")
MEASURE = SWEEP.measure


@pytest.fixture
def threads():
    """Two threads: the same work without the processes."""
    with ThreadPoolExecutor(2) as executor:
        yield executor


def names(given, **common):
    return [item.name for item in items_of(given, common)]


# Items ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("item", "name"),
    [
        (f"{FILE}:Net", f"{FILE}:Net"),
        (Net(), "Net"),
        (Net, "Net"),
        (partial(Net, width=5), "Net width=5"),
        ((Net, (2, 3)), "Net 2,3"),
        ((Net, [(2, 3), fxcost.spec(4, dtype="int64")]), "Net 2,3 4:int64"),
        ((Net, {"x": torch.ones(2, 3), "flag": None}), "Net x=2,3:float32 flag=None"),
        ((Net, ([(2, 3), (4, 3)],)), "Net [2,3; 4,3]"),
        ({"model": "timm:resnet18", "batch": 8, "dtype": torch.bfloat16}, "timm:resnet18 batch=8 dtype=bfloat16"),
        ({"model": Net, "arguments": {"width": 5}, "inputs": (1, 3), "train": True}, "Net width=5 1,3 train"),
        ({"model": Net, "inputs": (1, 3), "leaf_modules": (nn.Linear,)}, "Net 1,3 leaf_modules=[Linear]"),
        ({"model": Net, "name": "mine"}, "mine"),
    ],
)
def test_names_say_what_an_item_is(item, name):
    """All that tells items apart, in one line, the same in every process."""
    assert names([item]) == [name]


def test_patterns_are_written_out():
    """Wildcards stand for the names that the library has, in its order; each once."""
    timm = pytest.importorskip("timm")
    found = names(["timm:resnet*", "timm:resnet18"])
    assert found == [f"timm:{name}" for name in timm.list_models("resnet*")]
    assert len(found) > 10
    pytest.importorskip("torchvision")
    assert names("torchvision:resnet?8") == ["torchvision:resnet18"]
    pytest.importorskip("transformers")
    assert "hf:bert" in names("hf:b*", batch=2)[0] or "hf:bert batch=2" in names("hf:b*", batch=2)


def test_wildcards_in_the_names_of_files_are_none():
    """A path may have brackets in it."""
    assert names("folder[1]/net.py:Net") == ["folder[1]/net.py:Net"]


def test_what_is_the_same_is_there_once():
    """Specs with equal inputs are one item; models and tensors need not be equal, so they are numbered."""
    assert names(["a:b", ("a:b", (1, 3)), "a:b", ("a:b", (1, 3))]) == ["a:b", "a:b 1,3"]
    assert names([(Net(), (1, 3))] * 3) == ["Net 1,3", "Net 1,3 #2", "Net 1,3 #3"]
    assert names([("a:b", torch.zeros(1)), ("a:b", torch.ones(1))]) == ["a:b 1:float32", "a:b 1:float32 #2"]


def test_one_item_need_not_be_in_a_list():
    """A spec, a model, even one that can be iterated over, and a dict stand for themselves."""
    assert names("a:b") == ["a:b"]
    assert names(nn.Sequential(nn.ReLU(), nn.ReLU())) == ["Sequential"]
    assert names({"model": Net}) == ["Net"]


def test_an_item_overrides_what_holds_for_all():
    """`sweep(…, batch=2)` is for those that don't say."""
    assert names(["a:b", {"model": "a:b", "batch": 3}], batch=2) == ["a:b batch=2", "a:b batch=3"]


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ([{"model": "a:b", "btach": 3}], InputError, "no 'btach'; did you mean 'batch'"),
        ([{"model": "a:b", "colour": 3}], InputError, "no 'colour'; there are"),
        ([{"inputs": (1, 3)}], InputError, "has no model"),
        ([("a:b", (1, 3), 3)], InputError, r"a pair \(model, inputs\)"),
        ([3], InputError, "3 is no model"),
        ([{"model": "a:b", "inputs": (1, 3), "batch": 3}], InputError, "batch is for the default inputs"),
        (["torchvision:resnte*"], ModelLoadError, "torchvision has no model 'resnte\\*'; did you mean"),
    ],
)
def test_what_is_no_item(given, error, words):
    """What can't be meant is said at once, before anything runs."""
    with pytest.raises(error, match=words):
        fxcost.sweep(given)


# Rows ----------------------------------------------------------------------------------------------------------------


def test_rows_are_what_analyze_says(threads):
    """Every number of a row is that of a single analysis, in the order of the items, whatever the item is."""
    pairs = [(Net(), (2, 3)), (Net, (4, 3)), (f"{FILE}:Net", (8, 3)), (partial(Net, 5), (2, 3))]
    found = fxcost.sweep(pairs, executor=threads, progress=False)
    assert [row.macs for row in found] == [15 * 2, 15 * 4, 15 * 8, 25 * 2]
    report = fxcost.analyze(Net(), (8, 3))
    row = found.rows[2]
    assert (row.model, row.inputs, row.capture, row.error) == (f"{FILE}:Net", "8,3", "symbolic", "")
    assert (row.nodes, row.params, row.flops, row.bytes) == (4, 15, report.flops, report.cost.bytes_moved)
    assert (row.activations, row.peak_bytes) == (report.activations, report.memory.peak_bytes)
    assert row.seconds == row.build_s + row.analysis_s > 0


def test_what_holds_for_all(threads):
    """Inputs, arguments, the batch and options of the analysis can be given once."""
    macs = [
        row.macs for row in fxcost.sweep([Net, f"{FILE}:make"], inputs=(2, 3), arguments={"width": 7}, executor=threads)
    ]
    assert macs == [35 * 2] * 2
    (row,) = fxcost.sweep(Net, inputs=(2, 3), training=True, optimizer="sgd", executor=threads)
    step = fxcost.analyze(Net().eval(), (2, 3), training=True, optimizer="sgd").training
    assert (row.training_flops, row.training_peak_bytes) == (step.total.flops, step.peak_bytes)


def test_default_inputs_and_batches(threads):
    """Models of libraries need no inputs; MACs are linear in the batch."""
    pytest.importorskip("timm")
    one, three = fxcost.sweep([{"model": "timm:test_resnet", "batch": n} for n in (1, 3)], executor=threads)
    assert three.macs == 3 * one.macs > 0
    assert three.inputs.startswith("3,3,")


def test_models_that_decide_by_values(threads):
    """With `real` there are weights and data to decide by; without, the row says what is assumed."""
    items = [{"model": sweep_models.Decides, "inputs": fxcost.spec(2, 600), "real": real} for real in (False, True)]
    without, with_data = fxcost.sweep(items, executor=threads)
    assert (with_data.name, with_data.macs) == ("Decides 2,600 real", 2 * 600 * 600)
    assert "seeded noise" in without.assumptions[0]
    assert (with_data.capture, with_data.assumptions) == ("real", ())


def test_a_failing_item_is_a_row_and_stops_nothing(threads):
    """Whatever goes wrong, where it does: no such model, no inputs, an exception, an exit."""
    items = ["no:such", Net, (sweep_models.Raises, (1, 3)), (sweep_models.Quits, (1, 3)), (Net, (1, 4)), (Net, (1, 3))]
    items += [f"{FILE}:Nett", sweep_models.not_a_model]
    found = fxcost.sweep(items, executor=threads)
    words = [
        "cannot import no",
        "needs x",
        "lost",
        "7",
        "(1, 4)|1x4|1×4|3",
        "",
        "did you mean Net",
        "returned a Tensor",
    ]
    for row, expected in zip(found, words, strict=True):
        assert any(word in row.error for word in expected.split("|")), row
        assert bool(row.error) == bool(expected) == (row.macs is None)
    assert list(found.errors) == [row.name for row in found if row.error]
    assert found.errors["no:such"].startswith("ModelLoadError: ")


@pytest.fixture
def done(threads):
    """A sweep with a failure and an uncosted operator."""
    return fxcost.sweep([(Net, (2, 3)), (Net, (8, 3)), (sweep_models.Raises, (1, 3))], executor=threads)


def test_csv(done, tmp_path):
    """One line each with exact integers; what failed has its error and no numbers."""
    text = done.to_csv(tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == text
    first, _, last = csv.DictReader(io.StringIO(text))
    assert list(first) == [name for name in Row.__dataclass_fields__ if name != "origin"]
    assert (first["name"], first["macs"], first["error"]) == ("Net 2,3", "30", "")
    assert (last["macs"], "lost" in last["error"]) == ("", True)


def test_table(done):
    """Columns, order and format as the user says; failures have lines of their own, or a column in HTML."""
    text = str(done)
    assert "Net 8,3" in text
    assert "1 of 3 items failed:\nRaises 1,3: " in text
    plain = done.table(columns=["name", "macs"], sort="macs", top=2, format="tsv").splitlines()
    assert [line.split() for line in plain] == [["name", "MACs"], ["Net", "8,3", "120"], ["Net", "2,3", "30"]]
    assert "error" in done._repr_html_()
    assert repr(done) == "<Sweep: 3 rows, 1 failed>"
    assert len(done) == 3
    for wrong in ({"columns": ["nmae"]}, {"sort": "nmae"}, {"format": "nmae"}):
        with pytest.raises(UnknownNameError, match="nmae"):
            done.table(**wrong)


def test_an_empty_sweep(tmp_path):
    """Nothing to do starts no process."""
    found = fxcost.sweep([])
    assert (len(found), found.errors) == (0, {})
    assert "name" in found.table()
    assert found.to_csv().count("\n") == 1


# Going on where it stopped -------------------------------------------------------------------------------------------


def test_interrupted_and_resumed(threads, tmp_path, monkeypatch):
    """What is in the file is not run again, a half line is cut off, and the rest is done."""
    path = tmp_path / "rows.jsonl"
    pairs = [(f"{FILE}:Net", (n, 3)) for n in range(1, 6)]
    seen = []

    def second(name):
        seen.append(name)
        if len(seen) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(SWEEP, "progress_bar", lambda *_: Context(second))
        with pytest.raises(KeyboardInterrupt):
            fxcost.sweep(pairs, executor=threads, path=path)
    lines = path.read_text().splitlines()
    assert [json.loads(line)["name"] for line in lines] == seen
    path.write_text("\n".join(lines) + '\n{"name": "half a li')
    ran = []
    monkeypatch.setattr(SWEEP, "measure", lambda item: ran.append(item.name) or MEASURE(item))
    found = fxcost.sweep(pairs, executor=threads, path=path)
    assert [row.macs for row in found] == [15 * n for n in range(1, 6)]
    assert sorted([*ran, *seen]) == sorted(row.name for row in found)
    assert len(path.read_text().splitlines()) == 5
    assert fxcost.sweep(pairs, executor=threads, path=path) == found
    assert len(ran) == 3


class Context:
    """A context manager around a value."""

    def __init__(self, value):
        self.value = value

    def __enter__(self):
        return self.value

    def __exit__(self, *error):
        return None


def test_failures_are_repeated_only_if_asked(threads, tmp_path):
    """A row with an error is a row; `retry` runs its item again, and the last row counts."""
    path, net, width = tmp_path / "rows.jsonl", tmp_path / "net.py", tmp_path / "width.txt"
    net.write_text(f"import torch\nNet = lambda: torch.nn.Linear(3, int(open({str(width)!r}).read()))\n")
    assert fxcost.sweep(f"{net}:Net", inputs=(1, 3), executor=threads, path=path).errors
    width.write_text("4")
    assert fxcost.sweep(f"{net}:Net", inputs=(1, 3), executor=threads, path=path).errors
    (row,) = fxcost.sweep(f"{net}:Net", inputs=(1, 3), executor=threads, path=path, retry=True)
    assert row.macs == 12
    assert fxcost.sweep(f"{net}:Net", inputs=(1, 3), executor=threads, path=path).rows == (row,)
    assert len(path.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    "text",
    [
        "name,macs\n",
        "[]\n",
        '{"name": "a", "colour": "red"}\n',
        "3\n",
        '{"name": "a", "model": "b", "macs": "x"}\n',
        '{"name": "a", "model": "b", "macs": true}\n',
        '{"name": "a", "model": "b", "macs": 1.5}\n',
        '{"name": 5, "model": "b"}\n',
        '{"name": "a", "model": "b", "uncosted": [1]}\n',
        "[" * 100_000 + "\n",
    ],
)
def test_a_file_of_something_else_is_not_touched(tmp_path, text):
    """A mistaken path does not spoil a file."""
    path = tmp_path / "file"
    path.write_text(text)
    with pytest.raises(InputError, match=r"line 1 of .* is no row of a sweep"):
        fxcost.sweep("a:b", path=path)
    assert path.read_text() == text
    with pytest.raises(InputError, match="cannot write"):
        fxcost.sweep("a:b", path=tmp_path / "no" / "folder.jsonl")


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such files")
def test_what_is_no_file_takes_no_rows(tmp_path):
    """A folder, a device that never ends, a pipe that forgets: nothing is read from them, nothing is run."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", "/dev/zero", "/dev/full"):
        if os.path.exists(path):
            with pytest.raises(InputError, match="is no file"):
                fxcost.sweep("a:b", path=path)


def test_a_disk_that_becomes_full(tmp_path, threads, monkeypatch):
    """It is said which file could not be written; the rows before are whole, and the next run does the rest."""
    path = tmp_path / "rows.jsonl"
    items = [(f"{FILE}:Net", (n, 3)) for n in (1, 2)]
    real, rows = json.dumps, []

    def full(row):
        rows.append(row)
        if len(rows) == 2:
            raise OSError(28, "No space left on device")
        return real(row)

    with monkeypatch.context() as patch:
        patch.setattr(json, "dumps", full)
        with pytest.raises(InputError, match=r"cannot write .*rows.jsonl: No space left on device"):
            fxcost.sweep(items, executor=threads, path=path)
    assert len(path.read_text().splitlines()) == 1
    assert [row.macs for row in fxcost.sweep(items, executor=threads, path=path)] == [15, 30]


@given(st.lists(st.text(min_size=1), max_size=4), st.integers(0, 60))
def test_a_file_cut_anywhere_keeps_its_whole_lines(tmp_path_factory, texts, cut):
    """Whatever stands in the rows and wherever the file ends, the lines before are kept and the next is well-formed."""
    path = tmp_path_factory.mktemp("journal") / "rows.jsonl"
    rows = [Row(name=text, model="m", assumptions=(text, "b")) for text in texts]
    with appending(path) as append:
        for row in rows:
            append(row)
    assert read(path, Row) == rows
    whole = path.read_bytes()
    path.write_bytes(whole[: max(len(whole) - cut, 0)])
    kept = read(path, Row)
    assert kept == rows[: len(kept)]
    with appending(path) as append:
        append(Row(name="next", model="m"))
    assert [row.name for row in read(path, Row)] == [*texts[: len(kept)], "next"]


# Executors -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def survived():
    """A sweep over good and bad models on two real processes."""
    bad = [f"{FILE}:{name}" for name in ("Exits", "Killed", "Hangs", "Greedy", "Raises")]
    pairs = [(spec, (n, 3)) for n, spec in enumerate([f"{FILE}:Net", *bad, f"{FILE}:Net"], 1)]
    pairs += [(lambda: Net(), (1, 3)), (partial(Net, 5), (1, 3))]
    return fxcost.sweep(pairs, processes=2, timeout=8, memory="16GiB", progress=False)


def test_processes_that_die_cost_only_their_item(survived):
    """Exits, signals, hangs and memory: the guilty one is named with its reason; the others are done."""
    good = [row for row in survived if not row.error]
    assert [row.macs for row in good] == [15, 15 * 7, 25]
    reasons = [row.error for row in survived if row.error]
    assert "the process died (exit code 3)" in reasons[0]
    assert "SIGKILL, perhaps for want of memory" in reasons[1]
    assert "not done after 8 s" in reasons[2]
    if sys.platform == "linux":
        assert "MemoryError" in reasons[3]
    assert "lost" in reasons[4]
    assert "can't be sent to another process" in reasons[5]


def test_an_executor_broken_by_one_item(threads, tmp_path):
    """Of a pool that breaks nothing is known: every item gets a row, but none is in the file, so all run again."""

    class Broken(Executor):
        def submit(self, fn, /, *args):
            if args[0].name.endswith("1,3"):
                future = Future()
                future.set_exception(BrokenExecutor("a process died"))
                return future
            raise BrokenExecutor("no more")

    path = tmp_path / "rows.jsonl"
    pairs = [(Net, (n, 3)) for n in (1, 2)]
    assert list(fxcost.sweep(pairs, executor=Broken(), path=path).errors.values()) == [
        "BrokenExecutor: a process died",
        "BrokenExecutor: no more",
    ]
    assert [row.macs for row in fxcost.sweep(pairs, executor=threads, path=path)] == [15, 30]


def test_a_given_executor_stays_open(threads):
    """It is the user's; limits, which only our own pool can keep to, are refused."""
    fxcost.sweep((Net,), inputs=(1, 3), executor=threads)
    assert threads.submit(int).result() == 0
    for limit in ({"timeout": 3}, {"memory": "1GiB"}, {"processes": 2}):
        with pytest.raises(InputError, match="default pool"):
            fxcost.sweep(Net, executor=threads, **limit)
    with pytest.raises(InputError, match="0 is no number"):
        fxcost.sweep(Net, processes=0)


def test_a_process_that_has_grown_is_replaced(monkeypatch):
    """One process takes item after item until it has grown too much; the next item has a new one."""
    pool = importlib.import_module("fxcost.sweeps.pool")
    with Processes(1) as processes:
        first = processes.submit(os.getpid).result()
        with pytest.raises(WorkerError, match="ValueError: invalid literal"):
            processes.submit(int, "x").result()
        monkeypatch.setattr(pool, "RECYCLED", -1)
        assert processes.submit(os.getpid).result() == first != os.getpid()
        assert processes.submit(os.getpid).result() != first


def test_processes_that_do_not_start(monkeypatch, tmp_path):
    """A script without a guard, whose processes would start processes, is told what to do."""
    script = tmp_path / "script.py"
    script.write_text("raise SystemExit('imported again')")
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None, raising=False)
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(script), raising=False)
    with pytest.raises(WorkerError, match='if __name__ == "__main__"'):
        Processes(1)


def test_dask():
    """A cluster of two workers serves as executor; a worker that dies costs only its item."""
    distributed = pytest.importorskip("distributed")
    cluster = distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, memory_limit=0)
    with cluster, distributed.Client(cluster) as client:
        pairs = [(f"{FILE}:Net", (n, 3)) for n in range(1, 5)] + [("no:such", (1, 3))]
        found = fxcost.sweep(pairs, executor=client.get_executor(pure=False))
        assert len(client.scheduler_info()["workers"]) == 2
    assert [row.macs for row in found] == [15, 30, 45, 60, None]
    assert isinstance(found, Sweep)


# Progress ------------------------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    """A stream that says it is one."""

    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stream", "progress", "shown"), [(Terminal, True, True), (Terminal, False, False), (io.StringIO, True, False)]
)
def test_progress(threads, monkeypatch, stream, progress, shown):
    """A bar on the error stream, only on a terminal and only if wanted."""
    error = stream()
    monkeypatch.setattr(sys, "stderr", error)
    fxcost.sweep([(Net, (n, 3)) for n in (1, 2)], executor=threads, progress=progress)
    assert ("2/2" in error.getvalue()) == shown
    assert bool(error.getvalue()) == shown
