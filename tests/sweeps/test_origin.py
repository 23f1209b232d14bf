"""What a sweep that goes on takes from its file: rows whose item, code and libraries are what they were."""

import importlib
import json
import textwrap
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import metadata

import pytest
import torch
from torch import nn

import fxcost
from fxcost.sweeps.items import items_of
from fxcost.sweeps.origin import holding, origin
from tests.sweeps import sweep_models
from tests.sweeps.sweep_models import Net

SWEEP = importlib.import_module("fxcost.sweeps.run")
NET = """
    from torch import nn
    from helpers import wide

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, wide.N)
            import late
            self.act = late.act

        def forward(self, x):
            return self.act(self.layer(x))
"""


@pytest.fixture
def project(tmp_path):
    """A model in a file that imports a package beside it, and when it is built another file."""
    files = {
        "net.py": NET,
        "helpers/__init__.py": "",
        "helpers/wide.py": "from .numbers import N\n",
        "helpers/numbers.py": "N = 8\n",
        "late.py": "import helpers\nact = __import__('torch').relu\n",
        "other.py": "N = 3\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return tmp_path


@pytest.fixture
def swept(tmp_path, monkeypatch):
    """Sweeps with one file of rows: the rows, and the names of those that were run."""
    ran = []
    real = SWEEP.measure
    monkeypatch.setattr(SWEEP, "measure", lambda item: ran.append(item.name) or real(item))

    def sweep(items, **options):
        ran.clear()
        with ThreadPoolExecutor(1) as executor:
            found = fxcost.sweep(items, executor=executor, path=tmp_path / "rows.jsonl", **options)
        return found, list(ran)

    return sweep


def test_a_model_that_was_edited_is_run_again(project, swept):
    """The file itself; what it imports, directly or not, at its top or in a function. Nothing else."""
    spec = f"{project}/net.py:Net"
    found, ran = swept([(spec, (2, 4))])
    assert (found.errors, ran) == ({}, [f"{spec} 2,4"])
    assert swept([(spec, (2, 4))])[1] == []
    (project / "other.py").write_text("N = 4\n")
    (project / "late.py").touch()
    assert swept([(spec, (2, 4))])[1] == []
    changes = {
        "helpers/numbers.py": "N = 16\n",
        "late.py": "act = __import__('torch').sigmoid\n",
        "helpers/__init__.py": "# changed\n",
        "net.py": textwrap.dedent(NET).replace("(4, wide.N)", "(4, wide.N, bias=False)"),
    }
    for name, text in changes.items():
        (project / name).write_text(text)
        assert len(swept([(spec, (2, 4))])[1]) == 1, name
        assert swept([(spec, (2, 4))])[1] == [], name


def test_what_is_as_before_holds_again(tmp_path, swept):
    """A change that was taken back needs no third run, and the numbers are those of the file as it is."""
    net = tmp_path / "net.py"
    for width, runs in ((2, 1), (3, 1), (2, 0), (3, 0)):
        net.write_text(f"import torch\nNet = lambda: torch.nn.Linear(4, {width})\n")
        (row,), ran = swept([(f"{net}:Net", (2, 4))])
        assert (row.params, len(ran)) == (5 * width, runs)


def test_a_file_that_was_mended_needs_no_retry(tmp_path, swept):
    """What failed is run again when the file has changed."""
    spec = f"{tmp_path}/new.py:Net"
    assert swept([(spec, (2, 4))])[0].errors
    assert swept([(spec, (2, 4))])[1] == []
    (tmp_path / "new.py").write_text("import torch\nNet = lambda: torch.nn.Linear(4, 2)\n")
    assert swept([(spec, (2, 4))])[0].rows[0].params == 10


def test_the_same_spec_elsewhere_is_another_model(tmp_path, swept, monkeypatch):
    """A relative path, and a module of the current folder, mean what stands there."""
    for name, text in (("a", "4, 2"), ("b", "4, 3")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "m.py").write_text(f"import torch\nNet = lambda: torch.nn.Linear({text})\n")
    for name, params in (("a", 10), ("b", 15)):
        monkeypatch.chdir(tmp_path / name)
        for spec in ("m.py:Net", "m:Net"):
            (row,), ran = swept([(spec, (2, 4))])
            assert (row.params, len(ran)) == (params, 1)


def test_versions(swept, monkeypatch):
    """A new version of PyTorch or of the model's library: its models are run again."""
    pytest.importorskip("timm")
    items = ["timm:test_resnet", ("torch.nn:ReLU", (2, 4))]
    assert len(swept(items)[1]) == 2
    assert swept(items)[1] == []
    real = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "99" if name == "timm" else real(name))
    assert swept(items)[1] == ["timm:test_resnet"]
    monkeypatch.setattr(metadata, "version", lambda name: "99" if name == "torch" else real(name))
    assert len(swept(items)[1]) == 2


def test_a_configuration_on_disk(swept, tmp_path):
    """Of transformers: its file is what counts."""
    pytest.importorskip("transformers")
    config = {"model_type": "bert", "num_hidden_layers": 1, "hidden_size": 8, "intermediate_size": 8}
    config["num_attention_heads"] = 2
    for size, runs in ((50, 1), (50, 0), (60, 1)):
        (tmp_path / "config.json").write_text(json.dumps({**config, "vocab_size": size}))
        found, ran = swept(f"hf:{tmp_path}")
        assert (found.errors, len(ran)) == ({}, runs)


def test_numbered_items_are_known_by_what_they_are(swept):
    """Models of one name keep their numbers when their order changes."""
    small, large = (nn.Sequential(nn.Linear(3, n)) for n in (2, 5))
    assert [row.params for row in swept([(small, (1, 3)), (large, (1, 3))])[0]] == [8, 20]
    assert [row.params for row in swept([(large, (1, 3)), (small, (1, 3))])[0]] == [20, 8]


@pytest.mark.parametrize(
    ("before", "after", "holds"),
    [
        ({"model": Net}, {"model": Net}, True),
        ({"model": Net}, {"model": sweep_models.Quits, "name": "Net"}, False),
        ({"model": partial(Net, 5)}, {"model": partial(Net, 5)}, True),
        ({"model": partial(Net, 5)}, {"model": partial(Net, 6)}, False),
        ({"model": "a:b", "inputs": torch.ones(2)}, {"model": "a:b", "inputs": torch.zeros(2)}, True),
        ({"model": "a:b", "inputs": torch.tensor([1])}, {"model": "a:b", "inputs": torch.tensor([2])}, False),
        ({"model": nn.Linear(3, 4)}, {"model": nn.Linear(3, 4)}, True),
        ({"model": nn.Linear(3, 4)}, {"model": nn.Linear(3, 4).eval()}, False),
        ({"model": nn.Linear(3, 4)}, {"model": nn.Linear(3, 4).requires_grad_(False)}, False),
        ({"model": nn.Linear(3, 4)}, {"model": nn.Linear(3, 4, dtype=torch.half)}, False),
        ({"model": Net, "leaf_modules": (nn.ReLU,)}, {"model": Net, "leaf_modules": (nn.ReLU,)}, True),
        ({"model": Net, "name": "x"}, {"model": Net, "name": "x", "dtype": "half"}, False),
        ({"model": Net, "kwargs": {"a": [(1, 2)]}}, {"model": Net, "kwargs": {"a": [(1, 3)]}, "name": "Net"}, False),
    ],
)
def test_what_makes_an_item_another_one(before, after, holds):
    """Everything of which its cost may hang: also what its name does not say."""
    (was,), (is_now,) = items_of(before, {}), items_of(after, {})
    assert holding()(is_now, origin(was)) is holds


def test_what_cannot_be_said_is_run_again(swept):
    """A model that raises when it is asked what it is; a row of before rows had origins."""

    class Mute(Net):
        def __repr__(self):
            raise RuntimeError("no comment")

    model = Mute()
    assert len(swept([(model, (1, 3))])[1]) == 1
    assert len(swept([(model, (1, 3))])[1]) == 1
    (item,) = items_of([(Net, (1, 3))], {})
    assert not holding()(item, ())
