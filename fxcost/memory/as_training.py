"""A training step as text: its costs, what is alive at its peak, which nodes save most, and live bytes over time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..records.cost import Cost
from ..text import units
from ..text.tables import tabulated
from .as_memory import aligned, tensor_table
from .lifetimes import LiveTensor


def training_table(
    passes: Mapping[str, Cost],
    totals: Mapping[str, int | None],
    at_peak: Sequence[LiveTensor],
    saved: Sequence[tuple[str, str, int]],
    notes: Iterable[str],
    top: int,
    format: str,  # noqa: A002
) -> str:
    """Costs of both passes, bytes by kind, and the `top` largest tensors at the peak and nodes by what they save.

    `saved` has the name, module and saved bytes of each node that saves something, largest first.

    Raises:
        UnknownNameError: the format is not known.
    """
    headings = ("pass", "MACs", "FLOPs", "read", "written", "FLOPs/byte")
    costs = tabulated([_pass(name, cost) for name, cost in passes.items()], headings, "lrrrrr", format)
    alive = sum(tensor.nbytes for tensor in at_peak)
    parts = [costs, aligned(totals), f"Alive at the peak: {units.byte_size(alive)} of activations and gradients"]
    parts.append(tensor_table(at_peak, alive, top, format))
    if shown := saved[:top]:
        whole = sum(nbytes for _, _, nbytes in saved)
        lines = [(name, module, units.byte_size(n), units.percent(n, whole)) for name, module, n in shown]
        parts.append(f"Saved for backward: {units.byte_size(whole)}")
        parts.append(tabulated(lines, ("node", "module", "saved", "share"), "llrr", format))
    return "\n".join([*parts, *notes])


def _pass(name: str, cost: Cost) -> list[str]:
    counts = [units.count(cost.macs), units.count(cost.flops)]
    traffic = [units.byte_size(cost.bytes_read), units.byte_size(cost.bytes_written)]
    return [name, *counts, *traffic, units.ratio(cost.arithmetic_intensity)]
