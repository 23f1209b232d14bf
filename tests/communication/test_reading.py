"""What a collective sends: against rings and chains that are played through, and against PyTorch's own list."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.distributed.tensor.debug import CommDebugMode

import fxcost
from fxcost.communication.communication import Communication
from fxcost.records.communication import KINDS, NO_COLLECTIVES, Collective
from tests.ranks.nets import net, tensor_parallel

NAMESPACES = ("c10d", "_c10d_functional", "_c10d_functional_autograd", "_dtensor")
NOT_RUN = {"_dtensor.mesh_get_process_group", "_c10d_functional.batch_p2p_ops"}
"""An operator of tracing alone, and one that only torch.compile makes."""
INNER = {
    f"_c10d_functional_autograd.{name}"
    for name in ("all_gather_into_tensor", "all_to_all_single", "reduce_scatter_tensor")
}
"""Run as the operators of the same names without gradients."""


def test_every_operator_of_pytorch_has_a_kind() -> None:
    """A new one must be looked at: what it is, what it sends, what it returns."""
    schemas = {
        s.name.replace("::", ".") for s in torch._C._jit_get_all_schemas() if s.name.split("::")[0] in NAMESPACES
    }
    assert schemas - set(KINDS) - NO_COLLECTIVES - NOT_RUN - INNER == set()
    if torch.__version__.startswith("2.14."):  # older ones lack some
        assert set(KINDS) - schemas == set()


class Uses(nn.Module):
    """A model that communicates by itself."""

    def __init__(self, run: Any) -> None:
        super().__init__()
        self.run = run
        self.weight = nn.Parameter(torch.empty(1, device="meta"))

    def forward(self, x: torch.Tensor) -> Any:
        return self.run(x)


def collective_of(run: Any, n: int, rank: int, elements: int = 12) -> Collective:
    """The collective that a function of a tensor of float32 runs on a rank of n."""

    def recipe(model: nn.Module, mesh: Any) -> None:
        model.register_buffer("ready", torch.empty(0, device="meta"))

    report = fxcost.analyze(Uses(run), (elements,), mesh={"dp": n}, parallelize=recipe, rank=rank)
    [found] = report.communication.collectives
    assert report.uncosted == {}
    return found


def ring_all_reduce(n: int, size: int) -> list[int]:
    """Bytes that each rank sends where n parts go round twice: summed up, then handed on. Played part by part."""
    part, sent = size // n, [0] * n
    have = [{(part_of, rank) for part_of in range(n)} for rank in range(n)]
    for turn in range(n - 1):
        moved = [((rank - turn) % n, rank) for rank in range(n)]
        for part_of, rank in moved:
            have[(rank + 1) % n] |= {(part_of, source) for p, source in have[rank] if p == part_of}
            sent[rank] += part
    for turn in range(n - 1):
        for rank in range(n):
            part_of = (rank + 1 - turn) % n
            assert {source for p, source in have[rank] if p == part_of} == set(range(n))
            have[(rank + 1) % n] |= {(part_of, source) for source in range(n)}
            sent[rank] += part
    assert all(have[rank] == {(p, s) for p in range(n) for s in range(n)} for rank in range(n))
    return sent


def chain(n: int, root: int, size: int) -> tuple[list[int], list[int]]:
    """Bytes sent and received by each rank where a tensor goes from the root from one to the next."""
    sent, received = [0] * n, [0] * n
    has = {root}
    while len(has) < n:
        last = (root + len(has) - 1) % n
        sent[last] += size
        received[(last + 1) % n] += size
        has.add((last + 1) % n)
    return sent, received


@pytest.mark.parametrize("n", [2, 3, 4])
def test_all_reduce_is_a_ring(n: int) -> None:
    """As a ring that is played through sends."""
    for rank in range(n):
        found = collective_of(lambda x: dist.all_reduce(x), n, rank)
        assert (found.kind, found.payload_bytes, found.dtype) == ("all_reduce", 48, "float32")
        assert found.sent_bytes == found.received_bytes == found.wire_bytes == ring_all_reduce(n, 48)[rank]
        assert found.ranks == tuple(range(n))


@pytest.mark.parametrize("root", [0, 1])
def test_broadcast_and_reduce_are_chains(root: int) -> None:
    """From the root on, and back to it: what one sends the next receives."""
    for rank in range(3):
        sent, received = chain(3, root, 48)
        found = collective_of(lambda x: dist.broadcast(x, root), 3, rank)
        assert (found.sent_bytes, found.received_bytes) == (sent[rank], received[rank])
        found = collective_of(lambda x: dist.reduce(x, root), 3, rank)
        assert (found.sent_bytes, found.received_bytes) == (received[rank], sent[rank])
        assert found.peer == root


def gather(x: torch.Tensor) -> None:
    dist.all_gather_into_tensor(x.new_empty(4 * x.numel()), x)


def gather_lists(x: torch.Tensor) -> None:
    dist.all_gather([torch.empty_like(x) for _ in range(4)], x)


def scatter_reduced(x: torch.Tensor) -> None:
    dist.reduce_scatter_tensor(x.new_empty(x.numel() // 4), x)


def exchange(x: torch.Tensor) -> None:
    dist.all_to_all_single(torch.empty_like(x), x)


def exchange_unevenly(x: torch.Tensor) -> None:
    dist.all_to_all_single(x.new_empty(8), x, [2, 2, 2, 2], [1, 2, 3, 6])


def exchange_lists(x: torch.Tensor) -> None:
    parts = list(x.chunk(4))
    dist.all_to_all([torch.empty_like(part) for part in parts], parts)


def send(x: torch.Tensor) -> None:
    dist.send(x, 3)


def receive(x: torch.Tensor) -> None:
    dist.recv(x, 2)


def batched(x: torch.Tensor) -> None:
    dist.batch_isend_irecv([dist.P2POp(dist.isend, x, 2)])


@pytest.mark.parametrize(
    ("run", "kind", "payload", "sent", "received", "peer"),
    [
        (gather, "all_gather", 192, 144, 144, None),
        (gather_lists, "all_gather", 192, 144, 144, None),
        (scatter_reduced, "reduce_scatter", 48, 36, 36, None),
        (exchange, "all_to_all", 48, 36, 36, None),
        (exchange_unevenly, "all_to_all", 48, 40, 24, None),
        (exchange_lists, "all_to_all", 48, 36, 36, None),
        (send, "send", 48, 48, 0, 3),
        (receive, "recv", 48, 0, 48, 2),
        (batched, "send", 48, 48, 0, 2),
        (lambda x: dist.barrier(), "barrier", 0, 0, 0, None),
    ],
)
def test_what_is_sent(run: Any, kind: str, payload: int, sent: int, received: int, peer: int | None) -> None:
    """Twelve numbers of four bytes on rank 1 of four, reckoned by hand."""
    found = collective_of(run, 4, 1)
    assert (found.kind, found.payload_bytes, found.sent_bytes, found.received_bytes, found.peer) == (
        kind,
        payload,
        sent,
        received,
        peer,
    )


def test_who_waits() -> None:
    """A call waits, one that is asked not to does not."""
    assert collective_of(lambda x: dist.all_reduce(x), 2, 0).blocking
    assert not collective_of(lambda x: dist.all_reduce(x, async_op=True).wait(), 2, 0).blocking


@pytest.mark.parametrize("sequence", [False, True], ids=["tp", "tp+sp"])
def test_counts_are_those_of_comm_debug_mode(sequence: bool) -> None:
    """PyTorch's own counter, where it works: in one run of the same model, forward and backward."""

    def recipe(model: nn.Module, mesh: Any) -> None:
        tensor_parallel(model, mesh, sequence)

    tokens = fxcost.spec(2, 64, dtype="int64")
    report = fxcost.analyze(net(), tokens, training=True, mesh={"tp": 8}, parallelize=recipe)
    assert report.training is not None
    ours = Counter(c.op.removesuffix(".default") for c in report.training.communication.collectives)
    with fxcost.fake_world(8):
        model = net()
        recipe(model, torch.distributed.device_mesh.init_device_mesh("cpu", (8,), mesh_dim_names=("tp",)))
        with (counter := CommDebugMode()):
            model(torch.zeros(2, 64, dtype=torch.int64, device="meta")).sum().backward()
        theirs = {f"_{op}": n for op, n in counter.get_comm_counts().items()}
    assert {name: ours[name] for name in theirs} == theirs
    assert sum(ours.values()) == sum(theirs.values())


@given(
    st.lists(st.tuples(st.sampled_from(["a", "a.b", "c", ""]), st.sampled_from(["send", "recv"]), st.integers(0, 99)))
)
def test_sums_are_sums(rows: list[tuple[str, str, int]]) -> None:
    """By kind, dimension and phase they add up to all; a module has its children's."""
    found = tuple(
        Collective(
            kind=kind,
            op=kind,
            dtype="float32",
            payload_bytes=n,
            sent_bytes=n * (kind == "send"),
            received_bytes=n * (kind == "recv"),
            group=fxcost.records.communication.Group((0, 1), "pp"),
            module=module,
            phase="forward",
            node="node",
            position=i,
        )
        for i, (module, kind, n) in enumerate(rows)
    )
    communication = Communication(collectives=found)
    for sums in (communication.by_kind(), communication.by_mesh_dim(), communication.by_phase()):
        assert sum(t.payload_bytes for t in sums.values()) == communication.payload_bytes == sum(n for *_, n in rows)
        assert sum(t.count for t in sums.values()) == len(rows)
    modules = communication.by_module()
    assert modules[""].sent_bytes == communication.sent_bytes
    inside = sum(n for module, kind, n in rows if module in ("a", "a.b") and kind == "recv")
    assert modules["a"].received_bytes == inside if "a" in modules else inside == 0
    assert communication.table().startswith("Sent by this rank" if rows else "Nothing is communicated")
