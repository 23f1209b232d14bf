"""The fixtures for pytest, run in a pytest of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest

HERE = Path(__file__).parent
EXAMPLES = HERE.parent / "examples"


@pytest.fixture
def run(tmp_path):
    """Runs tests in a folder of their own with the plugin; returns what pytest printed."""

    def run(text=None, *options):
        if text is not None:
            (tmp_path / "test_it.py").write_text(textwrap.dedent(text))
        outer = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}  # is for this run
        env = {**outer, "PYTHONPATH": str(HERE.parent)}
        plugin = ["-p", "no:fxcost", "-p", "fxcost.pytest_plugin", "-p", "no:cacheprovider"]
        command = [sys.executable, "-m", "pytest", "-q", *plugin, *options, str(tmp_path)]
        return subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True).stdout

    return run


def test_a_readable_failure(run):
    """What is over the budget, by how much, and which modules; no traceback through fxcost."""
    out = run(
        """
        import torch

        def test_small(assert_cost):
            report = assert_cost(torch.nn.Linear(30, 40), (1, 30), max_macs="1.2K", no_uncosted=True)
            assert report.macs == 1200

        def test_large(assert_cost):
            model = torch.nn.Sequential(torch.nn.Linear(30, 40), torch.nn.ReLU())
            assert_cost(model, (1, 30), max_macs=1000, capture="concrete")
        """
    )
    assert "1 failed, 1 passed" in out
    failure = out[out.index("the model costs more") :]
    assert "OVER  MACs  1.20 K of at most 1.00 K (120.0%)" in failure
    assert "0 (Linear)  1.20 K" in failure
    assert "(concrete capture)" in failure
    assert "Traceback" not in out
    assert "pytest_plugin.py" not in out


def test_the_example(run, tmp_path):
    """The example's tests pass: a model with its limits, and a budget of pyproject.toml."""
    for name in ("pyproject.toml", "net.py", "test_net.py"):
        shutil.copy(EXAMPLES / name, tmp_path)
    assert "2 passed" in run()


def test_a_mistyped_budget(run, tmp_path):
    """The budgets that there are."""
    shutil.copy(EXAMPLES / "pyproject.toml", tmp_path)
    out = run("def test_it(fxcost_budget):\n    fxcost_budget('nett')\n")
    assert "no budget 'nett'; there are 'net', 'net-large'" in out


def test_the_plugin_is_light(run):
    """pytest loads it for every project of an environment: it imports no torch."""
    out = run("import sys\n\ndef test_it():\n    assert 'torch' not in sys.modules\n")
    assert "1 passed" in out


def test_the_fixtures_are_documented(run):
    """`pytest --fixtures` shows both."""
    out = run("", "--fixtures")
    assert "assert_cost" in out
    assert "fxcost_budget" in out


def test_the_entry_point():
    """pytest finds the plugin in an installation."""
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text())
    assert project["project"]["entry-points"]["pytest11"] == {"fxcost": "fxcost.pytest_plugin"}
