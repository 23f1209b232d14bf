"""What a domain says of its dims: the lines of the user's code at which they end, and notes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from torch import nn

from ..memory.analysis import Analysis
from .dims import Point
from .domain import Range, Reason
from .ledger import Ledger
from .lift import Coordinates
from .lines import forward_of, parting_line
from .polynomial import Polynomial
from .search import Axis


def ranges_of(
    axes: Iterable[Axis],
    names: Sequence[str],
    base: Coordinates,
    explain: Callable[[Point], Analysis] | None,
    root: nn.Module | None,
) -> dict[str, Range]:
    """The range of each dim, with lines of the user's code if these can be found."""
    if explain is None:
        return {axis.name: axis.range for axis in axes}
    return {axis.name: _explained(axis, names, base, explain, root) for axis in axes}


def _explained(
    axis: Axis, names: Sequence[str], base: Coordinates, explain: Callable[[Point], Analysis], root: nn.Module | None
) -> Range:
    """The range of an axis with the lines of the user's code at which it ends, where they were not told already."""
    found = axis.range
    point = dict(zip(names, base, strict=True))
    for end, size, _ in axis.causes:
        told: Reason | None = getattr(found, end)
        if told is None or told.line:
            continue
        line = ""
        if size > 1:  # one sample alone takes no other way through the code, PyTorch copies less
            line = parting_line(lambda at: explain({**point, axis.name: at}), axis.sizes[:2], size)
        line = line or (forward_of(root, told.module) if root is not None else "")
        found = replace(found, **{end: replace(told, line=line)})  # type: ignore[arg-type]
    return found


def notes_of(axes: Iterable[Axis], ledger: Ledger[Polynomial], root: nn.Module | None) -> Iterator[str]:
    """What else is to be said of the dims, with the forward of the user's code that takes them."""
    used = {name for p in ledger.entries.values() for name in p.names()}
    forward = forward_of(root, "") if root is not None else ""
    where = f", at {forward}" if forward else ""
    inputs = "input_bytes"
    beyond = {name for key, p in ledger.entries.items() if key.number != inputs for name in p.names()}
    for axis in axes:
        if axis.range.is_fixed:
            yield f"{axis.name} has no formula and stays at {axis.range.low}"
        elif axis.name not in used:
            yield f"nothing depends on {axis.name}"
        elif axis.name not in beyond:
            yield f"nothing depends on {axis.name} but the bytes of the inputs: the model never uses it{where}"
        if axis.uneven:
            yield f"the number of operators depends on {axis.name}: sums were fitted instead of sizes"
