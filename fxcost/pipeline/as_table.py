"""Stages as text."""

from __future__ import annotations

from collections.abc import Sequence

from ..text import units
from ..text.tables import tabulated
from .stage import Cut, Stage

COLUMNS = ("stage", "from", "to", "MACs", "FLOPs", "share", "parameters", "peak", "saved", "sends")
LEAVING = ("MACs", "saved", "share", "parameters", "FLOPs", "to")
"""What is left out where the paper is narrow, the first first."""


def stages_table(
    stages: Sequence[Stage],
    cuts: Sequence[Cut],
    balanced: str,
    imbalance: float,
    format: str,  # noqa: A002
) -> str:
    """A row for each stage, and how well they are balanced.

    Raises:
        UnknownNameError: the format is not known.
    """
    whole = sum(stage.cost.flops for stage in stages)
    sent = [units.byte_size(cut.bytes) for cut in cuts]
    rows = [
        [
            str(i),
            stage.units[0] if stage.units else stage.nodes[0],
            stage.units[-1] if stage.units else stage.nodes[-1],
            units.count(stage.cost.macs),
            units.count(stage.cost.flops),
            units.percent(stage.cost.flops, whole),
            units.byte_size(stage.param_bytes),
            units.byte_size(stage.peak_bytes),
            units.NOTHING if stage.saved_bytes is None else units.byte_size(stage.saved_bytes),
            sent[i] if i < len(sent) else units.NOTHING,
        ]
        for i, stage in enumerate(stages)
    ]
    said = f"The slowest stage is at {units.ratio(imbalance)} times the mean ({balanced})"
    return "\n".join([tabulated(rows, COLUMNS, "lllrrrrrrr", format, drop=LEAVING), said])
