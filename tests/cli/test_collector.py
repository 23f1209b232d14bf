"""The garbage collector of a command's own process."""

from __future__ import annotations

import gc

from fxcost.cli.collector import full_passes_wait


def test_full_passes_of_the_collector_wait() -> None:
    """While a rank is analysed, in whatever order two end, and also if the user has other thresholds than Python's."""
    before = gc.get_threshold()
    seen: list[tuple[int, int, int]] = []
    try:
        gc.set_threshold(500, 7, 3)
        first, second = full_passes_wait(), full_passes_wait()
        for enter_or_leave in (first.__enter__, second.__enter__, lambda: first.__exit__(None, None, None)):
            enter_or_leave()
            seen.append(gc.get_threshold())
        assert {found[:2] for found in seen} == {(500, 7)}
        assert all(found[2] > 10**6 for found in seen)
        second.__exit__(None, None, None)
        assert gc.get_threshold() == (500, 7, 3)
    finally:
        gc.set_threshold(*before)
