"""The line that parts analyses: what Python runs in between is not the model's."""

from __future__ import annotations

import gc
from typing import Any

from fxcost.formula.lines import parting_line


def test_callbacks_of_the_collector_are_no_lines_of_the_models() -> None:
    """A library may have the collector call it, in one run and not in another."""

    def called(phase: str, info: dict[str, Any]) -> None:
        pass

    def alike(size: int) -> None:
        (gc.collect if size == 3 else abs)(0)

    gc.callbacks.append(called)
    try:
        assert parting_line(alike, (1, 2), 3) == ""
    finally:
        gc.callbacks.remove(called)


def test_a_branch_is_the_line_that_decides() -> None:
    """Its text, as it stands in the file."""

    def branching(size: int) -> int:
        if size < 3:
            return size
        return -size

    assert parting_line(branching, (1, 2), 3).endswith("(if size < 3:)")
