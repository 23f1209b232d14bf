"""What an analysis made goes when its report goes: circles would wait for Python's collector, which takes its time."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from models import Residual
from torch import nn

import fxcost

A_FEW = 60
"""Objects: some that PyTorch leaves, none for each node or module."""


@pytest.mark.parametrize("options", [{}, {"capture": "concrete"}, {"training": True}], ids=str)
def test_nothing_waits_for_the_collector(options: dict[str, Any]) -> None:
    model, shape = Residual(nn.Sequential(*[nn.Linear(8, 8) for _ in range(30)]), in_place=False), (2, 8)
    for _ in range(2):
        fxcost.analyze(model, shape, **options)
    gc.collect()
    gc.disable()
    try:
        fxcost.analyze(model, shape, **options)
        assert gc.collect() < A_FEW
    finally:
        gc.enable()
