"""Costs and tensors as plain data: how they stand in every table and file that fxcost writes."""

from __future__ import annotations

from typing import Any

from .cost import Cost
from .recording import TensorSpec

COST_FIELDS = (
    "macs",
    "flops",
    "other_flops",
    "transcendentals",
    "zero_accumulators",
    "bytes_read",
    "bytes_written",
    "activations",
)
"""The numbers of a cost that views list, in order."""


def cost_dict(cost: Cost) -> dict[str, int]:
    """A cost by the names of its numbers."""
    return {name: getattr(cost, name) for name in COST_FIELDS}


def spec_dict(spec: TensorSpec) -> dict[str, Any]:
    """A tensor's shape, dtype and bytes."""
    return {"shape": list(spec.shape), "dtype": spec.dtype_name, "bytes": spec.nbytes}
