"""The report as Markdown: for a pull request, a wiki, a model card."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from tabulate import tabulate

from ..memory.analysis import Analysis
from ..memory.as_memory import tensor_table
from ..memory.lifetimes import LiveTensor
from ..memory.memory import Memory
from ..memory.training import Training
from ..records.cost import Cost
from ..text import units
from ..text.version import VERSION
from ..text.words import printable
from .as_table import table
from .summary import facts, header

FORMAT = "github"
MOST_TENSORS = 5


def to_markdown(report: Analysis, depth: int = 2) -> str:
    """Totals, the module tree down to `depth`, families of operators, and the training step if there is one."""
    parts = [
        f"# {escaped(report.model_type)}",
        escaped(header(report)) + ".",
        _table([(name, escaped(text)) for name, text in facts(report)], ("what", "how much")),
        "## Modules",
        table(report, by="module", depth=depth, format=FORMAT, summary=False),
        "## Operations",
        table(report, by="family", format=FORMAT, summary=False),
        "## Memory",
        *_memory(report.memory),
    ]
    if report.training is not None:
        parts += ["## Training step", *_training(report.training)]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def card(report: Analysis) -> str:
    """What was analysed, and the totals, in one line."""
    eager = report.memory.peak_eager_bytes
    peak = report.memory.peak_bytes if eager is None else eager
    numbers = [
        f"{units.count(report.params)} parameters ({units.byte_size(report.parameter_totals.param_bytes)})",
        f"{units.count(report.cost.macs)} MACs",
        f"{units.count(report.cost.flops)} FLOPs",
        f"{units.byte_size(peak)} peak memory of a forward pass",
    ]
    inputs = [", ".join(map(str, node.outputs)) for node in report.nodes if node.kind == "placeholder" and node.outputs]
    missing = (
        "" if not report.uncosted else f", without {units.plural(len(report.uncosted), 'operator')} that has no rule"
    )
    on = f" on {escaped(', '.join(inputs))}" if inputs else ""
    return f"**{escaped(report.model_type)}**{on}: {', '.join(numbers)}{missing} (fxcost {VERSION})"


def _table(rows: Iterable[Sequence[str]], headings: Sequence[str]) -> str:
    align = ("left", *["right"] * (len(headings) - 1)) if len(headings) > 2 else None
    return str(tabulate(list(rows), headings, FORMAT, colalign=align, disable_numparse=True))


def _memory(memory: Memory) -> Iterator[str]:
    known = [(name, units.byte_size(n)) for name, n in memory.totals.items() if n is not None]
    yield _table(known, ("what", "how much"))
    yield "Alive at the peak of activations:"
    yield _tensors(memory.at_peak, memory.peak_activation_bytes)


def _tensors(tensors: Iterable[LiveTensor], whole: int) -> str:
    named = [replace(t, node=escaped(t.node), module=escaped(t.module), operator=escaped(t.operator)) for t in tensors]
    return tensor_table(named, whole, MOST_TENSORS, FORMAT)


def _training(training: Training) -> Iterator[str]:
    costs = [(name, *_costs(cost)) for name, cost in training.passes.items()]
    yield _table(costs, ("pass", "MACs", "FLOPs", "bytes moved"))
    parts = {**training.peak_parts, "peak": training.peak_bytes}
    yield _table([(name, units.byte_size(n)) for name, n in parts.items()], ("at the peak", "how much"))
    saved, optimizer = units.byte_size(training.saved_bytes), escaped(training.optimizer)
    yield f"{saved} are saved for backward; the optimizer is {optimizer}."
    yield from (f"Assumed: {escaped(sentence)}." for sentence in training.assumptions)


def _costs(cost: Cost) -> tuple[str, str, str]:
    return units.count(cost.macs), units.count(cost.flops), units.byte_size(cost.bytes_moved)


def escaped(text: str) -> str:
    """Text of a user's in which nothing is markup.

    >>> escaped("a|b <script> *c*")
    'a\\\\|b \\\\<script> \\\\*c\\\\*'
    """
    return "".join(f"\\{char}" if char in "\\`*_|<[]#&" else char for char in printable(text))
