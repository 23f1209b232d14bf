"""Markdown: the same numbers, and nothing of a user's becomes markup."""

from __future__ import annotations

from pathlib import Path

from hand_made import Builder, module, residual_net
from torch import nn

import fxcost


def cells(line: str) -> list[str]:
    """The cells of a table's row; an escaped bar is no border."""
    return [cell.strip() for cell in line.replace("\\|", "¦").strip().strip("|").split("|")]


def test_totals_and_modules_stand_in_tables(tmp_path: Path) -> None:
    """A heading, the totals, modules and families; each table has as many cells in all of its rows."""
    report = residual_net(True, ("Routing is uniform.",))
    text = report.to_markdown(tmp_path / "net.md")
    assert (tmp_path / "net.md").read_text("utf-8") == text
    assert text.startswith("# Net\n\n")
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert headings == ["# Net", "## Modules", "## Operations", "## Memory"]
    assert f"{report.macs:,}" in text
    assert "Routing is uniform." in text
    assert "aten.grid\\_sampler\\_3d.default" in text
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(blocks) == 5
    assert all(len({len(cells(row)) for row in block}) == 1 for block in blocks)


def test_depth() -> None:
    """Depth 1 shows the children of the root, not theirs."""
    report = residual_net()
    for depth, shown in ((3, True), (1, False)):
        assert ("├ conv (Conv2d)" in report.to_markdown(depth=depth).replace("\N{NO-BREAK SPACE}", " ")) is shown


def test_a_training_step_has_its_own_part() -> None:
    """Only a report that has one says so."""
    trained = fxcost.analyze(nn.Linear(3, 4), (2, 3), training=True)
    text = trained.to_markdown()
    assert "## Training step" in text
    assert f"{trained.training.saved_bytes} B are saved for backward; the optimizer is adamw." in text


def test_hostile_names() -> None:
    """A class named as a table, a link and a script is text."""
    name = "a|b](http://x) <script>alert(1)</script>\n# c"
    report = Builder().node("x", "placeholder", "x").report((module("", name),), model_type=name)
    text = report.to_markdown()
    assert text.startswith("# a\\|b\\](http://x) \\<script>")
    assert "\n# c" not in text
    assert not any("<script" in line.replace("\\<script", "") for line in text.splitlines()[:6])
