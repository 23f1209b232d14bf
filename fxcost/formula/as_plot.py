"""A number over a dim, drawn with matplotlib (the extra `plot`)."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import TYPE_CHECKING

from ..errors import FormulaError
from ..memory.as_plot import LINE, figure_and_axes

if TYPE_CHECKING:
    from .expressions import Expressions

POINTS = 200


def plot(formula: Expressions, path: str | PathLike[str], dim: str, number: str, sizes: Mapping[str, int]) -> None:
    """Draw a number over a dim, the others at given sizes or at their lower ends.

    Raises:
        MissingLibraryError: matplotlib is not installed.
        FormulaError: there is no such dim, or a size is outside of the domain.
    """
    at, values = curve(formula, dim, number, sizes)
    figure, axes = figure_and_axes()
    axes.plot(at, values, color=LINE)
    others = {name: sizes.get(name, formula.domain[name].low) for name in formula.names if name != dim}
    told = ", ".join(f"{name} = {size}" for name, size in others.items())
    axes.set(xlabel=dim, ylabel=number, title=f"{formula.model_type}{f' at {told}' if told else ''}", ylim=(0, None))
    figure.savefig(path, dpi=150, bbox_inches="tight")


def curve(formula: Expressions, dim: str, number: str, sizes: Mapping[str, int]) -> tuple[list[int], list[int]]:
    """Sizes of a dim over its whole range, and a number at each."""
    if dim not in formula.names:
        raise FormulaError(f"there is no open dim {dim!r}; there are {', '.join(formula.names)}")
    range_ = formula.domain[dim]
    rest = {name: sizes.get(name, formula.domain[name].low) for name in formula.names if name != dim}
    count = min(len(range_), POINTS)
    places = sorted({round(i * (len(range_) - 1) / max(count - 1, 1)) for i in range(count)})
    at = [range_.low + k * range_.step for k in places]
    return at, [formula.at(**rest, **{dim: size})[number] for size in at]
