"""The rows of torchinfo's table, from which it adds up parameters: needed where a module or a parameter is shared, and
for the table itself (fxcost/compat/torchinfo.py).

Each call is a row at the depth where its module was found last; containers that are not called are put in front of
their children. A module that is not a leaf counts what its parameters are more than those of the rows below it, which
follow it at greater depth. So a module with two parents, or a tied weight, counts more than once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from .seen import ModuleSeen, Seen


@dataclass(eq=False, slots=True)
class Row:
    """One row: a module, its depth below the model, the row of its parent, and whether it stood above already.

    `name` is what its parent calls it, `call` the call that the row stands for; a container has none.
    """

    module: nn.Module
    depth: int
    parent: Row | None
    repeated: bool = False
    name: str = ""
    call: ModuleSeen | None = None


def rows_of(seen: Seen) -> list[Row]:
    """All rows of the table, in its order.

    Raises:
        ConventionError: the walk over the model does not end.
    """
    return _with_containers(list(_rows(seen)))


def parameters(seen: Seen, *, trainable: bool) -> int:
    """The total that torchinfo prints: of all parameters, or of those that are trained."""
    rows = rows_of(seen)
    counts: dict[nn.Module, int] = {}

    def own(module: nn.Module) -> int:
        if module not in counts:
            counts[module] = sum(p.numel() for p in module.parameters() if p.requires_grad or not trainable)
        return counts[module]

    beyond = [0] * len(rows)
    for i in reversed(range(len(rows))):
        beyond[i] = own(rows[i].module)
        if not _is_leaf(rows[i].module):
            beyond[i] -= sum(beyond[j] for j in below(rows, i) if not rows[j].repeated)
    return sum(max(count, 0) for row, count in zip(rows, beyond, strict=True) if not row.repeated)


def _is_leaf(module: nn.Module) -> bool:
    return not any(True for _ in module.children())


def below(rows: list[Row], i: int) -> Iterator[int]:
    """The rows that follow at greater depth, whoever their parent is."""
    for j in range(i + 1, len(rows)):
        if rows[j].depth <= rows[i].depth:
            return
        yield j


def _called(seen: Seen) -> list[ModuleSeen]:
    """Calls in the order in which their calls began; the records have them in the order in which they ended."""
    open_calls: list[tuple[int, list[ModuleSeen]]] = []
    for call in seen.module_calls:
        inner, first = set(call.module.modules()), len(open_calls)
        while first and open_calls[first - 1][0] >= call.span[0] and open_calls[first - 1][1][0].module in inner:
            first -= 1
        within = [inner_call for _, calls in open_calls[first:] for inner_call in calls]
        open_calls[first:] = [(call.span[0], [call, *within])]
    return [call for _, calls in open_calls for call in calls]


def _rows(seen: Seen) -> Iterator[Row]:
    """A row for each call, at the place where the walk over the model meets the module for the last time.

    Raises:
        ConventionError: the walk does not end.
    """
    _ = seen.visits  # which says so
    found: dict[nn.Module, Row] = {}
    pending = [Row(seen.root, 0, None, name=type(seen.root).__name__)]
    while pending:
        row = pending.pop()
        found[row.module] = row
        children = [(name, child) for name, child in row.module._modules.items() if child is not None]
        pending += [Row(child, row.depth + 1, row, name=name) for name, child in reversed(children)]
    met: set[nn.Module] = set()
    for call in _called(seen):
        place = found[call.module]
        yield Row(call.module, place.depth, place.parent, call.module in met, place.name, call)
        met.add(call.module)


def _with_containers(rows: list[Row]) -> list[Row]:
    """The rows, with those of parents that are not above them already. Changes the list while it goes over it."""
    known = {row.module for row in rows}
    path: dict[int, Row] = {}
    for i, row in enumerate(rows):
        above, parent, at = {}, row.parent, i
        while parent is not None and parent.depth > 0:
            above[parent.depth], parent = parent, parent.parent
        for depth in range(1, row.depth):
            missing = depth not in path or path[depth].module is not above[depth].module
            if missing and above[depth] is not rows[at - 1]:
                container = path[depth] = above[depth]
                container.repeated = container.repeated or container.module in known
                known.add(container.module)
                rows.insert(at, container)
                at += 1
        path[row.depth] = row
        for depth in [d for d in path if d > row.depth]:
            del path[depth]
    return rows
