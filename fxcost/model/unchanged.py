"""What an analysis leaves in the process as it was: random generators, and the garbage collector's rest."""

from __future__ import annotations

import gc
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_MANY = 100_000
"""Objects that are young after the analysis of a graph of a few thousand nodes."""


@contextmanager
def without_collection() -> Iterator[None]:
    """Python's cyclic garbage collector rests meanwhile. Nests.

    Records are many, small and all needed; looking through them again and again would take a third of the time of a
    large model. Those of one are looked through once in the end, and are old from then on.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
            if gc.get_count()[0] > _MANY:
                gc.collect(1)


@contextmanager
def unchanged_state() -> Iterator[None]:
    """Random generators are as before afterwards: PyTorch's, Python's, NumPy's if it is loaded."""
    numpy = sys.modules.get("numpy")
    states = torch.get_rng_state(), random.getstate(), numpy.random.get_state() if numpy else None
    try:
        with without_collection():
            yield
    finally:
        torch.set_rng_state(states[0])
        random.setstate(states[1])
        if numpy:
            numpy.random.set_state(states[2])
