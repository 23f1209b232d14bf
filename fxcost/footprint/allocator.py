"""PyTorch's caching allocator for CUDA, simulated: how much it takes from the device for a run's births and deaths.

Source: c10/cuda/CUDACachingAllocator.cpp. Sizes are rounded to 512 bytes. Requests of at most 1 MiB are cut from
segments of 2 MiB, larger ones below 10 MiB from segments of 20 MiB, others get their own, rounded to 2 MiB.
The smallest free block that is large enough is taken, and split if 512 bytes (in the large pool more than 1 MiB) are
left; neighbours that are free join. Segments are given back only when memory runs out.

With expandable segments each pool is one segment that grows at its end, by pages of 2 or 20 MiB.

Not here: streams beside the default one, garbage collection, `max_split_size_mb` and other settings.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

MIN_BLOCK, SMALL, MIB = 512, 2**20, 2**20
SMALL_SEGMENT, LARGE_SEGMENT, MIN_LARGE, ROUND_LARGE = 2 * MIB, 20 * MIB, 10 * MIB, 2 * MIB


def rounded(nbytes: int, to: int = MIN_BLOCK) -> int:
    """The next multiple, at least one.

    >>> rounded(1), rounded(512), rounded(513)
    (512, 512, 1024)
    """
    return max(to, -(-nbytes // to) * to)


def segment_bytes(nbytes: int) -> int:
    """What is taken from the device for a request (rounded, bytes) that no free block can serve.

    >>> segment_bytes(512) // MIB, segment_bytes(3 * MIB) // MIB, segment_bytes(11 * MIB) // MIB
    (2, 20, 12)
    """
    if nbytes <= SMALL:
        return SMALL_SEGMENT
    return LARGE_SEGMENT if nbytes < MIN_LARGE else rounded(nbytes, ROUND_LARGE)


@dataclass(slots=True, eq=False)
class Block:
    """A piece of a segment, of the small or the large pool, between its neighbours there."""

    size: int
    small: bool
    free: bool = True
    before: Block | None = None
    after: Block | None = None


@dataclass(slots=True)
class Allocator:
    """The allocator's state: `reserved` and `allocated` bytes now, and at most so far (`peak_…`)."""

    expandable: bool = False
    reserved: int = 0
    allocated: int = 0
    peak_reserved: int = 0
    peak_allocated: int = 0
    _pools: dict[bool, list[Block]] = field(default_factory=lambda: {True: [], False: []})
    """Free blocks of the small and the large pool."""
    _ends: dict[bool, Block] = field(default_factory=dict)
    """The last block of each expandable segment."""

    def allocate(self, nbytes: int) -> Block:
        """Take a block for a request of so many bytes."""
        size = rounded(nbytes)
        small = size <= SMALL
        pool = self._pools[small]
        block = min((b for b in pool if b.size >= size), key=lambda b: b.size, default=None)
        if block is None:
            block = self._grown(size, small) if self.expandable else self._segment(size)
        else:
            pool.remove(block)
        left = block.size - size
        if left >= MIN_BLOCK if small or self.expandable else left > SMALL:
            rest = Block(left, small, True, block, block.after)
            if block.after is not None:
                block.after.before = rest
            if self._ends.get(small) is block:
                self._ends[small] = rest
            block.after, block.size = rest, size
            pool.append(rest)
        block.free = False
        self.allocated += block.size
        self.peak_allocated = max(self.peak_allocated, self.allocated)
        return block

    def _segment(self, size: int) -> Block:
        taken = segment_bytes(size)
        self.reserved += taken
        self.peak_reserved = max(self.peak_reserved, self.reserved)
        return Block(taken, size <= SMALL)

    def _grown(self, size: int, small: bool) -> Block:
        """The free end of an expandable segment, grown to at least `size`."""
        page = SMALL_SEGMENT if small else LARGE_SEGMENT
        end = self._ends.get(small)
        if end is None or not end.free:
            end = self._ends[small] = Block(0, small, True, end)
            if end.before is not None:
                end.before.after = end
        else:
            self._pools[small].remove(end)
        more = rounded(size - end.size, page)
        end.size += more
        self.reserved += more
        self.peak_reserved = max(self.peak_reserved, self.reserved)
        return end

    def release(self, block: Block) -> None:
        """Give a block back to its pool; it joins with free neighbours."""
        small = block.small
        self.allocated -= block.size
        pool = self._pools[small]
        for neighbour in (block.before, block.after):
            if neighbour is not None and neighbour.free:
                pool.remove(neighbour)
                self._join(block, neighbour, small)
        block.free = True
        pool.append(block)

    def _join(self, block: Block, neighbour: Block, small: bool) -> None:
        block.size += neighbour.size
        if neighbour is block.before:
            block.before = neighbour.before
            if block.before is not None:
                block.before.after = block
        else:
            block.after = neighbour.after
            if block.after is not None:
                block.after.before = block
            if self._ends.get(small) is neighbour:
                self._ends[small] = block


def simulate(resident: Iterable[int], lives: Iterable[tuple[int, int, int]], expandable: bool = False) -> Allocator:
    """The allocator after a run: what is there all the time, then (born, died, bytes) of what comes and goes.

    A storage that died at a tick is freed before that tick's operator takes its results.
    """
    allocator = Allocator(expandable=expandable)
    for nbytes in resident:
        if nbytes:
            allocator.allocate(nbytes)
    events = []
    for number, (born, died, nbytes) in enumerate(lives):
        if nbytes and died > born:
            events.append((born, 1, number, nbytes))
            events.append((died, 0, number, nbytes))
    held: dict[int, Block] = {}
    for _, takes, number, nbytes in sorted(events):
        if takes:
            held[number] = allocator.allocate(nbytes)
        else:
            allocator.release(held.pop(number))
    return allocator
