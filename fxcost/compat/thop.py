"""`from thop import profile, clever_format` (0.1.1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from ..analyze import analyze
from ..conventions.convention import module_amount
from ..conventions.seen import Seen
from ..conventions.thop import TABLE
from .common import evaluating, refuse, seen_by

Layers = dict[str, tuple[float, float, Any]]


def profile(
    model: nn.Module,
    inputs: tuple[Any, ...],
    custom_ops: Mapping[type, Any] | None = None,
    verbose: bool = True,
    ret_layer_info: bool = False,
    report_missing: bool = False,
) -> tuple[float, float] | tuple[float, float, Layers]:
    """Operations and parameters as thop counts them, in eval mode; with `ret_layer_info` also a tree by module.

    `verbose` and `report_missing` are accepted: nothing is printed.

    Raises:
        ConventionError: `custom_ops` is given.
    """
    del verbose, report_missing
    refuse("thop", custom_ops=custom_ops)
    with evaluating(model):
        report = analyze(model, inputs)
    figures = report.counts("thop")
    totals = float(figures["total_ops"]), float(figures["total_params"])
    return (*totals, layers(seen_by("thop", report))) if ret_layer_info else totals


def layers(seen: Seen) -> Layers:
    """For each child: operations, parameters of listed modules that were called, and its own children."""
    own: dict[str, tuple[int, int]] = {}
    for call in seen.module_calls:
        for counted in module_amount(TABLE, call, seen.visits[call.name]):
            before = own.get(call.name, (0, 0))[0]
            own[call.name] = before + counted.amount, sum(p.numel() for p in call.module.parameters())
    names = {module: name for name, module in seen.modules.items()}

    def below(module: nn.Module) -> tuple[float, float, Layers]:
        ops, params = own.get(names[module], (0, 0))
        if type(module) in TABLE:
            return float(ops), float(params), {}
        children = {name: below(child) for name, child in module.named_children()}
        total = float(ops) + sum(child[0] for child in children.values())
        return total, float(sum(child[1] for child in children.values())), dict(children)

    return {name: below(child) for name, child in seen.root.named_children()}


def clever_format(nums: float | Iterable[float], format: str = "%.2f") -> str | tuple[str, ...]:  # noqa: A002
    """Numbers with T, G, M, K, or B for those up to a thousand; one number gives a string.

    >>> clever_format([861301280.0, 61264904.0], "%.3f")
    ('861.301M', '61.265M')
    >>> clever_format(1000)
    '1000.00B'
    """
    listed = nums if isinstance(nums, Iterable) else [nums]
    texts = tuple(_clever(number, format) for number in listed)
    return texts[0] if len(texts) == 1 else texts


def _clever(number: float, format: str) -> str:  # noqa: A002
    for step, suffix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "K")):
        if number > step:
            return format % (number / step) + suffix
    return format % number + "B"
