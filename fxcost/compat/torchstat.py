"""`from torchstat import stat` (0.0.7): the report that today's pandas keeps the original from printing.

The column of durations is left out: nothing is run.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

from tabulate import tabulate
from torch import nn

from ..analyze import analyze
from ..conventions.seen import Seen
from ..conventions.torchstat import bytes_read, bytes_written, flops, last_calls, madd
from .common import evaluating, seen_by

HEADERS = ("module name", "input shape", "output shape", "params", "memory(MB)", "MAdd", "Flops")
HEADERS_BYTES = ("MemRead(B)", "MemWrite(B)", "MemR+W(B)")


@dataclass(slots=True)
class _Branch:
    """A module with the sums of what is below it."""

    name: str
    children: list[_Branch] = field(default_factory=list)
    shapes: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
    sums: tuple[float, ...] = (0, 0.0, 0, 0, 0, 0)

    @property
    def height(self) -> int:
        """1 for a leaf."""
        return 1 + max((child.height for child in self.children), default=0)


def stat(model: nn.Module, input_size: tuple[int, ...], query_granularity: int = 1) -> None:
    """Print parameters, memory, MAdd, Flops and bytes of every leaf module, for one image of (C, H, W), and totals.

    `query_granularity` merges modules: 1 shows leaves, 2 what holds leaves, and so on.

    Raises:
        ConventionError: the tool itself would fail on this model.
    """
    if len(input_size) != 3:
        raise AssertionError("torchstat takes one input of (channels, height, width)")
    with evaluating(model):
        report = analyze(model, (1, *input_size))
    sys.stdout.write(text(seen_by("torchstat", report), query_granularity) + "\n")


def text(seen: Seen, granularity: int = 1) -> str:
    """The report that :func:`stat` prints."""
    from ..conventions import lookup

    figures = lookup("torchstat").counts(seen)
    branches = _collected(_tree(seen), granularity)
    table = [_row(branch) for branch in branches]
    sums = [sum(branch.sums[i] for branch in branches) for i in range(6)]
    table.append(["total", "", "", *_formatted(sums)])
    printed = tabulate(table, headers=(*HEADERS, *HEADERS_BYTES), tablefmt="plain", disable_numparse=True)
    width = len(printed.splitlines()[0])
    totals = [f"{name}: {figures[name]}" for name in ("Total memory", "Total MAdd", "Total Flops", "Total MemR+W")]
    rule = ["=" * width, f"Total params: {figures['Total params']:,}", "-" * width]
    return "\n".join([printed, *rule, *totals]) + "\n"


def _row(branch: _Branch) -> list[str]:
    shapes = [" ".join(f"{size:>3d}" for size in shape) for shape in branch.shapes]
    return [branch.name, *shapes, *_formatted(branch.sums)]


def _formatted(sums: tuple[float, ...] | list[float]) -> list[str]:
    params, memory, additions, operations, read, written = sums
    counts = (
        f"{int(additions):,}",
        f"{int(operations):,}",
        f"{int(read)}",
        f"{int(written)}",
        f"{int(read + written)}",
    )
    return [f"{int(params)}", f"{memory:.2f}", *counts]


def _tree(seen: Seen) -> _Branch:
    """All leaves of the model under their FQNs, with sums; a leaf that was not called has zeros."""
    root = _Branch("root")
    calls = {call.name: (call.module, x, y) for call, x, y in last_calls(seen)}
    branches = {"": root}
    for name, module in seen.modules.items():
        if any(True for _ in module.children()) or not name:
            continue
        parts = name.split(".")
        for depth in range(1, len(parts) + 1):
            full = ".".join(parts[:depth])
            if full not in branches:
                branches[full] = _Branch(full)
                branches[".".join(parts[: depth - 1])].children.append(branches[full])
        if name in calls:
            _fill([branches[".".join(parts[:depth])] for depth in range(len(parts) + 1)], *calls[name])
    return root


def _fill(path: list[_Branch], module: nn.Module, x: tuple[int, ...], y: tuple[int, ...]) -> None:
    """Add a leaf's figures to it and to all above it."""
    params, elements = sum(p.numel() for p in module.parameters(recurse=False)), 1
    for size in y[1:]:
        elements *= size
    counts = madd(module, x, y), flops(module, x, y), bytes_read(module, x, y), bytes_written(module, x, y)
    figures = (params, elements * 4 / 2**20, *counts)
    for branch in path:
        branch.sums = tuple(a + b for a, b in zip(branch.sums, figures, strict=True))
        branch.shapes = (branch.shapes[0] or x[1:], y[1:])


def _collected(root: _Branch, granularity: int) -> list[_Branch]:
    """Modules of the height asked for, and lower ones that have a sibling of at least that height."""
    found, stack = [], [(root, 0)]
    while stack:
        branch, among = stack.pop()
        if branch.height == granularity or branch.height < granularity <= among:
            found.append(branch)
        highest = max((child.height for child in branch.children), default=0)
        stack.extend((child, highest) for child in reversed(branch.children))
    return found
