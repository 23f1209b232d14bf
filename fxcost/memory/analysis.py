"""A finished analysis as data: what nodes add up to, and what the passes need in memory. Views read this.

:class:`fxcost.Report` is an analysis that hands itself to the views.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..totals.sums import Sums
from .memory import Memory, forward_memory
from .training import Training


@dataclass(frozen=True, eq=False, repr=False)
class Analysis(Sums):
    """The numbers of a model; where nothing else is said, those of the forward pass."""

    training: Training | None = None
    """What a training step costs; only `analyze(…, training=True)` fills it in."""
    formulas: Mapping[str, Any] | None = None
    """The numbers as formulas, in plain data that formula/ reads, or `{"error": why}`; with `analyze(…, dims=…)`."""

    @cached_property
    def memory(self) -> Memory:
        """What the forward pass needs in memory: its peak, when it is reached, and by which tensors."""
        return forward_memory(self.recording)
