"""Formulas for a page: text, the domain in lines, and curves as paths of SVG, which need no script."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .as_json import unpacked
from .as_plot import curve
from .as_text import written
from .expressions import Expressions


def shown(data: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What a page shows of formulas that are plain data, or `{"error": why}`; None where no size was left open."""
    if data is None or "error" in data:
        return None if data is None else dict(data)
    formula = Expressions(**unpacked(data))
    curves = []
    for dim in formula.names:
        others = {name: formula.domain[name].low for name in formula.names if name != dim}
        at, values = curve(formula, dim, "flops", others)
        most, span = max(values) or 1, max(at[-1] - at[0], 1)
        points = (
            f"{60 + 570 * (x - at[0]) / span:.1f} {190 - 180 * y / most:.1f}" for x, y in zip(at, values, strict=True)
        )
        told = ", ".join(f"{name} = {size}" for name, size in others.items())
        title = f"FLOPs over {dim}{f' at {told}' if told else ''}"
        curves.append({"title": title, "path": f"M{'L'.join(points)}", "low": at[0], "high": at[-1], "most": most})
    return {
        "dims": formula.names,
        "verified": formula.domain.verified,
        "numbers": [(name, written(formula, name)) for name in formula.numbers],
        "domain": str(formula.domain).splitlines(),
        "curves": curves,
    }
