"""A plan as text, code, JSON, and a picture of its frontier (an extra: `fxcost[plot]`)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import takewhile
from os import PathLike
from typing import Any

from ..memory.as_plot import figure_and_axes, save
from ..text import files, units
from ..text.tables import labelled, tabulated
from .names import kind, runs

_CODE = """\
from functools import partial
from torch.utils.checkpoint import checkpoint

for name in (
{names}
):
    module = model.get_submodule(name)
    module.forward = partial(checkpoint, module.forward, use_reentrant=False)
"""


def code_of(modules: Sequence[str]) -> str:
    """Python code that checkpoints modules of `model`."""
    return _CODE.format(names="\n".join(f"    {run.code}," for run in runs(modules))) if modules else ""


def frontier_table(
    points: Sequence[tuple[int, int, Sequence[str]]],
    step_flops: int,
    answer: Sequence[str],
    format: str,  # noqa: A002
) -> str:
    """Choices by what they cost: peak, FLOPs that run again and their share of a step, modules; "→" is the answer.

    Raises:
        UnknownNameError: the format is not known.
    """
    above = _above([name for _, _, names in points for name in names])
    rows = [
        (
            "→" if tuple(names) == tuple(answer) else "",
            units.byte_size(peak),
            units.count(flops),
            units.percent(flops, step_flops),
            units.exact(len(names)),
            described([name.removeprefix(above) for name in names]),
        )
        for peak, flops, names in points
    ]
    columns = ("", "peak", "run again", "of a step", "modules", f"which, in {above[:-1]}" if above else "which")
    return tabulated(rows, columns, "srrrrl", format, drop=("run again",))


def _above(names: Sequence[str]) -> str:
    """The modules that all are in, with a dot at the end; "" if there is none."""
    steps = zip(*[name.split(".")[:-1] for name in names], strict=False)
    return "".join(f"{parts[0]}." for parts in takewhile(lambda parts: len(set(parts)) == 1, steps))


def described(names: Sequence[str]) -> str:
    """Modules by their kinds.

    >>> described(["stem", "layers.0.mlp", "layers.4.mlp"])
    'stem, 2 layers.*.mlp'
    """
    kinds: dict[str, list[str]] = {}
    for name in names:
        kinds.setdefault(kind(name), []).append(name)
    return ", ".join(same[0] if len(same) == 1 else f"{len(same)} {of}" for of, same in kinds.items()) or "none"


def plan_text(plan: Mapping[str, Any], table: str, code: str) -> str:
    """The plan in words, its frontier, and its code."""
    peak, base, limit = (units.byte_size(plan[key]) for key in ("peak_bytes", "base_peak_bytes", "limit_bytes"))
    again, step = plan["recomputed_flops"], plan["step_flops"]
    modules = plan["modules"]
    facts = [
        ("Plan", f"checkpoint {units.plural(len(modules), 'module')} of {plan['model_type']}" if modules else
            f"{plan['model_type']} fits without checkpoints"),
        ("Peak", f"{peak} of {limit}; {base} without checkpoints"),
        ("Run again", f"{units.count(again)} FLOPs, {units.percent(again, step)} of a step's {units.count(step)}"),
        *(("Note", note) for note in plan["notes"]),
    ]  # fmt: skip
    return "\n".join([labelled(facts), table, *(["", code.rstrip()] if code else [])])


def as_json(data: Mapping[str, Any], path: str | PathLike[str] | None) -> str:
    """Plain data as JSON text, also written to a file."""
    text = json.dumps(data, indent=1, ensure_ascii=False)
    if path is not None:
        files.write(path, f"{text}\n")
    return text


def plot_frontier(
    points: Sequence[tuple[int, int]],
    step_flops: int,
    answer: tuple[int, int],
    limit: int,
    path: str | PathLike[str],
) -> None:
    """Draw peaks (GiB) against the share of a step that is run again (%); the limit is a line, the answer a dot.

    Raises:
        MissingLibraryError, UnknownNameError, OSError: as for :func:`fxcost.memory.as_plot.save`.
    """
    figure, axes = figure_and_axes()

    def place(peak: int, flops: int) -> tuple[float, float]:
        return peak / 2**30, 100 * flops / max(step_flops, 1)

    peaks, shares = zip(*[place(*point) for point in points], strict=True)
    axes.step(peaks, shares, where="post", color="#4c78a8", marker=".")
    axes.plot(*place(*answer), "o", color="#e45756", label="the plan")
    axes.axvline(limit / 2**30, color="#bab0ac", linestyle="--", label="the limit")
    axes.set(xlabel="peak of a training step, GiB", ylabel="run again, % of a step's FLOPs")
    axes.grid(color="#e6e6e6", linewidth=0.5)
    axes.legend(frameon=False)
    save(figure, path)
