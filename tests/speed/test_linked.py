"""Bounds of a rank with its links: sums that can be done by hand, and how they relate."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import fxcost
from fxcost.communication.links import LINKS, Link, link_of, seconds
from fxcost.records.communication import Collective, Group
from fxcost.speed.linked import RankRoofline, RankTime
from tests.ranks.nets import both, net, shard, tensor_parallel

DEVICE = fxcost.Device(name="mine", flops_per_s={"float32": 1e12}, bytes_per_s=1e12, memory_bytes=10**9)
TOKENS = fxcost.spec(2, 64, dtype="int64")


def gather(nbytes: int, n: int, kind: str = "all_gather", dim: str = "dp") -> Collective:
    sent = nbytes * (n - 1) // n * (2 if kind == "all_reduce" else 1)
    return Collective(
        kind=kind, op="", dtype="", payload_bytes=nbytes, sent_bytes=sent, received_bytes=sent, module="", node="",
        group=Group(tuple(range(n)), dim), phase="forward", position=0,
    )  # fmt: skip


def test_a_collective_takes_its_rounds_and_its_bytes() -> None:
    """⌈log₂ n⌉ latencies, and what goes over the link; a switch that adds up halves an all-reduce."""
    link = Link(bytes_per_s=100.0, latency_s=1.0)
    assert seconds(gather(800, 8), link) == 3 + 7
    assert seconds(gather(900, 9), link) == 4 + 8
    assert seconds(gather(800, 8, "all_reduce"), link) == 3 + 14
    assert seconds(gather(800, 8, "all_reduce"), Link(bytes_per_s=100.0, reduces=True)) == 8
    assert seconds(gather(800, 2, "all_reduce"), Link(bytes_per_s=100.0, reduces=True)) == 8
    assert seconds(gather(800, 1), link) == 0


@given(st.integers(1, 10**6), st.sampled_from([2, 4, 8]), st.sampled_from(["all_gather", "all_reduce"]))
def test_a_better_link_is_never_slower(nbytes: int, n: int, kind: str) -> None:
    """More bandwidth, less latency, or a switch that adds up."""
    slow = seconds(gather(nbytes * n, n, kind), Link(bytes_per_s=1e6, latency_s=1e-3))
    for link in (Link(bytes_per_s=2e6, latency_s=1e-3), Link(bytes_per_s=1e6), Link(bytes_per_s=1e6, reduces=True)):
        assert seconds(gather(nbytes * n, n, kind), link) <= slow


def test_links_have_sources() -> None:
    """Every figure says whose it is."""
    assert {"nvlink", "infiniband", "pcie5"} <= set(LINKS)
    assert all(link.source and link.bytes_per_s > 1e9 for link in LINKS.values())


def test_a_group_along_two_dimensions_has_the_faster_link() -> None:
    """Which makes it a bound."""
    links = {"dp": Link(bytes_per_s=1.0), "tp": Link(bytes_per_s=2.0)}
    assert link_of(Group((0, 1), "dp"), links).bytes_per_s == 1.0
    assert link_of(Group((0, 1), "dp_tp"), links).bytes_per_s == 2.0
    assert link_of(Group((0, 1)), links).bytes_per_s == 2.0


@given(st.floats(0, 10), st.floats(0, 10), st.floats(0, 10), st.floats(0, 10))
def test_overlapped_is_the_least(compute: float, blocking: float, first: float, second: float) -> None:
    """Between the work alone and everything in a row; what is exposed is what is missing between work and bound."""
    time = RankTime(compute_s=compute, blocking_s={"tp": blocking}, beside_s={"dp": first, "pp": second})
    assert compute <= time.busy_s <= time.overlapped_s <= time.serial_s + 1e-9
    assert time.overlapped_s == max(compute + blocking, first, second)
    assert sum(time.exposed_s.values()) == pytest.approx(time.overlapped_s - compute)


def roofline(recipe: Any, mesh: dict[str, int], links: Any, training: bool = True) -> RankRoofline:
    report = fxcost.analyze(net(), TOKENS, mesh=mesh, parallelize=recipe, training=training)
    found = report.roofline(DEVICE, links=links)
    assert isinstance(found, RankRoofline)
    return found


def test_tensor_parallel_waits_and_fsdp_does_not() -> None:
    """A slow link makes both a matter of bytes: what is sent, over the bandwidth."""
    slow = Link(bytes_per_s=1e6)
    report = fxcost.analyze(net(), TOKENS, mesh={"dp": 2, "tp": 2}, parallelize=both, training=True)
    found = report.roofline(DEVICE, links=slow)
    assert isinstance(found, RankRoofline)
    assert report.training is not None
    sent = {dim: t.sent_bytes / 1e6 for dim, t in report.training.communication.by_mesh_dim().items()}
    step = found.passes["step"]
    assert dict(step.blocking_s) == {"tp": pytest.approx(sent["tp"])}
    assert dict(step.beside_s) == {"dp": pytest.approx(sent["dp"])}
    assert found.overlapped_s == max(step.busy_s, step.beside_s["dp"])
    assert found.serial_s == pytest.approx(step.compute_s + sent["tp"] + sent["dp"])


def test_a_fast_link_leaves_the_work() -> None:
    """Then the rank's own work is all, and that of collectives in its memory is not in it."""
    fast = Link(bytes_per_s=1e29)
    found = roofline(shard, {"dp": 4}, fast, training=False)
    assert found.overlapped_s == pytest.approx(found.passes["forward"].compute_s)
    assert found.latency_s == found.passes["forward"].compute_s
    assert "communication" not in found.by_family()
    plain = fxcost.analyze(net(), TOKENS, mesh={"dp": 4}, parallelize=shard).roofline(DEVICE)
    assert plain.latency_s > found.latency_s


def test_the_table_names_links_and_bounds() -> None:
    """With whose figures the links are."""
    text = str(roofline(tensor_parallel, {"tp": 4}, {"tp": "nvlink"}))
    assert "NVIDIA H100 Tensor Core GPU Architecture whitepaper" in text
    assert "tp, waited for" in text


@pytest.mark.parametrize(
    ("links", "said"),
    [
        ("nvlnk", "did you mean nvlink"),
        ({}, "none for the dimension 'tp'"),
        ({"tp": "nvlink", "dp": "nvlink"}, "no such dimension"),
        (3, "give a link"),
    ],
)
def test_bad_links(links: Any, said: str) -> None:
    """Each in words of its own."""
    report = fxcost.analyze(net(), TOKENS, mesh={"tp": 4}, parallelize=tensor_parallel)
    with pytest.raises(fxcost.DeviceError) as caught:
        report.roofline(DEVICE, links=links)
    assert said in str(caught.value)


def test_a_whole_model_has_no_links() -> None:
    """And a link has a bandwidth."""
    with pytest.raises(fxcost.DeviceError, match="mesh="):
        fxcost.analyze(nn.Linear(2, 2), (1, 2)).roofline(DEVICE, links="nvlink")
    with pytest.raises(fxcost.DeviceError, match="bandwidth above 0"):
        Link(bytes_per_s=0.0)
    assert not torch.distributed.is_initialized()
