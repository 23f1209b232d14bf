"""README.md is true: its examples run, its table is what is printed, its links lead somewhere."""

import doctest
import os
import re
import subprocess
from pathlib import Path

import pytest

from fxcost import cli
from fxcost.cli import model as options_of
from fxcost.sources.shapes import parse_inputs

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language):
    """Code blocks of the README in one language."""
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_python_examples():
    """All Python blocks, one after the other in one session, print what they say."""
    pytest.importorskip("torchvision")
    (text,) = ["\n".join(blocks("python"))]
    test = doctest.DocTestParser().get_doctest(text, {}, "README.md", "README.md", 0)
    assert len(test.examples) > 10
    output = []
    doctest.DocTestRunner().run(test, out=output.append)
    assert not output, "".join(output)


def test_the_table_is_what_the_command_prints(capsys):
    """The first block is the exact output of the command in the comment above it."""
    pytest.importorskip("torchvision")
    command, table = re.search(r"<!-- output of: fxcost (.*?) -->\n```text\n(.*?)```", README, flags=re.DOTALL).groups()
    assert cli.main(command.split()) == 0
    assert capsys.readouterr().out == table


def commands():
    """Every fxcost command line in the console blocks of the README and of docs/cli.md."""
    text = README + (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    lines = "".join(re.findall(r"```console\n(.*?)```", text, flags=re.DOTALL)).splitlines()
    return sorted({line.removeprefix("$ ").rpartition("&& ")[2] for line in lines if "fxcost " in line})


@pytest.mark.parametrize("command", commands())
def test_command_lines_parse(command, monkeypatch):
    """Command lines that users are shown are understood: their options, their inputs and their arguments."""
    monkeypatch.chdir(ROOT / "examples")  # which has a net.py
    program, *args = command.split()
    assert program == "fxcost"
    name = args.pop(0) if args[0] in cli.fxcost.commands else "cost"
    options = cli.fxcost.commands[name].make_context(name, args).params
    if not options.get("model"):
        return
    if "inputs" in options:
        inputs = parse_inputs(options["inputs"], options_of.parse_dims(options.get("dims", ())))
        assert len(inputs.args) + len(inputs.kwargs) == len(options["inputs"])
    assert len(options_of.parse_arguments(options["arguments"])) == len(options["arguments"])
    assert ":" in options["model"]


def test_ci_runs_the_test_command_of_the_readme():
    """.ci/run reads the one command between the markers, so that it can't be another one."""
    script = (ROOT / ".ci" / "run").read_text()
    (extract,) = re.findall(r"^command=\$\((.*)\)$", script, flags=re.MULTILINE)
    found = subprocess.run(["bash", "-c", extract], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert found == 'pip install ".[test]" && pytest\n'
    assert 'eval "$command"' in script
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    """Every relative link and picture is a file of the repository."""
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", path.read_text(encoding="utf-8"))
    missing = [link for link in links if not (path.parent / link).exists()]
    assert not missing
