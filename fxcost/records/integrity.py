"""What must hold between the records of a report, so that everybody who reads them can go by it.

A recording that was captured has all of this by construction; one that was read from a file need not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..errors import shown
from .cost import Cost, NodeCost
from .recording import OpRecord, Recording, tensor_specs


def faults(recording: Recording, nodes: Sequence[NodeCost]) -> Iterator[str]:
    """Everything that is wrong, in words; nothing if all is well."""
    yield from _prices(recording, nodes)
    yield from _graph(recording)
    yield from _storages(recording)
    yield from _modules(recording)


def _prices(recording: Recording, nodes: Sequence[NodeCost]) -> Iterator[str]:
    """Each node has one price, which is that of its operations."""
    if len(nodes) != len(recording.nodes):
        yield f"{len(recording.nodes)} nodes have {len(nodes)} prices"
        return
    for node, record in zip(nodes, recording.nodes, strict=True):
        priced = [op.record for op in node.operations]
        if (node.record is not record and node.record != record) or len(priced) != len(record.operations):
            yield f"the price of node {shown(record.name)} is that of another"
        elif any(a is not b and a != b for a, b in zip(priced, record.operations, strict=True)):
            yield f"the prices of node {shown(record.name)} are those of other operations"
        elif node.cost != Cost.total(op.cost for op in node.operations):
            yield f"the price of node {shown(record.name)} is not the sum of its operations"


def _graph(recording: Recording) -> Iterator[str]:
    """Nodes have names of their own and read nodes before them; calls cover nodes, or operations, that are there."""
    seen: set[str] = set()
    for node in recording.nodes:
        if node.name in seen:
            yield f"two nodes are called {shown(node.name)}"
        for name in node.input_nodes:
            if name not in seen:
                yield f"node {shown(node.name)} reads {shown(name)}, which does not come before it"
        seen.add(node.name)
        for call in node.calls:
            if not call.start <= call.stop <= len(node.operations):
                yield f"a call in node {shown(node.name)} covers operations that it has not"
    for whole in recording.calls:
        if not whole.start <= whole.stop <= len(recording.nodes):
            yield f"a call of module {shown(whole.module)} covers nodes that are not there"


def _storages(recording: Recording) -> Iterator[str]:
    """Storages are numbered within the graph, and within each node; they die while something runs."""
    count, ticks = len(recording.storage_bytes), sum(len(node.operations) for node in recording.nodes)
    most: dict[int, int] = {}
    for node in recording.nodes:
        given = max((spec.storage for spec in (*node.inputs, *node.outputs)), default=-1)
        own = max((_largest(op, most) for op in node.operations), default=-1)
        if max(node.storages, default=-1) >= count or given >= count or own >= len(node.storages):
            yield f"node {shown(node.name)} uses a storage that is not there"
        if any(slot >= len(node.storages) or ran > len(node.operations) for slot, ran in node.freed):
            yield f"node {shown(node.name)} frees a storage that it has not, or when it has run already"
    if any(parameter.spec.storage >= count for parameter in recording.parameters):
        yield "a parameter uses a storage that is not there"
    if any(storage >= count or ran > ticks + 1 for storage, ran in recording.deaths or ()):
        yield "a storage dies that is not there, or after the end"


def _largest(op: OpRecord, known: dict[int, int]) -> int:
    """The largest number of a storage of an operation. Equal layers share operations, which their nodes keep alive."""
    found = known.get(id(op))
    if found is None:
        found = known[id(op)] = max((spec.storage for spec in tensor_specs((op.args, op.outputs))), default=-1)
    return found


def _modules(recording: Recording) -> Iterator[str]:
    """A module has one canonical name, below canonical names: so the way up from any name ends at the root."""
    names = [module.name for module in recording.modules]
    if len(set(names)) != len(names):
        yield "two modules have one name"
    aliases = {alias for module in recording.modules for alias in module.aliases}
    above = {name[:i] for name in names for i, char in enumerate(name) if char == "."}
    for alias in sorted(aliases & {"", *names, *above}):
        yield f"{shown(alias)} is the name of one module and another name of a second one"
