"""A finished analysis as data: what nodes add up to, and what the passes need in memory. Views read this.

:class:`fxcost.Report` is an analysis that hands itself to the views.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

from ..communication.communication import Communication
from ..communication.reading import of_forward
from ..errors import ShardingError, shown
from ..records.communication import Rank
from ..totals.repeated import Repeated, repeated
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

    def repeated(self, whole: Sums, over: str | tuple[str, ...] | None = None) -> Repeated:
        """How often the ranks together do the work of the forward pass, in all and by module.

        >>> import fxcost, torch
        >>> model, inputs = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 8)), (2, 8)
        >>> half = fxcost.parallel.tensor_parallel("tp", {"0": "colwise_gathered"})
        >>> one = fxcost.analyze(model, inputs, mesh={"tp": 2}, parallelize=half)
        >>> one.repeated(fxcost.analyze(model, inputs))
        Repeated(macs=1.5, modules={'1': 2.0})

        Args:
            whole: the report of the model on the same inputs, not sharded.
            over: the dimensions of the mesh whose ranks share these inputs ("tp", "pp"), and not those along which each
                has inputs of its own ("dp"); by default all.

        Raises:
            ShardingError: this is no rank's report, or its mesh has no such dimension.
        """
        if self.rank is None:
            raise ShardingError(
                "repeated() is for the report of one rank: analyse the model with mesh= and parallelize="
            )
        sizes = dict(self.rank.mesh)
        names = tuple(sizes) if over is None else (over,) if isinstance(over, str) else over
        if odd := [name for name in names if name not in sizes]:
            raise ShardingError(f"the mesh has no dimension {shown(odd[0])}; it has {', '.join(map(repr, sizes))}")
        return repeated(self, whole, prod(sizes[name] for name in names))

    @cached_property
    def communication(self) -> Communication:
        """What this rank sends and receives in the forward pass; nothing, if the model is not sharded.

        That of a training step is `training.communication`.
        """
        found = () if self.rank is None else tuple(of_forward(self.recording.nodes, self.rank.rank))
        return Communication(collectives=found)
