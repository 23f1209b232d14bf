"""Flame graphs for speedscope: modules inside each other, as wide as what they cost.

A file holds a profile for each weight (speedscope switches between them at the top); it opens at the one asked for.
The stack of an operation is the model, the calls of modules around it, and the operator. The horizontal axis is the
order of execution; what costs nothing has no width and is left out. Numbers above 2⁵³ are rounded by viewers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import UnknownNameError, shown
from ..records.cost import NodeCost, OpCost
from ..speed.devices import Device
from ..speed.roofline import roofline as roofline_of
from ..totals.sums import Sums
from .blocks import MOST_LEVELS, call_paths

SCHEMA = "https://www.speedscope.app/file-format-schema.json"
WEIGHTS: Mapping[str, tuple[str, str, Callable[[OpCost], int]]] = {
    "flops": ("FLOPs", "none", lambda op: op.cost.flops),
    "macs": ("MACs", "none", lambda op: op.cost.macs),
    "bytes": ("bytes read and written", "bytes", lambda op: op.cost.bytes_moved),
    "activations": ("activations (elements)", "none", lambda op: op.cost.activations),
}
"""Name, unit and amount of each weight; "time" needs a device and is added by :func:`to_speedscope`."""

Frame = tuple[str, int]
"""What makes two frames of a stack the same call: the text shown, and the number of the call."""


@dataclass(frozen=True, slots=True)
class Slice:
    """A piece of the axis: the stack above it and its width."""

    stack: tuple[Frame, ...]
    width: float


def to_speedscope(report: Sums, weight: str = "flops", device: Device | str | None = None) -> str:
    """A file for speedscope, as text; :meth:`fxcost.report.Report.to_speedscope` explains the arguments.

    Raises:
        UnknownNameError: there is no such weight, or it is "time" and no device is given.
    """
    named = [*WEIGHTS, *(["time"] if device is not None else [])]
    if not isinstance(weight, str) or weight not in named:
        hint = "; give device= too, a name such as 'a100'" if weight == "time" else ""
        raise UnknownNameError(f"there is no weight {shown(weight)}: choose from {', '.join([*WEIGHTS, 'time'])}{hint}")
    frames: dict[str, int] = {}
    stacks = list(_stacks(report))
    profiles = [_profile(name, unit, _operations(stacks, amount), frames) for name, unit, amount in WEIGHTS.values()]
    if device is not None:
        roofline = roofline_of(report, device)
        times = {node.name: node.time_s for node in roofline.nodes}
        slices = (Slice(stack, times.get(node.name, 0.0)) for node, stack in stacks)
        profiles.append(_profile(f"least time on {roofline.device.name}", "seconds", slices, frames))
    data = {
        "$schema": SCHEMA,
        "name": report.model_type,
        "exporter": "fxcost",
        "activeProfileIndex": named.index(weight),
        "shared": {"frames": [{"name": name} for name in frames]},
        "profiles": profiles,
    }
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")) + "\n"


def _stacks(report: Sums) -> Iterator[tuple[NodeCost, tuple[Frame, ...]]]:
    """Each node with the calls of modules around it, the model first."""
    model: Frame = (report.model_type, 0)
    for node, path in zip(report.nodes, call_paths(report, MOST_LEVELS), strict=True):
        calls = [(_module(report, module), number) for module, number in path]
        if node.kind != "call_module" or not path:
            calls.append((node.target if node.record.is_call else node.name, -1))
        yield node, (model, *calls)


def _module(report: Sums, name: str) -> str:
    known = report.modules.get(report.canonical(name))
    return f"{name} ({known.type_name})" if known is not None and known.type_name else name


def _operations(stacks: list[tuple[NodeCost, tuple[Frame, ...]]], amount: Callable[[OpCost], int]) -> Iterator[Slice]:
    """A slice for each operation, its operator innermost."""
    for node, stack in stacks:
        for op in node.operations:
            scope = op.record.scope.split(".") if op.record.scope else []
            inner = [(".".join(filter(None, (node.module, *scope[: i + 1]))), -1) for i in range(len(scope))]
            yield Slice((*stack, *inner, (str(op.record.op), -1)), amount(op))


def _profile(name: str, unit: str, slices: Iterator[Slice], frames: dict[str, int]) -> dict[str, Any]:
    """One profile: frames open and close as the stack changes from slice to slice."""
    events: list[dict[str, Any]] = []
    at: float = 0
    stack: tuple[Frame, ...] = ()

    def change(to: tuple[Frame, ...]) -> None:
        same = 0
        while same < min(len(stack), len(to)) and stack[same] == to[same]:
            same += 1
        closed = [("C", frame) for frame in reversed(stack[same:])]
        for kind, (text, _) in (*closed, *(("O", frame) for frame in to[same:])):
            events.append({"type": kind, "frame": frames.setdefault(text, len(frames)), "at": at})

    for piece in slices:
        if piece.width > 0:
            change(piece.stack)
            stack, at = piece.stack, at + piece.width
    change(())
    return {"type": "evented", "name": name, "unit": unit, "startValue": 0, "endValue": at, "events": events}
