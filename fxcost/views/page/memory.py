"""Memory over time for the page: live bytes in at most a thousand columns, and what is there all the time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...memory.analysis import Analysis
from ...memory.lifetimes import LiveTensor
from .store import number

MOST_COLUMNS = 1000
"""Columns of a timeline: a screen has hardly more pixels."""
MOST_TENSORS = 25
"""Tensors that are listed of those alive at the peak."""


def memory_data(report: Analysis) -> list[dict[str, Any]]:
    """A timeline of the forward pass and, if one was analysed, of the training step."""
    memory = report.memory
    levels = [moment.peak_bytes for moment in memory.timeline]
    forward = {
        "name": "Forward pass",
        "unit": "node",
        "columns": columns(levels),
        "count": len(levels),
        "resident": [
            ["parameters", number(memory.parameter_bytes)],
            ["buffers", number(memory.buffer_bytes)],
            ["inputs", number(memory.input_bytes)],
            *([["state", number(memory.state_bytes)]] if memory.state_bytes else []),
        ],
        "live": "activations",
        "backward": None,
    }
    return [forward, *_training(report)]


def _training(report: Analysis) -> list[dict[str, Any]]:
    training = report.training
    if training is None:
        return []
    resident = ("parameters", "buffers", "inputs", "optimizer state")
    step = {
        "name": "Training step",
        "unit": "operator",
        "columns": columns(training.live),
        "count": len(training.live),
        "resident": [[kind, number(training.peak_parts.get(kind, 0))] for kind in resident],
        "live": "activations and gradients",
        "backward": training.forward_operators,
    }
    return [step]


def columns(levels: Sequence[int]) -> list[list[Any]]:
    """[position, level] of the largest of each group of neighbours, at most MOST_COLUMNS of them.

    >>> columns([1, 5, 2])
    [[0, 1], [1, 5], [2, 2]]
    """
    size = -(-len(levels) // MOST_COLUMNS) or 1
    groups = [range(i, min(i + size, len(levels))) for i in range(0, len(levels), size)]
    peaks = [max(group, key=levels.__getitem__) for group in groups]
    return [[i, number(levels[i])] for i in peaks]


def largest(tensors: Sequence[LiveTensor]) -> tuple[Sequence[LiveTensor], int, int]:
    """The tensors to list, then how many more there are, and their bytes. Empty tensors are left out."""
    held = [tensor for tensor in tensors if tensor.nbytes]
    rest = held[MOST_TENSORS:]
    return held[:MOST_TENSORS], len(rest), sum(tensor.nbytes for tensor in rest)
