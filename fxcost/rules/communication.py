"""Collectives, and the copies that FSDP makes around them: traffic in this rank's own memory, and no arithmetic.

A rank reads what it gives and writes what it gets. What goes over the network is no memory traffic: it is in
`report.communication`. Sums that a network library makes on the way (all-reduce, reduce-scatter) count no FLOPs, as no
operator of the model does them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..records.communication import KINDS, sides
from ..records.cost import Cost
from ..records.recording import OpRecord, tensor_specs
from .common import bytes_of, optional, with_bytes
from .registry import OpKey, Rule

FAMILY = "communication"


def named_arguments(op: OpRecord) -> dict[str, Any]:
    """An operator's arguments by the names of its schema."""
    schema = getattr(op.op, "_schema", None)
    return {a.name: value for a, value in zip(schema.arguments, op.args, strict=False)} if schema is not None else {}


def collective(op: OpRecord) -> Cost:
    """Reads what the rank gives, writes what it gets."""
    given, made = sides(named_arguments(op), op.outputs)
    return with_bytes(op, Cost(), bytes_of(*tensor_specs(given)), bytes_of(*tensor_specs(made)))


def copy_in(op: OpRecord) -> Cost:
    """`fsdp::all_gather_copy_in`: a rank's shards, copied into its part of the memory that is gathered into."""
    nbytes = bytes_of(*tensor_specs(op.args[0]))
    return with_bytes(op, Cost(), nbytes, nbytes)


def copy_out(op: OpRecord) -> Cost:
    """`fsdp::split_with_sizes_copy`: what was gathered, copied to each parameter."""
    return with_bytes(op, Cost(), bytes_of(op.args[0]), bytes_of(*tensor_specs(op.args[3])))


def chunk_cat(op: OpRecord) -> Cost:
    """`fsdp::chunk_cat`: gradients, padded and cut into a part for each rank."""
    return with_bytes(op, Cost(), bytes_of(*tensor_specs(op.args[0])), bytes_of(*tensor_specs(op.args[3])))


_COLLECTIVE = Rule(FAMILY, collective, "sends and receives, no arithmetic")

RULES: Mapping[OpKey, Rule] = {
    key: rule for name in KINDS for key, rule in optional(name.replace(".", "::"), _COLLECTIVE).items()
}
"""Rules of the collectives that this PyTorch has: it may be built without them."""

LATE_RULES: Mapping[str, Rule] = {
    "fsdp::all_gather_copy_in": Rule("movement", copy_in, "moves data, no arithmetic"),
    "fsdp::split_with_sizes_copy": Rule("movement", copy_out, "moves data, no arithmetic"),
    "fsdp::chunk_cat": Rule("movement", chunk_cat, "moves data, no arithmetic"),
    "fsdp::copy_": Rule("movement", lambda op: with_bytes(op, Cost(), bytes_of(op.args[1])), "moves data"),
}
"""Rules by name: these operators exist once FSDP is imported."""
