"""What is alive at the worst moment of a training step: whose it is, and of which kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from ..records.recording import TrainingRecord
from .lifetimes import LiveTensor


def owners_of(record: TrainingRecord) -> list[int | None]:
    """For each operator that ran: None in the forward pass, in the backward pass the node that it belongs to."""
    owners, backward = iter(record.owners), {id(node) for node in record.backward}
    return [next(owners) if id(node) in backward else None for node in record.ran for _ in node.operations]


def named(tensor: LiveTensor, record: TrainingRecord, owners: list[int | None]) -> LiveTensor:
    """A tensor of the backward pass under the name of the forward node that it belongs to."""
    owner = owners[tensor.born]
    if owner is None or owner < 0:
        return tensor
    return replace(tensor, node=record.nodes[owner].name, module=record.nodes[owner].module)


def parts_at_peak(
    record: TrainingRecord, resident: Mapping[str, int], state: int, at_peak: Iterable[LiveTensor]
) -> dict[str, int]:
    """Bytes at the peak by kind."""
    gradients, saved = set(record.gradients), {number for number, _ in record.saved}
    gathered = set(record.gathered)
    parts = {
        "parameters": resident["parameter"],
        "buffers": resident["buffer"],
        "inputs": resident["input"],
        "optimizer state": state,
        "gradients": 0,
        **({"gathered parameters": 0} if record.gathered else {}),
        "saved activations": 0,
        "temporaries": 0,
    }
    for tensor in at_peak:
        in_gradients, in_saved = tensor.storage in gradients, tensor.storage in saved
        kind = "gradients" if in_gradients else "saved activations" if in_saved else "temporaries"
        if tensor.storage in gathered:
            kind = "gathered parameters"
        parts[kind] += tensor.nbytes
    return parts
