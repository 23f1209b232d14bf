"""Training steps of one model with different modules checkpointed, priced, and the lives of their storages.

A step is run by `run(names)`. Each storage that the step made has a life in the step's own clock, an operator a tick.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..memory.lifetimes import Births, LiveTensor, Residents
from ..memory.training import Training
from ..records.recording import OpRecord, TrainingRecord, tensor_specs


@dataclass(frozen=True, slots=True)
class Step:
    """A step that was run: its record, its costs, and the lives of what it made, in order of birth."""

    record: TrainingRecord
    training: Training
    lives: tuple[LiveTensor, ...]

    @classmethod
    def of(cls, record: TrainingRecord, training: Training) -> Step:
        """With the lives that the training's peak was found from."""
        residents = Residents(record.parameters, record.inputs, (), record.storage_bytes)
        births = Births((*record.nodes, *record.backward), record.storage_bytes, residents.kinds)
        lives = sorted(births.lifetimes(dict(record.deaths)), key=lambda life: life.born)
        return cls(record, training, tuple(lives))

    @property
    def forward(self) -> int:
        """Ticks of the forward pass and the loss."""
        return self.training.forward_operators

    @property
    def resident(self) -> int:
        """Bytes that are there all the time: parameters, buffers, inputs, optimizer state."""
        return self.training.peak_bytes - max(self.training.live)

    def operators(self) -> list[OpRecord]:
        """What ran, a tick each."""
        return [op for node in (*self.record.nodes, *self.record.backward) for op in node.operations]

    def modules(self) -> list[str]:
        """The module that each operator of the forward pass ran in."""
        return [
            f"{node.module}.{op.scope}".strip(".") if op.scope else node.module
            for node in self.record.nodes
            for op in node.operations
        ]

    def owners(self) -> list[str]:
        """The module that each operator of the backward pass belongs to."""
        record = self.record
        ran = (op for node in record.backward for op in node.operations)
        return [
            f"{record.nodes[i].module if i >= 0 else ''}.{op.scope}".strip(".")
            for op, i in zip(ran, record.owners, strict=True)
        ]

    def users(self) -> dict[int, list[int]]:
        """The ticks of the forward pass at which each storage is read."""
        found: dict[int, list[int]] = {}
        tick = 0
        for node in self.record.nodes:
            for op in node.operations:
                for spec in tensor_specs(op.args):
                    if 0 <= spec.storage < len(node.storages):
                        found.setdefault(node.storages[spec.storage], []).append(tick)
                tick += 1
        return found


def within(path: str, module: str) -> bool:
    """True for a module and what is in it."""
    return path == module or path.startswith(f"{module}.")
