"""What a newcomer types: names that are not there, options of other programs, mistakes that cost no analysis."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fxcost import cli
from fxcost.cli import checks, names, wording
from fxcost.cli.group import SECTIONS, section_of

PACKAGE = Path(cli.__file__).parents[1]
NET = """
from torch import nn

class Net(nn.Linear):
    def __init__(self):
        super().__init__(4, 2)

def make(): ...
"""


@pytest.fixture
def said(capsys, tmp_path, monkeypatch):
    """The exit code and error line of a command line in a folder with net.py."""
    (tmp_path / "net.py").write_text(NET)
    monkeypatch.chdir(tmp_path)

    def said(*args):
        code = cli.main(list(args))
        return code, capsys.readouterr().err

    return said


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("nonsense",), "`fxcost models` lists names"),
        (("net.py",), "net.py:Net, net.py:make"),
        (("nope.py",), "no such file: nope.py"),
        (("nope.py:Net",), "no such file: nope.py"),
        (("help",), "fxcost --help"),
        (("list",), "`fxcost models` lists models"),
        (("model.onnx",), "not saved weights"),
        (("timm:",), "`fxcost models timm:`"),
        (("nomodule:Net",), "there is no module 'nomodule', here or installed"),
        (("net.py:Net", "--input-size", "1,4"), "no option --input-size; did you mean --input?"),
        (("net.py:Net", "--columns", "nme"), "no column 'nme'; did you mean 'name'?"),
        (("net.py:Net", "--sort", "mac"), "did you mean 'macs'?"),
        (("net.py:Net", "--format", "githb"), "did you mean 'github'?"),
        (("net.py:Net", "--as", "thopp"), "did you mean 'thop'?"),
        (("net.py:Net", "--html", "nowhere/x.html"), "cannot write nowhere/x.html"),
        (("net.py:Net", "--plot", "x.foo"), "no picture format 'foo'"),
        (("net.py:Net", "--optimizer", "adam"), "--optimizer is for --training"),
        (("check", "net.py:Net"), "--max-macs 4.2G"),
        (("check", "net.py:Net", "--tolerance", "1%"), "--baseline PATH"),
        (("diff", "net.py:Net", "net.py:make", "--format", "mrkdown"), "did you mean 'markdown'?"),
        (("fit", "net.py:Net", "--memory", "lots"), "24GiB"),
        (("fit", "hf:gpt2", "--memory", "1GiB", "--serve", "--head", "none"), "--head says nothing with --serve"),
        (("fit", "net.py:Net", "--memory", "1GiB", "--kv", "fp8"), "--kv says nothing without --serve"),
        (("plan", "net.py:Net", "--memory", "lots"), "24GiB"),
        (("plan", "net.py:Net", "--memory", "1GiB", "--optimizer", "adm"), "did you mean 'adam'"),
    ],
)
def test_mistakes_are_found_before_anything_is_built(said, monkeypatch, args, words):
    """One line that says what is meant, and no model was built."""
    monkeypatch.setattr("fxcost.sources.load.load", lambda *_, **__: pytest.fail("a model was built"))
    code, err = said(*args)
    assert code == 2
    assert words in err
    assert "unexpected" not in err
    assert len(err.splitlines()) == 1


def test_no_list_of_overloads(said, tmp_path):
    """PyTorch's list of all ways to call an operator, with its colours, is nothing that the user could have called."""
    (tmp_path / "conv.py").write_text("from torch import nn\n\ndef net():\n    return nn.Conv2d(3, 2, 3)\n")
    code, err = said("conv.py:net", "--input", "[1,3,8,8]")
    assert code == 2
    assert "expected one of" not in err
    assert "[31" not in err
    assert "leave the brackets out" in err


AT_ITS_LEAST = {
    "check": ("net.py:Net", "--max-macs", "1G"),
    "completion": ("bash",),
    "conventions": (),
    "cost": ("net.py:Net",),
    "devices": (),
    "diff": ("net.py:Net", "net.py:make"),
    "explain": ("net.py:Net",),
    "fit": ("net.py:Net", "--memory", "1GiB"),
    "measure": ("net.py:Net",),
    "models": (),
    "plan": ("net.py:Net", "--memory", "1GiB"),
    "rank": ("net.py:Net", "--device", "h100"),
    "serve": ("hf:llama", "--device", "h100"),
    "show": ("net.py",),
    "solve": ("net.py:Net", "--input", "B,4", "--dim", "B=1..9", "--memory", "1GiB"),
    "stages": ("net.py:Net", "-k", "2"),
    "sweep": ("net.py:Net",),
}
"""What each command can't do without."""
WRONG = {
    "--format": "githb",
    "--columns": "nme",
    "--sort": "mac",
    "--as": "thopp",
    "--device": "h1000",
    "--estimate": "h1000",
    "--optimizer": "adm",
    "--dtype": "float31",
    "--plot": "x.foo",
    **dict.fromkeys(("--csv", "--dot", "--html", "--json", "--jsonl", "--markdown", "--speedscope"), "nowhere/x"),
}
"""What nobody can mean, by option."""


def _wrong():
    for name, command in sorted(cli.fxcost.commands.items()):
        for option in sorted({option for parameter in command.params for option in parameter.opts} & set(WRONG)):
            yield pytest.param(name, option, id=f"{name} {option}")


@pytest.mark.parametrize(("name", "option"), _wrong())
def test_every_option_is_checked_before_anything_is_built(said, monkeypatch, name, option):
    """Whichever command has it: columns, formats, tools, devices and paths are looked at first, and said in a line."""
    for work in ("sources.load.load", "serving.generation.generation", "sweeps.sweep", "report.Report.from_json"):
        monkeypatch.setattr(f"fxcost.{work}", lambda *_, **__: pytest.fail("the work has begun"))
    training = ("--training",) if option == "--optimizer" and name not in ("fit", "plan") else ()
    code, err = said(name, *AT_ITS_LEAST[name], *training, option, WRONG[option])
    assert code == 2
    assert "unexpected" not in err
    assert WRONG[option].split("/")[0].removeprefix("x.") in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("args", [["nonsense"], ["net.py"], ["nomodule:Net"], ["models", "net.py"]])
def test_an_unknown_name_imports_no_torch(tmp_path, args):
    """The answer needs neither PyTorch nor a model library, so it comes at once."""
    (tmp_path / "net.py").write_text(NET)
    code = (
        f"import sys; from fxcost import cli; cli.main({args!r}); print(sorted({{'torch', 'timm'}} & {{*sys.modules}}))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("spec", "library"),
    [("torchvision:resnet5O", "torchvision"), ("timm:resnet5O", "timm"), ("hf:lama", "transformers")],
)
def test_the_nearest_model(said, spec, library):
    """A mistyped name is answered with those that are like it."""
    pytest.importorskip(library)
    code, err = said(spec)
    assert code == 2
    prefix = spec.partition(":")[0]
    assert f"did you mean {prefix}:" in err
    assert f"fxcost models {prefix}:" in err


def test_models_are_listed(capsys, tmp_path):
    """By part of a name, by wildcard, of one library or all, and what a file defines."""
    pytest.importorskip("torchvision")
    assert cli.main(["models", "torchvision:resnet5*"]) == 0
    assert capsys.readouterr().out == "torchvision:resnet50\n"
    assert cli.main(["models", "resnet152"]) == 0
    assert "torchvision:wide_resnet101_2" not in (out := capsys.readouterr().out)
    assert "torchvision:resnet152" in out.splitlines()
    (tmp_path / "net.py").write_text(NET)
    assert cli.main(["models", str(tmp_path / "net.py")]) == 0
    assert capsys.readouterr().out.splitlines() == [f"{tmp_path / 'net.py'}:{name}" for name in ("Net", "make")]
    assert cli.main(["models", "no such thing"]) == 1
    assert names.matching("torchvision:resnet50") == [
        name for name in names.matching("torchvision:") if "resnet50" in name
    ]


def test_what_was_written_is_said(said, tmp_path):
    """On the error stream, with its size; `--quiet` says nothing."""
    code, err = said("net.py:Net", "--input", "1,4", "--html", "x.html", "--dot", "x.dot")
    assert code == 0
    assert "wrote x.html (" in err
    assert "wrote x.dot (" in err
    assert said("net.py:Net", "--input", "1,4", "--html", "x.html", "--quiet") == (0, "")


def test_depth_reaches_the_pictures(said, tmp_path):
    """`--collapse` is the depth of pictures, and `--depth` where that is not given."""
    (tmp_path / "deep.py").write_text(
        "from torch import nn\n\ndef net():\n    return nn.Sequential(nn.Sequential(nn.ReLU(), nn.Tanh()), nn.ReLU())\n"
    )
    dots = []
    for i, options in enumerate((["--depth", "1"], ["--collapse", "1"], ["--depth", "1", "--collapse", "9"])):
        assert said("deep.py:net", "--input", "1,4", "--dot", f"{i}.dot", *options)[0] == 0
        dots.append((tmp_path / f"{i}.dot").read_text())
    assert dots[0] == dots[1]
    assert "Tanh" not in dots[0]
    assert "Tanh" in dots[2]


def test_a_baseline_brings_its_folder(said, tmp_path):
    """`--update` makes the folder in which baselines are to stand."""
    code, _ = said("check", "net.py:Net", "--input", "1,4", "--baseline", "cost/net.json", "--update")
    assert code == 0
    assert said("check", "net.py:Net", "--input", "1,4", "--baseline", "cost/net.json")[0] == 0


def test_picture_formats_are_those_of_matplotlib():
    """The list that is looked at before the analysis is what matplotlib has."""
    figure = pytest.importorskip("matplotlib.figure").Figure()
    assert set(checks.PICTURES) <= set(figure.canvas.get_supported_filetypes()) | {"webp"}
    assert {"png", "svg", "pdf"} <= set(checks.PICTURES)


def test_every_option_has_its_section():
    """Only what every command has is left over for the last section of a help."""
    for command in cli.fxcost.commands.values():
        options = [p for p in command.params if hasattr(p, "is_flag")]
        if len(options) > command.few:
            other = {p.name for p in options if section_of(p) == "Other" and p.expose_value}
            assert not other, (command.name, other)
    assert all(len(set(names)) == len(names) for names in SECTIONS.values())


PYTHON = re.compile(
    r"(?<!@)fxcost\.\w+\(|(?<![\w-])[a-z_]+=(?![=>])['\"\w]|\b(?:analyze|roofline|Device|by_module)\(|capture="
)
"""What a user of the command line has never typed."""
ELSEWHERE = {
    "families.py", "pytest_plugin.py", "conventions/convention.py", "rules/user.py", "sweeps/run.py", "sweeps/items.py",
    "sweeps/pool.py", "views/from_json.py", "speed/efficiency.py", "compare/budgets.py", "formula/expressions.py",
    "ranks/world.py", "pipeline/stages.py",
}  # fmt: skip
"""Files whose errors are for callers of Python functions that no command calls, or for files that are written so."""


OF_THE_MODEL = re.compile(
    r"requires_grad=False|enable_nested_tensor=False|layout=torch\.jagged|to_empty\(device='cpu'\)|\{x=1,3,8,8; mask=1|"
    r"device : give flops_per_s.*|--mesh dp=8"
)
"""What is about the user's own code, is written so in `--input`, or is of a device that only Python can describe."""


def messages():
    """Every text that is raised in the package with code of Python in it, and where."""
    for path in sorted(PACKAGE.rglob("*.py")):
        where = str(path.relative_to(PACKAGE))
        if where in ELSEWHERE or where.startswith(("cli/", "compat/", "errors/")):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                texts = [
                    n.value for n in ast.walk(node.exc) if isinstance(n, ast.Constant) and isinstance(n.value, str)
                ]
                text = "".join(texts)
                if PYTHON.search(text):
                    yield pytest.param(text, id=f"{where}:{node.lineno}")


@pytest.mark.parametrize("text", list(messages()))
def test_messages_speak_the_language_of_the_command_line(text):
    """What the library says in arguments of Python functions, the command line says in options."""
    assert not PYTHON.search(OF_THE_MODEL.sub("", wording.in_options(text))), wording.in_options(text)


def test_a_message_of_parts_speaks_the_language_too():
    """What is put together where it is raised can't be read off the code."""
    said = wording.in_options("k=9: the model has one module in which to cut it; by='node' cuts anywhere")
    assert said == "-k 9: the model has one module in which to cut it; --by node cuts anywhere"
