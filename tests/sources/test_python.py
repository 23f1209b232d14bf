"""Models in Python files: what stands beside a file, its own arguments, and code that ends the process."""

import re
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from fxcost import cli
from fxcost.errors import ModelLoadError
from fxcost.sources.load import build, load

NET = """
from torch import nn
from blocks import N

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(4, N))
"""


@pytest.fixture
def twins(tmp_path):
    """Two folders, each with a net.py that imports the blocks.py beside it: a linear layer of 8 and one of 16."""
    for name, width in (("a", 8), ("b", 16)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "blocks.py").write_text(f"N = {width}\n")
        (folder / "net.py").write_text(NET)
    return tmp_path


def test_two_models_each_have_what_stands_beside_them(twins, monkeypatch):
    """A module of the same name beside the next model is imported anew, from a file and from where the user stands."""
    for name, width in (("a", 8), ("b", 16), ("a", 8)):
        assert load(f"{twins}/{name}/net.py:Net").model[0].out_features == width
    for name, width in (("a", 8), ("b", 16)):
        monkeypatch.chdir(twins / name)
        assert load("net:Net").model[0].out_features == width


def test_a_diff_of_two_versions_of_a_project(twins, capsys):
    """Each side is built from its own folder."""
    sides = [f"{twins}/{name}/net.py:Net" for name in "ab"]
    assert cli.main(["diff", *sides, "-i", "1,4"]) == 0
    assert re.search(r"parameters +│ +40 │ +80 │ +\+40 ", capsys.readouterr().out)


def test_packages_beside_a_model_too(tmp_path):
    """A package with modules of its own makes way as a whole."""
    for name, width in (("a", 8), ("b", 16)):
        package = tmp_path / name / "parts"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("")
        (package / "width.py").write_text(f"N = {width}\n")
        (tmp_path / name / "net.py").write_text(NET.replace("blocks", "parts.width"))
        assert load(f"{tmp_path}/{name}/net.py:Net").model[0].out_features == width


def test_modules_of_the_program_stay(twins, monkeypatch):
    """What the program itself had imported under such a name is there again afterwards; libraries never make way."""
    (twins / "blocks.py").write_text("N = 32\n")
    (twins / "a" / "torch.py").write_text("raise RuntimeError('imported in the place of PyTorch')\n")
    monkeypatch.syspath_prepend(twins)
    monkeypatch.delitem(sys.modules, "blocks", raising=False)
    import blocks

    before, path = dict(sys.modules), list(sys.path)
    assert load(f"{twins}/a/net.py:Net").model[0].out_features == 8
    assert sys.modules["blocks"] is blocks
    assert sys.modules["torch"] is torch
    assert {name for name in before if sys.modules.get(name) is not before[name]} == set()
    assert sys.path == path
    del sys.modules["blocks"]


def test_threads_do_not_mix_folders(twins):
    """Many loads at once each find what stands beside their own file."""
    with ThreadPoolExecutor(4) as threads:
        names = "ab" * 10
        found = threads.map(lambda name: load(f"{twins}/{name}/net.py:Net").model[0].out_features, names)
        assert list(found) == [8 if name == "a" else 16 for name in names]


ARGUMENTS = """
import argparse, sys
from torch import nn

def parsed():
    parser = argparse.ArgumentParser()
    parser.add_argument("--width", type=int, default=4{required})
    return parser.parse_args()

{call}

def make():
    return nn.Linear(4, parsed().width)

class Net(nn.Linear):
    def __init__(self):
        assert sys.argv[1:] == [], sys.argv
        super().__init__(4, parsed().width)
"""


@pytest.mark.parametrize("name", ["model", "make", "Net"])
def test_a_file_has_arguments_of_its_own(tmp_path, monkeypatch, name):
    """Code that parses arguments, when imported or when called, finds none, and the command's are there afterwards."""
    path = tmp_path / "net.py"
    path.write_text(ARGUMENTS.format(required="", call="model = nn.Linear(4, parsed().width)"))
    ours = ["fxcost", str(path), "--width", "7", "-i", "1,4"]
    monkeypatch.setattr(sys, "argv", ours)
    assert load(f"{path}:{name}").model.out_features == 4
    assert sys.argv is ours


def test_a_file_that_needs_arguments(tmp_path, monkeypatch, capsys):
    """It is said what to do, in one line below what the file's own parser says."""
    path = tmp_path / "net.py"
    path.write_text(ARGUMENTS.format(required=", required=True", call="options = parsed()"))
    monkeypatch.setattr(sys, "argv", ["fxcost", "--width", "7"])
    assert cli.main([f"{path}:Net", "-i", "1,4"]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert "importing" in last
    assert "ends the process (SystemExit(2)). It gets no arguments here" in last
    assert '`if __name__ == "__main__":`' in last


EXITS = """
import sys
from torch import nn

class Exits(nn.Module):
    def __init__(self, where="init"):
        super().__init__()
        self.where = where
        if where == "init":
            sys.exit(7)

    def forward(self, x):
        sys.exit(7)

class Odd(BaseException): ...

class Strange(nn.Module):
    def forward(self, x):
        raise Odd("strange")

def __getattr__(name):
    if name == "lazy":
        raise ImportError("no such library")
    raise AttributeError(name)
"""


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (["Exits"], "building {path}:Exits failed: SystemExit(7)"),
        (["Exits", "--arg", "where=forward"], "the code of the model ended the process (SystemExit: 7)"),
        (["Strange"], "unexpected Odd: strange"),
        (["lazy"], "cannot get 'lazy' of {path}: ImportError: no such library"),
        (["none"], "has no 'none'"),
    ],
)
def test_code_that_ends_the_process(tmp_path, capsys, model, words):
    """Whatever a model's code raises is one line and exit code 2, not its own code without a word."""
    path = tmp_path / "net.py"
    path.write_text(EXITS)
    assert cli.main([f"{path}:{model[0]}", *model[1:], "-i", "1,4"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words.format(path=path) in line


def test_a_factory_that_exits():
    """So for every model that is built."""
    with pytest.raises(ModelLoadError, match=r"building mine failed: SystemExit\('enough'\)"):
        build("mine", lambda: sys.exit("enough"))
    assert isinstance(build("mine", lambda: nn.ReLU()), nn.ReLU)


@pytest.mark.parametrize("spec", ["n" * 5000 + ".py:Net", "n" * 5000 + ":Net", "~nobody_here/net.py:Net", "a\0.py:Net"])
def test_names_that_no_file_has(spec):
    """A name that the system refuses is a file that is not there."""
    with pytest.raises(ModelLoadError, match=r"no such file|cannot import|names no model"):
        load(spec)
