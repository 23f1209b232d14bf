"""What a capture asks of whoever runs a model as one rank of many; ranks/ has it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

from ..meta.storages import Storages
from ..meta.values import ValueRecorder
from ..model.inputs import Arguments
from ..model.parts import Parts
from ..records.communication import Rank


class Sharding(Protocol):
    """Shards the copy of a model, and follows what one rank does."""

    as_given: bool
    """True if the model that is given is run itself, and not a copy."""
    settles: bool
    """True if the second step is what all further ones are, and the first is not."""
    rank: Rank | None
    """The rank that is run, once a model is sharded."""

    def apply(self, model: Any, parts: Parts, arguments: Arguments) -> tuple[Any, Parts]:
        """The sharded model, and its parts; `arguments` are those of a call.

        Raises:
            ShardingError: it can't be sharded.
        """

    def settle(self, model: Any) -> None:
        """Have the model do what it does once, between the first step and the second."""

    @property
    def hint(self) -> str:
        """What to look at where a sharded model fails."""

    def recorder(self, storages: Storages, real_available: bool) -> ValueRecorder:
        """A recorder for a forward pass."""

    def step_recorder(self, storages: Storages, casts: bool) -> Any:
        """A recorder for a training step."""

    def running(self, recorder: Any, model: Any, parts: Parts) -> AbstractContextManager[None]:
        """A context in which the model runs."""
