"""`fxcost plan`: the plan of the function, code that runs, files, and what can't be."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytest.importorskip("scipy")

NET = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(*[nn.Sequential(nn.Linear(20, 90), nn.GELU(), nn.Linear(90, 20)) for _ in range(4)])
"""


@pytest.fixture
def net(tmp_path: Any) -> str:
    """A model of four blocks."""
    (tmp_path / "net.py").write_text(NET)
    return f"{tmp_path / 'net.py'}:Net"


def test_plan(run: Any, net: str, tmp_path: Any) -> None:
    """Text with the code, and JSON and a picture in files."""
    pytest.importorskip("matplotlib")
    shape, sgd = ("-i", "400,20"), ("--optimizer", "sgd")
    files = "--json", tmp_path / "plan.json", "--plot", tmp_path / "plan.svg"
    code, out, _ = run("plan", net, *shape, *sgd, "--memory", "1MiB", *files, "--format", "github")
    assert code == 0
    plan = json.loads((tmp_path / "plan.json").read_text())
    assert plan["limit_bytes"] == 2**20
    assert f"checkpoint {len(plan['modules'])} modules of Net" in out
    assert "use_reentrant=False)" in out
    assert "|" in out
    assert "<svg" in (tmp_path / "plan.svg").read_text()
    code, out, _ = run("plan", net, *shape, *sgd, "--memory", "1MiB", "--json", "-")
    assert (code, json.loads(out)) == (0, plan)


def test_what_does_not_fit(run: Any, net: str) -> None:
    """Exit code 1, and by how much."""
    code, out, err = run("plan", net, "-i", "400,20", "--memory", "10KiB")
    assert (code, out) == (1, "")
    assert "a training step needs " in err
    assert "are missing" in err
