"""Records of operators → collectives: what each sends and receives, in bytes.

Bytes are those of rings and chains, in which every rank sends as much as it must: for n ranks and a tensor of S bytes
2·S·(n−1)/n in an all-reduce, S·(n−1)/n in an all-gather and a reduce-scatter (R. Thakur, R. Rabenseifner, W. Gropp,
"Optimization of collective communication operations in MPICH", 2005). Quotients are rounded down.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ..records.communication import KINDS, Collective, Group, sides
from ..records.recording import NodeRecord, OpRecord, TensorSpec, TrainingRecord, tensor_specs
from ..rules.communication import named_arguments

Place = tuple[str, str, str, int]
"""Module, phase, node, position."""


def kind_of(op: OpRecord) -> str | None:
    """What collective an operator is; None for all others."""
    return KINDS.get(str(op.op).rpartition(".")[0])


def read(op: OpRecord, kind: str, rank: int, place: Place) -> Collective:
    """A collective as this rank sees it.

    Args:
        op: its record, with a :class:`Group` among its arguments.
        kind: what it is.
        rank: the rank that ran it.
        place: where it ran.
    """
    named = named_arguments(op)
    group = next((value for value in op.args if isinstance(value, Group)), Group((rank,)))
    given, made = sides(named, op.outputs)
    specs = list(tensor_specs(given)) or list(tensor_specs(made))
    payload = _payload(kind, _bytes(given), _bytes(made), group.size)
    peer = _peer(named, group)
    module, phase, node, position = place
    sent, received = _ring(kind, payload, group, rank, peer)
    if kind == "all_to_all" and group.size > 1:
        sent, received = _exchanged(named, given, made, group.ranks.index(rank), group.size)
    return Collective(
        kind=kind,
        op=str(op.op),
        dtype=specs[0].dtype_name if specs else "",
        payload_bytes=payload,
        sent_bytes=sent,
        received_bytes=received,
        group=group,
        module=module,
        phase=phase,
        node=node,
        position=position,
        peer=peer,
        blocking=_blocks(op, kind, named),
    )


def _bytes(value: Any) -> int:
    return sum(spec.nbytes for spec in tensor_specs(value))


def _payload(kind: str, given: int, made: int, size: int) -> int:
    """Bytes of the whole tensor."""
    if kind == "barrier":
        return 0
    if kind == "all_gather":
        return made
    if kind == "scatter":
        return made * size
    return given * size if kind == "gather" else given


def _peer(named: dict[str, Any], group: Group) -> int | None:
    """The other rank, or the root, by its number in the world."""
    for name in ("dst", "src", "root_rank"):
        if type(place := named.get(name)) is int and 0 <= place < group.size:
            return group.ranks[place]
    return None


def _ring(kind: str, nbytes: int, group: Group, rank: int, root: int | None) -> tuple[int, int]:
    """Bytes that a rank sends and receives; a chain leads from the root on, or to it."""
    n = group.size
    if kind in ("send", "recv"):
        return (nbytes, 0) if kind == "send" else (0, nbytes)
    if n == 1 or kind == "barrier" or rank not in group.ranks:
        return 0, 0
    if kind == "all_reduce":
        return (2 * nbytes * (n - 1) // n,) * 2
    if kind in ("all_gather", "reduce_scatter", "all_to_all"):
        return (nbytes * (n - 1) // n,) * 2
    place = (group.ranks.index(rank) - group.ranks.index(root if root is not None else group.ranks[0])) % n
    first, last = place == 0, place == n - 1
    if kind in ("broadcast", "reduce"):
        away, back = nbytes * (not last), nbytes * (not first)
    else:
        away, back = (nbytes * (n - 1) // n, 0) if first else (0, nbytes // n)
    return (away, back) if kind in ("broadcast", "scatter") else (back, away)


def _exchanged(named: dict[str, Any], given: Any, made: Any, place: int, size: int) -> tuple[int, int]:
    """Bytes that leave and reach a rank in an all-to-all: all but its own part."""
    return (
        _away(given, named.get("input_split_sizes"), place, size),
        _away(made, named.get("output_split_sizes"), place, size),
    )


def _away(value: Any, splits: Any, place: int, size: int) -> int:
    specs = list(tensor_specs(value))
    if len(specs) > 1:  # one tensor for each rank
        return sum(spec.nbytes for i, spec in enumerate(specs) if i != place)
    if not specs:
        return 0
    spec: TensorSpec = specs[0]
    if splits:
        return int(spec.nbytes // max(1, spec.shape[0]) * (sum(splits) - splits[place]))
    return spec.nbytes * (size - 1) // size


def _blocks(op: OpRecord, kind: str, named: dict[str, Any]) -> bool:
    """True if what comes after a collective waits for it: a functional one, or one that was not asked to run beside.

    Sends and receives are given out in batches, beside other work.
    """
    if kind in ("send", "recv"):
        return False
    return not named.get("async_op", False) if "process_group" in named else True


def of_forward(nodes: Iterable[NodeRecord], rank: int) -> Iterator[Collective]:
    """The collectives of a forward pass, in order."""
    position = 0
    for node in nodes:
        for op in node.operations:
            if (kind := kind_of(op)) is not None:
                module = f"{node.module}.{op.scope}".strip(".") if op.scope else node.module
                yield read(op, kind, rank, (module, "forward", node.name, position))
            position += 1


def of_step(record: TrainingRecord, rank: int) -> Iterator[Collective]:
    """The collectives of a training step, in order: of the forward pass, then of what the backward pass runs."""
    yield from of_forward(record.nodes, rank)
    ran = (op for node in record.backward for op in node.operations)
    for i, (op, owner, again) in enumerate(zip(ran, record.owners, record.recomputed, strict=True)):
        if (kind := kind_of(op)) is not None:
            node = record.nodes[owner] if owner >= 0 else None
            around = node.module if node is not None else ""
            module = f"{around}.{op.scope}".strip(".") if op.scope else around
            name = node.name if node is not None else "backward"
            yield read(op, kind, rank, (module, "recomputed" if again else "backward", name, i))
