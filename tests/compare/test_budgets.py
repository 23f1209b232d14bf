"""Budgets in pyproject.toml, `fxcost check`, and the examples for CI and pre-commit."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fxcost import cli
from fxcost.compare.budgets import find_project, read_budgets
from fxcost.errors import BudgetError

HERE = Path(__file__).parents[1]
EXAMPLES = HERE.parent / "examples"
yaml = pytest.importorskip("yaml")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A copy of the example project, as the current folder."""
    for name in ("pyproject.toml", "net.py"):
        shutil.copy(EXAMPLES / name, tmp_path)
    (tmp_path / "cost").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder, text):
    """A pyproject.toml."""
    path = folder / "pyproject.toml"
    path.write_text(text)
    return path


def test_budgets_are_read(project):
    """A table each; what stands in [tool.fxcost] holds for all."""
    (project / "src" / "deep").mkdir(parents=True)
    path = find_project(project / "src" / "deep")
    assert path == project / "pyproject.toml"
    budgets = read_budgets(path)
    assert list(budgets) == ["net", "net-large"]
    assert budgets["net"].arguments == {"width": 16}
    assert budgets["net"].limits["no_uncosted"] is True
    assert budgets["net-large"].inputs == ("8,3,64,64",)


def test_one_budget(tmp_path):
    """[tool.fxcost] alone may be the budget; underscores are dashes."""
    budgets = read_budgets(write(tmp_path, '[tool.fxcost]\nmodel = "net.py:Net"\nmax_macs = 3\n'))
    assert list(budgets) == [""]
    assert budgets[""].limits == {"max_macs": 3}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[tool.fxcost]\nmax-macs = 3\n", "says no model"),
        ('[tool.fxcost]\nmodel = "a:b"\nmax-mac = 3\n', "did you mean max-macs"),
        ("[tool.fxcost]\nbudgets = 3\n", "must be tables"),
        ("[tool.fxcost.budgets.x]\nmax-macs = 3\n", "budgets.x] says no model"),
        ('[tool.fxcost]\nmodel = "a:b"\narg = ["x"]\n', "arg must be a table"),
        ("[tool.fxcost\n", "cannot read"),
        ("[tool]\nfxcost = 5\n", "fxcost must be a table, [tool.fxcost], not 5"),
        ("[tool.fxcost]\nmodel = 5\n", "model must be a text such as"),
        ("max-macs = " + "9" * 5000, "cannot read"),
        *(
            (f'[tool.fxcost]\nmodel = "a:b"\n{key} = {value}\n', f"[tool.fxcost] {key}{words}")
            for key, value, words in [
                ("input", "5", ' must be a text such as "1,3,224,224", or a list of them, not 5'),
                ("input", "[1, 3]", " must be a text such as"),
                ("batch", "true", " must be a whole number above 0, not True"),
                ("batch", "0", " must be a whole number"),
                ("batch", "1.5", " must be a whole number"),
                ("capture", '"symbolc"', ' must be "auto", "symbolic" or "concrete", not '),
                ("capture", "{}", " must be"),
                ("dtype", "16", " must be a text, not 16"),
                ("train", '"yes"', " must be true or false, not 'yes'"),
                ("no-uncosted", '"x"', " must be true or false"),
                ("optimizer", "nan", ' must be a number, or a text such as "adamw", not nan'),
                ("baseline", "[1]", " must be a text"),
                ("tolerance", "1979-05-27", ' must be a number, or a text such as "1%", not '),
                ("tolerance", '"x"', ": 'x' is no share"),
                ("max-params", '"9999x"', ": '9999x' is no count"),
                ("max-peak-memory", "-1", ": -1 is no number of bytes"),
                *(
                    ("max-macs", bad, " must be a number, or a text such as")
                    for bad in ("nan", "inf", "true", "[1]", "{a=1}")
                ),
                ("max-macs", "1979-05-27", " must be a number"),
            ]
        ),
    ],
)
def test_bad_files(tmp_path, text, complaint):
    """What is wrong, and in which file."""
    with pytest.raises(BudgetError) as error:
        read_budgets(write(tmp_path, text))
    assert complaint in str(error.value)
    assert "pyproject.toml" in str(error.value)


@pytest.mark.parametrize(
    ("value", "limit"), [("4.2e9", 4_200_000_000), ('"4.2G"', "4.2G"), ("12", 12), ("0.5", 0), ("1e400", None)]
)
def test_what_a_limit_may_be(tmp_path, value, limit):
    """A text, a whole number, or one that TOML takes for a fraction."""
    path = write(tmp_path, f'[tool.fxcost]\nmodel = "a:b"\ntolerance = 0.5\nbaseline = "x"\nmax-macs = {value}\n')
    if limit is not None:
        assert read_budgets(path)[""].limits == {"max_macs": limit, "tolerance": 0.5, "baseline": "x"}
    else:
        with pytest.raises(BudgetError, match="max-macs"):
            read_budgets(path)


def test_tool_that_is_no_table(tmp_path):
    """Such a file has no budget."""
    write(tmp_path, "tool = 5\n")
    with pytest.raises(BudgetError, match="there is no pyproject"):
        find_project(tmp_path)


def test_no_file(tmp_path):
    """A project without budgets says so."""
    write(tmp_path, "[tool.other]\n")
    with pytest.raises(BudgetError, match="there is no pyproject"):
        find_project(tmp_path)


def test_check_reads_the_project(project, capsys):
    """All budgets; a baseline is written first; then a change breaks it, with exit code 1 and the module."""
    assert cli.main(["check"]) == 2
    assert "net-large.json" in capsys.readouterr().err
    assert cli.main(["check", "net-large", "--update"]) == 0
    assert capsys.readouterr().out == "net-large: wrote cost/net-large.json\n"
    assert cli.main(["check"]) == 0
    assert capsys.readouterr().out.count("within budget") == 2
    net = project / "net.py"
    net.write_text(
        net.read_text().replace("nn.Conv2d(width, width, 3, padding=1)", "nn.Conv2d(width, width, 5, padding=2)")
    )
    assert cli.main(["check"]) == 1
    out = capsys.readouterr().out
    assert "OVER  MACs" in out
    assert "body (Conv2d)" in out


def test_check_of_a_model(project, capsys):
    """Limits as options; the exit code says whether they hold."""
    model = ["check", "net.py:Net", "--input", "1,3,32,32"]
    assert cli.main([*model, "--max-macs", "4.2G", "--max-peak-memory", "2GiB", "--no-uncosted"]) == 0
    assert cli.main([*model, "--max-params", "100"]) == 1
    out = capsys.readouterr().out
    assert "OVER  parameters" in out
    assert "body (Conv2d)  2.32 K" in out
    assert cli.main([*model, "--baseline", "cost/new.json", "--update"]) == 0
    assert cli.main([*model, "--baseline", "cost/new.json", "--tolerance", "1%"]) == 0


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (["net.py:Net", "--input", "1,3,32,32"], "nothing to check"),
        (["net.py:Net", "--input", "1,3,32,32", "--update"], "--update writes a baseline"),
        (["net-smal"], "net"),
        (["--max-macs", "3"], "options are for a MODEL"),
        (["net.py:Net", "--input", "1,3,32,32", "--max-mcas", "3"], "--max-macs"),
    ],
)
def test_bad_usage(project, capsys, args, complaint):
    """Exit code 2 and one line."""
    assert cli.main(["check", *args]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert complaint in line


# Examples ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def shell(project, tmp_path):
    """Runs a shell command in the project, with `fxcost` on the path as an installation would put it there."""
    tools = tmp_path / "tools"
    tools.mkdir()
    script = tools / "fxcost"
    script.write_text(f'#!/bin/sh\nPYTHONPATH="{HERE.parent}" exec "{sys.executable}" -m fxcost "$@"\n')
    script.chmod(0o755)
    env = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "GITHUB_BASE_REF": "main"}
    env["GITHUB_STEP_SUMMARY"] = str(tmp_path / "summary.md")

    def run(command, cwd=project):
        return subprocess.run(["bash", "-e", "-c", command], cwd=cwd, env=env, capture_output=True, text=True)

    return run


@pytest.mark.skipif(shutil.which("git") is None or shutil.which("bash") is None, reason="needs git and bash")
def test_the_workflow(shell, tmp_path):
    """Every command of the example workflow runs; the summary of the pull request says what it changes."""
    identity = "-c user.name=a -c user.email=a@b"
    made = shell(
        "git init -q -b main origin && cp pyproject.toml net.py origin && cd origin && fxcost check net-large --update "
        "&& git add . && "
        f"git {identity} commit -q -m first && cd .. && git clone -q origin work && "
        "sed -i 's/width, 10)/width, 12)/' work/net.py"
    )
    assert made.returncode == 0, made.stderr
    steps = yaml.safe_load((EXAMPLES / "github-workflow.yml").read_text())["jobs"]["cost"]["steps"]
    commands = {step["name"]: step["run"] for step in steps if "run" in step}
    assert "pip install fxcost" not in commands.pop("Install")  # the name is nobody's at the index
    for name, command in commands.items():
        ran = shell(command, cwd=tmp_path / "work")
        assert ran.returncode == 0, (name, ran.stdout, ran.stderr)
    summary = (tmp_path / "summary.md").read_text()
    assert "### Model cost: parameters +34" in summary
    assert "head (Linear)" in summary.replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_the_hooks(shell, project):
    """Both descriptions of the pre-commit hook say the same, and their command runs."""
    (offered,) = yaml.safe_load((HERE.parent / ".pre-commit-hooks.yaml").read_text())
    (local,) = yaml.safe_load((EXAMPLES / "pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    assert offered.items() >= local.items()
    ran = shell(f"{local['entry']} net-large --update && {local['entry']}")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("within budget") == 2
