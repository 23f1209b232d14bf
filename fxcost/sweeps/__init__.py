"""Sweeps: what many models cost, or one model at many shapes, on one machine or many.

Items (items.py) are measured one by one (rows.py) on an executor (pool.py), noted down as they are done (journal.py)
and gathered (run.py).

In: specs, patterns, pairs and dicts. Out: `Sweep`, with a `Row` each. May use `analyze`, `sources` and `model`.
"""

from .run import Sweep, sweep

__all__ = ["Sweep", "sweep"]
