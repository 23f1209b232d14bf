"""A finished analysis as data: what nodes add up to, and what the passes need in memory. Views read this.

:class:`fxcost.Report` is an analysis that hands itself to the views.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..communication.communication import Communication
from ..communication.reading import of_forward
from ..records.communication import Rank
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

    @property
    def rank(self) -> Rank | None:
        """The rank that was run, with its mesh, of a sharded model; None where the model is whole."""
        return self.recording.rank

    @property
    def unsharded_params(self) -> int:
        """Elements of the parameters of the whole model, of which a rank holds a part."""
        return self.params if self.rank is None else self.rank.unsharded_params

    @property
    def redundancy(self) -> float:
        """How often each parameter is held: those of this rank times the ranks, over those of the whole model."""
        ranks = 1 if self.rank is None else self.rank.world_size
        return self.params * ranks / self.unsharded_params if self.unsharded_params else 1.0

    @cached_property
    def communication(self) -> Communication:
        """What this rank sends and receives in the forward pass; nothing, if the model is not sharded.

        That of a training step is `training.communication`.
        """
        found = () if self.rank is None else tuple(of_forward(self.recording.nodes, self.rank.rank))
        return Communication(collectives=found)
