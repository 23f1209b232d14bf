"""The words around every view: what was analysed, the totals, what is missing and what is assumed."""

from __future__ import annotations

from collections.abc import Iterator

from ..communication.communication import Communication
from ..communication.reading import of_forward
from ..text import units
from ..text.words import shortened
from ..totals.sums import Sums

LONGEST_REASON = 160
"""Characters of why the graph is that of a run; `report.capture_reason` has all of it."""
MOST_TIED = 3
"""How many tied parameters are named before the rest is only counted."""


def one_line(report: Sums) -> str:
    """The report in one line, for a prompt or a log."""
    return (
        f"{report.model_type}: {units.count(report.macs)} MACs, {units.count(report.flops)} FLOPs, "
        f"{units.count(report.params)} parameters, {coverage(report)}"
    )


def header(report: Sums) -> str:
    """What was analysed: the model's class, its inputs and how its graph was captured."""
    inputs = [", ".join(map(str, node.outputs)) for node in report.nodes if node.kind == "placeholder" and node.outputs]
    given = f" on {', '.join(inputs)}" if inputs else ""
    return f"{report.model_type}{given} ({report.capture} capture)"


def coverage(report: Sums) -> str:
    """How much of the graph has a price: "177 of 177 nodes costed"."""
    return f"{report.costed_nodes:,} of {units.plural(len(report.nodes), 'node')} costed"


def facts(report: Sums) -> Iterator[tuple[str, str]]:
    """Names and texts of all totals, then what was not costed and what is assumed."""
    totals, cost = report.parameter_totals, report.cost
    by_dtype = report.params_by_dtype
    dtypes = ", ".join(by_dtype if len(by_dtype) == 1 else (f"{units.count(n)} {d}" for d, n in by_dtype.items()))
    size = f"{units.byte_size(totals.param_bytes)} of {dtypes}" if dtypes else units.byte_size(totals.param_bytes)
    trainable, other = units.exact(totals.trainable_params), units.exact(totals.frozen_params)
    yield "Parameters", f"{units.exact(totals.params)} total: {trainable} trainable, {other} non-trainable; {size}"
    if totals.buffers:
        yield "Buffers", f"{units.exact(totals.buffers)}, {units.byte_size(totals.buffer_bytes)}"
    if (rank := report.recording.rank) is not None:
        yield "Rank", f"{rank}: all numbers are those of this rank"
        yield "Unsharded", f"{units.exact(rank.unsharded_params)} parameters in the whole model"
        sent = Communication(collectives=tuple(of_forward(report.recording.nodes, rank.rank)))
        yield (
            "Communication",
            f"{units.byte_size(sent.sent_bytes)} sent in {units.plural(sent.traffic.count, 'collective')}",
        )
    yield "MACs", _both(cost.macs)
    yield "FLOPs", f"{_both(cost.flops)}; 1 MAC = 2 FLOPs, plus {units.exact(cost.other_flops)} other operations"
    traffic = f"{units.byte_size(cost.bytes_read)} read, {units.byte_size(cost.bytes_written)} written"
    yield "Memory traffic", f"{traffic}, {units.ratio(cost.arithmetic_intensity)} FLOPs per byte"
    yield "Activations", f"{units.exact(cost.activations)} elements"
    if report.capture_reason:
        yield "Capture", f"{report.capture}: {shortened(report.capture_reason, LONGEST_REASON)}"
    yield "Coverage", coverage(report)
    yield from caveats(report)


def _both(n: int) -> str:
    """A count exactly and, if it is long, in short: "4,089,184,256 (4.09 G)"."""
    return units.exact(n) if n < 1000 else f"{units.exact(n)} ({units.count(n)})"


def caveats(report: Sums) -> Iterator[tuple[str, str]]:
    """What a reader must know before trusting the totals; nothing for a complete report without assumptions."""
    for operator, times in report.uncosted.items():
        yield "Not costed", f"{operator}, {units.plural(times, 'run')}: its arithmetic is missing above"
    tied = list(tied_names(report))
    for names in tied[:MOST_TIED]:
        more = f" and {len(names) - 4} more names" if len(names) > 4 else ""
        yield "Shared", f"{names[0]} is also {', '.join(names[1:4])}{more}; it counts once"
    if len(tied) > MOST_TIED:
        yield "Shared", f"{len(tied) - MOST_TIED:,} more parameters and buffers stand under several names"
    for sentence in report.assumptions:
        yield "Assumed", sentence


def tied_names(report: Sums) -> Iterator[tuple[str, ...]]:
    """The names of each parameter or buffer that belongs to more than one module object, as tied weights do."""
    for parameter in report.parameters:
        owners = {report.canonical(name.rpartition(".")[0]) for name in parameter.names}
        if len(owners) > 1:
            yield parameter.names
