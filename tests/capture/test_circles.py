"""What an analysis made goes when its report goes: circles would wait for Python's collector, which takes its time."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from models import Residual
from torch import nn

import fxcost


@pytest.mark.parametrize("options", [{}, {"capture": "concrete"}, {"training": True}], ids=str)
def test_nothing_of_ours_waits_for_the_collector(options: dict[str, Any]) -> None:
    model = Residual(nn.Sequential(*[nn.Linear(8, 8) for _ in range(5)]), in_place=False)
    fxcost.analyze(model, (2, 8), **options)
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        fxcost.analyze(model, (2, 8), **options)
        gc.collect()
        left = [thing for thing in gc.garbage if module_of(thing).startswith("fxcost")]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
    assert not left


def module_of(thing: Any) -> str:
    """Where a function or the class of an object was defined."""
    return str(thing.__module__ if callable(thing) and hasattr(thing, "__module__") else type(thing).__module__)
