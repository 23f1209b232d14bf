"""The numbers that a formula has, by the names that reports have for them: each a maximum of polynomials.

All but peaks of memory are single polynomials. A number that was not seen (a training step that was not asked for, a
peak that no formula fits) is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields

from ..memory.analysis import Analysis
from ..records.cost import Cost
from .ledger import COST_NUMBERS, PARAMETER_NUMBERS, Key, Ledger
from .polynomial import ZERO, Polynomial

Maximum = tuple[Polynomial, ...]
"""Polynomials of which the largest counts."""

WORK = ("macs", "flops", *COST_NUMBERS[1:3], "bytes_read", "bytes_written", "bytes", "activations")
"""Numbers of a pass, a module, an operator or a family."""
STEP = ("forward", "backward", "recomputed")
"""Parts of a training step."""


def work_of(entries: Iterable[tuple[Key, Polynomial]], kinds: Iterable[str] = ("forward",)) -> dict[str, Polynomial]:
    """The numbers of a pass from entries of a ledger: what a :class:`Cost` has, FLOPs and all bytes."""
    wanted, sums = set(kinds), dict.fromkeys(COST_NUMBERS, ZERO)
    for key, polynomial in entries:
        if key.kind in wanted:
            sums[key.number] = sums[key.number] + polynomial
    sums["flops"] = 2 * sums["macs"] + sums["other_flops"]
    sums["bytes"] = sums["bytes_read"] + sums["bytes_written"]
    return sums


def parameters_of(entries: Iterable[tuple[Key, Polynomial]]) -> dict[str, Polynomial]:
    """Elements and bytes of parameters and buffers."""
    sums = dict.fromkeys(PARAMETER_NUMBERS, ZERO)
    for key, polynomial in entries:
        if key.kind == "parameter":
            sums[key.number] = sums[key.number] + polynomial
    return sums


def numbers_of(ledger: Ledger[Polynomial]) -> dict[str, Maximum]:
    """All numbers of a model by name."""
    entries = list(ledger.entries.items())
    single = {**work_of(entries), **parameters_of(entries), "input_bytes": ZERO}
    resident, constant = ZERO, ZERO
    for key, polynomial in entries:
        if key.kind == "resident":
            resident = resident + polynomial
            if key.number == "input_bytes":
                single["input_bytes"] = single["input_bytes"] + polynomial
        elif key.kind == "total" and key.number != "gradient_bytes":
            constant = constant + polynomial  # parameters, buffers, inputs and optimizer state of a step
    found: dict[str, Maximum] = {name: (polynomial,) for name, polynomial in single.items()}
    if "graph" in ledger.live:
        found["peak_activation_bytes"] = ledger.live["graph"]
        found["peak_bytes"] = tuple(resident + live for live in ledger.live["graph"])
    if "eager" in ledger.live:
        found["peak_eager_bytes"] = tuple(resident + live for live in ledger.live["eager"])
    if any(key.kind.startswith("step.") for key in ledger.entries):
        found.update(_of_step(entries))
        if "step" in ledger.live:
            found["training_peak_bytes"] = tuple(constant + live for live in ledger.live["step"])
    return found


def _of_step(entries: list[tuple[Key, Polynomial]]) -> dict[str, Maximum]:
    found: dict[str, Polynomial] = {}
    for part in STEP[1:]:
        found.update({f"{part}_{name}": p for name, p in work_of(entries, (f"step.{part}",)).items() if name in WORK})
    whole_step = work_of(entries, tuple(f"step.{part}" for part in STEP))
    found.update({f"training_{name}": p for name, p in whole_step.items() if name in WORK})
    for number in ("saved_bytes", "gradient_bytes", "optimizer_bytes"):
        found[number] = sum((p for key, p in entries if key.number == number), ZERO)
    return {name: (polynomial,) for name, polynomial in found.items()}


def reported(report: Analysis) -> dict[str, int]:
    """The same numbers as a report has them, those that it does not have left out."""
    memory, step = report.memory, report.training
    found = {**_of_cost(report.cost), "input_bytes": memory.input_bytes, "peak_bytes": memory.peak_bytes}
    found.update({f.name: getattr(report.parameter_totals, f.name) for f in fields(report.parameter_totals)})
    found["peak_activation_bytes"] = memory.peak_activation_bytes
    if memory.peak_eager_bytes is not None:
        found["peak_eager_bytes"] = memory.peak_eager_bytes
    if step is not None:
        costs = {"backward": step.backward, "recomputed": step.recomputed, "training": step.total}
        for part, cost in costs.items():
            found.update({f"{part}_{name}": n for name, n in _of_cost(cost).items() if name in WORK})
        found["saved_bytes"], found["gradient_bytes"] = step.saved_bytes, step.gradient_bytes
        found["optimizer_bytes"], found["training_peak_bytes"] = step.optimizer_bytes, step.peak_bytes
    return found


def _of_cost(cost: Cost) -> dict[str, int]:
    return {
        **{name: getattr(cost, name) for name in COST_NUMBERS},
        "flops": cost.flops,
        "bytes": cost.bytes_moved,
    }


def grouped_by(
    ledger: Ledger[Polynomial], group: Callable[[Key], Iterable[str]]
) -> Mapping[str, dict[str, Polynomial]]:
    """The forward pass's numbers by what `group` says of each entry."""
    groups: dict[str, list[tuple[Key, Polynomial]]] = {}
    for key, polynomial in ledger.entries.items():
        if key.kind == "forward":
            for name in group(key):
                groups.setdefault(name, []).append((key, polynomial))
    return {name: work_of(entries) for name, entries in groups.items()}
