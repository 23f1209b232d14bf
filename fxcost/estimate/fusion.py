"""Which operators a compiler runs as one kernel: `torch.compile`'s Inductor, as it is set by default.

What maps elements to elements, normalizes, reduces, casts, pads or copies joins the kernel that made its input, if that
kernel is the compiler's too and walks over as many elements. Convolutions, products and attention stay kernels of
libraries, into which nothing is joined: Inductor writes epilogues into its own templates only (`max-autotune`).

Convolutions are turned to channels last if that is faster by Inductor's own measure, `decide_layout_opt` in
torch/_inductor/graph.py: by their FLOPs, weighted by whether they are grouped, narrow or neither.

Not here: how long a kernel takes (times.py).
"""

from __future__ import annotations

from collections.abc import Sequence

from ..records.cost import NodeCost, OpCost
from ..records.recording import TensorSpec
from ..speed.fusion import Fuser, Kernel, Version
from .work import LAYOUTS, PRODUCTS, Work, kind_of, work_of

FUSED, FUSED_ROWS, FUSED_PLACES = "fused", "fused_rows", "fused_places"
"""Kinds of a compiler's kernels: element by element, normalizing rows, and with other sums."""
_ROWS = ("row_norm", "softmax")
_OWN = ("pointwise", "gelu", "copy", "transpose", "batch_norm", "cat", "gather", "reduction", "interpolation", *_ROWS)
"""What a compiler writes kernels for that others may join."""


def compiled(nodes: Sequence[NodeCost]) -> list[Work]:
    """The kernels of a compiled run, in order."""
    return works(Compiler(nodes).run())


class Compiler(Fuser):
    """Fuses as Inductor does."""

    norms_whole = False

    def __init__(self, nodes: Sequence[NodeCost]) -> None:
        super().__init__(nodes)
        self._kinds: dict[int, str] = {}
        self._given = {s.storage for node in nodes if node.kind == "placeholder" for s in node.outputs}
        self._constant: set[int] = set()
        """Kernels that hang on weights alone: they can run at any time."""

    def _kind(self, op: OpCost) -> str:
        known = self._kinds.get(id(op))
        if known is None:
            known = self._kinds[id(op)] = kind_of(op)
        return known

    def joins(
        self, op: OpCost, reads: list[tuple[int, TensorSpec]], writes: list[tuple[int, TensorSpec]]
    ) -> int | None:
        """The kernel that made the last of an operator's inputs, if the compiler writes both."""
        made = [self.latest[storage] for storage, _ in reads if storage in self.latest]
        made = [version for version in made if version.kernel not in self._constant]
        joined = self._joined(op, reads, writes, made)
        if joined is None and not made and not any(storage in self._given for storage, _ in reads):
            self._constant.add(len(self.kernels))
        return joined

    def _joined(
        self, op: OpCost, reads: list[tuple[int, TensorSpec]], writes: list[tuple[int, TensorSpec]], made: list[Version]
    ) -> int | None:
        if self._kind(op) not in _OWN or not writes:
            return None
        last = max(made, key=lambda version: version.kernel, default=None)
        if last is None or self._kind(self.kernels[last.kernel].operations[0][1]) not in _OWN:
            return None
        walked = max((spec.numel for _, spec in (*reads, *writes)), default=0)
        if walked != max(last.numel, *(s.numel for _, s in self._written(last.kernel))):
            return None
        overwritten = [self.last_use.get(storage, -1) for storage, _ in writes]
        return last.kernel if max(overwritten) <= last.kernel else None

    def _written(self, kernel: int) -> list[tuple[int, TensorSpec]]:
        op = self.kernels[kernel].operations[0][1]
        return [(0, spec) for spec in (*op.record.inputs, *op.record.written)]


def works(kernels: Sequence[Kernel]) -> list[Work]:
    """Kernels as works, convolutions in the layout that the compiler gives them."""
    found = [as_work(kernel) for kernel in kernels]
    layout = LAYOUTS[_turns(found)]
    for work in found:
        if work.kind.startswith("conv"):
            work.layout = layout
    return found


def _turns(found: Sequence[Work]) -> bool:
    """True if convolutions run channels last."""
    whole = weighted = 0.0
    for work in found:
        if work.kind.startswith("conv"):
            c_in = work.batch * work.k if work.kind == "conv_1x1" else work.k
            grouped = work.kind == "conv_grouped"
            narrows = 2 * work.n * work.batch <= c_in and work.kind == "conv"
            small = work.n <= 64 and c_in <= 64
            whole += work.flops
            weighted += work.flops * (1.358 if grouped else 0.725 if narrows else 0.783 if small else 0.823)
    return weighted <= whole


def as_work(kernel: Kernel) -> Work:
    """A kernel of the compiler's, or of a library."""
    first = kernel.operations[0][1]
    work = work_of(first, kernel.node)
    if work.kind in PRODUCTS:
        return work
    kinds = {work.kind, *(kind_of(op) for _, op in kernel.operations[1:])}
    if work.kind in _OWN:
        work.kind = FUSED_ROWS if kinds & set(_ROWS) else FUSED_PLACES if "reduction" in kinds else FUSED
        work.layout, work.batch = LAYOUTS[0], 1
    work.others = sum(op.cost.other_flops for _, op in kernel.operations)
    moved = kernel.bytes_moved
    work.reads, work.writes = moved - min(work.writes, moved // 2), min(work.writes, moved // 2)
    return work
