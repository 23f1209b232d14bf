"""The simulated allocator, against hand-made cases of PyTorch's rules and what must hold for any run."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import fxcost
from fxcost.footprint.allocator import MIB, Allocator, rounded, segment_bytes, simulate


def test_small_requests_share_a_segment_of_2_mib() -> None:
    """Four of 512 KiB fill one; a fifth opens the next."""
    allocator = Allocator()
    for _ in range(4):
        allocator.allocate(MIB // 2)
    assert allocator.reserved == 2 * MIB
    allocator.allocate(1)
    assert (allocator.reserved, allocator.allocated) == (4 * MIB, 2 * MIB + 512)


def test_requests_above_1_mib_share_20_mib_and_large_ones_stand_alone() -> None:
    """kLargeBuffer, kMinLargeAlloc and kRoundLarge of the allocator."""
    allocator = Allocator()
    allocator.allocate(9 * MIB)
    allocator.allocate(9 * MIB)
    assert allocator.reserved == 20 * MIB
    allocator.allocate(11 * MIB + 1)
    assert allocator.reserved == 32 * MIB


def test_the_best_fit_is_taken_and_split() -> None:
    """Of free blocks of 60 and 30 MiB a request of 25 takes the smaller and leaves 5."""
    allocator = Allocator()
    large, small = allocator.allocate(60 * MIB), allocator.allocate(30 * MIB)
    allocator.release(large)
    allocator.release(small)
    assert allocator.allocate(25 * MIB) is small
    assert allocator.allocate(5 * MIB).before is small
    assert allocator.reserved == 90 * MIB


def test_free_neighbours_join() -> None:
    """Two halves that were given back serve a request of both together."""
    allocator = Allocator()
    first = allocator.allocate(40 * MIB)
    allocator.release(first)
    half, other = allocator.allocate(20 * MIB), allocator.allocate(20 * MIB)
    allocator.release(half)
    allocator.release(other)
    allocator.allocate(40 * MIB)
    assert allocator.reserved == 40 * MIB


def test_fragmentation_costs_segments_that_expandable_ones_do_not() -> None:
    """30 MiB are free in two segments, and a request of 30 finds no block; in one segment they are side by side."""
    lives = [(0, 3, 15 * MIB), (0, 3, 15 * MIB), (1, 9, 15 * MIB), (1, 9, 15 * MIB), (4, 9, 30 * MIB)]
    plain, expandable = simulate([], lives), simulate([], lives, expandable=True)
    assert plain.peak_reserved == 4 * 16 * MIB + 30 * MIB
    assert expandable.peak_reserved == 60 * MIB
    assert plain.peak_allocated == 64 * MIB  # segments of 16 MiB that are not split
    assert expandable.peak_allocated == 60 * MIB


@given(
    lives=st.lists(
        st.tuples(st.integers(0, 20), st.integers(1, 20), st.integers(1, 30 * MIB)).map(
            lambda t: (t[0], t[0] + t[1], t[2])
        ),
        max_size=30,
    ),
    expandable=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_what_holds_for_any_run(lives: list[tuple[int, int, int]], expandable: bool) -> None:
    """All is given back; reserved covers allocated, and is at most a segment for each request."""
    allocator = simulate([], lives, expandable)
    peak = max((sum(rounded(n) for b, d, n in lives if b <= tick < d) for tick in range(42)), default=0)
    assert allocator.peak_allocated >= peak
    assert allocator.peak_reserved >= allocator.peak_allocated
    assert allocator.peak_reserved <= sum(segment_bytes(rounded(n)) for _, _, n in lives) + 22 * MIB * expandable


def test_a_model_on_a_device() -> None:
    """Weights, input and the peak of activations, each rounded; the context on top."""
    model = nn.Sequential(nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 512))
    report = fxcost.analyze(model, (8192, 512), capture="concrete")
    found = report.memory_on("rtx4090")
    assert report.memory.peak_eager_bytes is not None
    assert found.requested_bytes == report.memory.peak_eager_bytes + found.workspace_bytes  # all are multiples of 512
    assert found.requested_bytes <= found.allocated_bytes <= found.reserved_bytes
    assert found.low_bytes < found.high_bytes
    assert found.fits
    assert "Not known" in str(found)
    assert report.memory_on("h100").workspace_bytes == 32 * MIB
