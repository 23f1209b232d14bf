"""`from thop import profile, clever_format` of ultralytics-thop (2.2.3), the fork of thop that YOLO uses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from ..analyze import analyze
from ..conventions.seen import Seen
from ..conventions.ultralytics import tally
from .common import evaluating, refuse, seen_by

Layers = dict[str, tuple[float, float, Any]]


def profile(
    model: nn.Module,
    inputs: tuple[Any, ...],
    custom_ops: Mapping[type, Any] | None = None,
    verbose: bool = True,
    ret_layer_info: bool = False,
    report_missing: bool = False,
    stride: int | tuple[int, int] | None = None,
    min_cells: int = 1,
) -> tuple[float, float] | tuple[float, float, Layers]:
    """Operations and parameters as ultralytics-thop counts them, in eval mode; with `ret_layer_info` a tree by module.

    `verbose` and `report_missing` are accepted: nothing is printed. So are `stride` and `min_cells`: the tool then runs
    small images and extrapolates, and here the image itself costs nothing.

    Raises:
        ConventionError: `custom_ops` is given.
    """
    del verbose, report_missing, stride, min_cells
    refuse("ultralytics_thop", custom_ops=custom_ops)
    with evaluating(model):
        report = analyze(model, inputs)
    figures = report.counts("ultralytics-thop")
    totals = float(figures["total_ops"]), float(figures["total_params"])
    return (*totals, layers(seen_by("ultralytics-thop", report))) if ret_layer_info else totals


def layers(seen: Seen) -> Layers:
    """For each child: operations, parameters, and its own children; a shared module counts where it stands first."""
    own: Counter[str] = Counter()
    calls = {(call.name, call.span) for call in seen.module_calls}
    for counted in tally(seen):
        if (counted.module, counted.span) in calls:
            own[counted.module] += counted.amount
    names = {module: name for name, module in seen.modules.items()}
    met: set[nn.Module] = set()

    def below(module: nn.Module) -> tuple[float, float, Layers]:
        total, children = float(own[names[module]]), {}
        for name, child in module.named_children():
            children[name] = below(child)
            if child not in met:
                met.add(child)
                total += children[name][0]
        return total, float(sum(p.numel() for p in module.parameters())), children

    return below(seen.root)[2]


def clever_format(nums: float | Iterable[float], format: str = "%.2f") -> str | tuple[str, ...]:  # noqa: A002
    """Numbers with T, G, M or K from a thousand on, else B; one number gives a string.

    >>> clever_format([861301280.0, 1000], "%.3f")
    ('861.301M', '1.000K')
    """
    listed = nums if isinstance(nums, Iterable) else [nums]
    texts = tuple(_clever(number, format) for number in listed)
    return texts[0] if len(texts) == 1 else texts


def _clever(number: float, format: str) -> str:  # noqa: A002
    steps = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "K"))
    step, suffix = next((pair for pair in steps if abs(number) >= pair[0]), (1, "B"))
    return format % (number / step) + suffix
