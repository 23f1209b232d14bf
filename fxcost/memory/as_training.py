"""A training step as text: its costs, what is alive at its peak, which nodes save most, and live bytes over time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..text import units
from ..text.choice import choose
from .as_memory import aligned, draw, tensor_table

if TYPE_CHECKING:
    from ..records.cost import Cost
    from .training import Training


def training_table(training: Training, top: int, format: str) -> str:  # noqa: A002
    """Costs of both passes, bytes by kind, and the `top` largest tensors at the peak and nodes by what they save.

    Raises:
        UnknownNameError: the format is not known.
    """
    from tabulate import tabulate, tabulate_formats

    choose("table format", format, tabulate_formats)
    passes = [("forward", training.forward), ("backward", training.backward)]
    if training.recomputed.flops:
        passes.append(("recomputed", training.recomputed))
    rows = [_pass(name, cost) for name, cost in [*passes, ("total", training.total)]]
    headings = ("pass", "MACs", "FLOPs", "read", "written", "FLOPs/byte")
    right = ("left", *["right"] * 5)
    costs = str(tabulate(rows, headings, format, colalign=right, disable_numparse=True))
    saved = [
        (
            node.name,
            node.module,
            units.byte_size(node.cost.saved_bytes),
            units.percent(node.cost.saved_bytes, training.saved_bytes),
        )
        for node in training.largest_saved[:top]
    ]
    alive = sum(tensor.nbytes for tensor in training.at_peak)
    parts = [
        costs,
        aligned(_facts(training)),
        f"Alive at the peak: {units.byte_size(alive)} of activations and gradients",
    ]
    parts.append(tensor_table(training.at_peak, alive, top, format))
    if saved:
        parts.append(f"Saved for backward: {units.byte_size(training.saved_bytes)}")
        align = ("left", "left", "right", "right")
        parts.append(
            str(tabulate(saved, ("node", "module", "saved", "share"), format, colalign=align, disable_numparse=True))
        )
    parts.extend(f"Not costed: {operator}, {units.plural(n, 'run')}" for operator, n in training.uncosted.items())
    parts.extend(f"Assumed: {sentence}" for sentence in training.assumptions)
    return "\n".join(parts)


def _pass(name: str, cost: Cost) -> list[str]:
    counts = [units.count(cost.macs), units.count(cost.flops)]
    traffic = [units.byte_size(cost.bytes_read), units.byte_size(cost.bytes_written)]
    return [name, *counts, *traffic, units.ratio(cost.arithmetic_intensity)]


def _facts(training: Training) -> list[tuple[str, int | None]]:
    return [
        ("Parameters", training.parameter_bytes),
        ("Gradients", training.gradient_bytes),
        (f"Optimizer state ({training.optimizer})", training.optimizer_bytes),
        ("Saved for backward", training.saved_bytes),
        ("Peak", training.peak_bytes),
        *((f"  of it {kind}", nbytes) for kind, nbytes in training.peak_parts.items() if nbytes),
    ]


def chart(training: Training, width: int, height: int) -> str:
    """Activations and gradients over the operators of the step."""
    backward = len(training.live) - 1 - training.forward_operators
    caption = f"{units.plural(training.forward_operators, 'operator')} forward, then {backward:,} backward"
    return draw(training.live, width, height, caption)
