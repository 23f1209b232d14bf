"""A stage of a pipeline, and the cut between two."""

from __future__ import annotations

from dataclasses import dataclass

from ..records.cost import Cost


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A border between two stages: the first module or node behind it, and what crosses (bytes of one microbatch).

    `bytes` are what nodes before it make and nodes behind it read, `input_bytes` inputs of the model that these read.
    """

    before: str
    node: str
    bytes: int
    input_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A part of the model: the modules or nodes that begin in it, its cost, and what it holds (bytes).

    `peak_bytes` is the most at one time in the forward pass of one microbatch, its parameters and what it receives
    included; `saved_bytes` is kept for its backward pass, if a training step was analysed.
    """

    units: tuple[str, ...]
    nodes: tuple[str, ...]
    cost: Cost
    param_bytes: int
    peak_bytes: int
    saved_bytes: int | None
