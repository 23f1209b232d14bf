"""The cards on top of the page: each total in short, exactly, and with a line on what it is made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ...memory.analysis import Analysis
from ...memory.training import Training
from ...records.communication import Rank
from ...text import units
from ..summary import coverage


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One total. `value` and `unit` are set apart in size; `share` (0 to 1) is drawn as a bar, if there is one.

    `warns` marks a number that is not complete, `wide` a card that takes the room of two.
    """

    label: str
    value: str
    unit: str = ""
    exact: str = ""
    notes: tuple[str, ...] = ()
    share: float | None = None
    warns: bool = False
    wide: bool = False


def cards(report: Analysis) -> list[Card]:
    """The totals of a report, those of a training step among them if one was analysed."""
    made = [_parameters(report), *_work(report), _traffic(report), _peak(report), _coverage(report)]
    if report.rank is not None:
        made.append(_sent(report, report.rank))
    if report.training is not None:
        made.extend(replace(card, wide=True) for card in _training(report.training))
    return made


def device_card(name: str, time: str, notes: tuple[str, ...]) -> Card:
    """What is estimated for a device."""
    return replace(_card(f"On {name}", time, notes=notes), wide=True)


def _card(label: str, shown: str, *, exact: str = "", notes: tuple[str, ...] = ()) -> Card:
    """A card whose number and unit stand in one text: "4.09 G"."""
    value, _, unit = shown.partition(" ")
    return Card(label=label, value=value, unit=unit, exact=exact, notes=notes)


def _counted(label: str, n: int, *notes: str) -> Card:
    return _card(label, units.count(n), exact=units.exact(n), notes=notes)


def _bytes(label: str, n: int, *notes: str) -> Card:
    return _card(label, units.byte_size(n), exact=f"{units.exact(n)} bytes", notes=notes)


def _parameters(report: Analysis) -> Card:
    totals = report.parameter_totals
    dtypes = ", ".join(report.params_by_dtype)
    notes = [f"{units.byte_size(totals.param_bytes)}{f' of {dtypes}' if dtypes else ''}"]
    if totals.frozen_params:
        notes.append(f"{units.count(totals.frozen_params)} of them frozen")
    if report.active_params != totals.params:
        notes.append(f"{units.count(report.active_params)} active per token")
    if totals.buffers:
        notes.append(f"{units.byte_size(totals.buffer_bytes)} of buffers")
    return _counted("Parameters", totals.params, *notes)


def _work(report: Analysis) -> Iterator[Card]:
    cost = report.cost
    yield _counted("MACs", cost.macs, "multiply-accumulates of contractions")
    yield _counted("FLOPs", cost.flops, f"2 × MACs + {units.count(cost.other_flops)} others")


def _traffic(report: Analysis) -> Card:
    cost = report.cost
    moved = f"{units.byte_size(cost.bytes_read)} read, {units.byte_size(cost.bytes_written)} written"
    return _bytes("Memory traffic", cost.bytes_moved, moved, f"{units.ratio(cost.arithmetic_intensity)} FLOPs per byte")


def _peak(report: Analysis) -> Card:
    memory = report.memory
    notes = [f"{units.byte_size(memory.peak_activation_bytes)} of activations"]
    if memory.peak_eager_bytes is not None:
        notes.append(f"{units.byte_size(memory.peak_eager_bytes)} as eager Python holds it")
    return _bytes("Peak memory", memory.peak_bytes, *notes)


def _sent(report: Analysis, rank: Rank) -> Card:
    step = report.training
    found = report.communication if step is None else step.communication
    dims = [f"{name or 'others'} {units.byte_size(t.sent_bytes)}" for name, t in found.by_mesh_dim().items()]
    passes = "forward pass" if step is None else "training step"
    told = f"{units.plural(len(found.collectives), 'collective')} of a {passes}", ", ".join(dims), f"rank {rank}"
    return replace(_bytes("Sent by this rank", found.sent_bytes, *filter(None, told)), wide=True)


def _training(training: Training) -> Iterator[Card]:
    both = f"{units.count(training.forward.flops)} forward, {units.count(training.backward.flops)} backward"
    again = (f"{units.count(training.recomputed.flops)} recomputed",) if training.recomputed.flops else ()
    yield _counted("Training FLOPs", training.total.flops, both, *again)
    yield _bytes("Saved for backward", training.saved_bytes, "activations kept by the forward pass")
    yield _bytes("Training peak", training.peak_bytes, f"optimizer: {training.optimizer}")


def _coverage(report: Analysis) -> Card:
    nodes = len(report.nodes)
    whole = report.costed_nodes == nodes
    missing = sum(report.uncosted.values())
    note = "every operator has a rule" if whole else f"{units.plural(missing, 'run')} without a rule"
    shown = "100%" if whole else f"{min(99.9, 100 * report.costed_nodes / nodes):.1f}%"
    return Card(
        label="Coverage",
        value=shown,
        notes=(coverage(report), note),
        share=report.costed_nodes / nodes if nodes else 1.0,
        warns=not whole,
    )
