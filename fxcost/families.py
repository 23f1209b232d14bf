"""Formulas over what makes a model: width, depth, heads, vocabulary, beside batch and sequence."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .analyze import Options, Ran, analyzed, with_formulas
from .errors import InputError
from .formula.dims import Point, as_dim, check_name, names_in, with_sizes
from .report import Report


def family(
    factory: Callable[..., Any],
    dims: Mapping[str, Any],
    inputs: Any = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    verify: int = 2,
    **options: Any,
) -> Report:
    """What a family of models costs: formulas in the arguments of the function that makes them.

    >>> import fxcost, torch
    >>> def mlp(d, L):
    ...     with torch.device("meta"):
    ...         return torch.nn.Sequential(*(torch.nn.Linear(d, d) for _ in range(L)))
    >>> dims = {"d": fxcost.Dim(8, 512), "L": fxcost.Dim(1, 24), "B": fxcost.Dim(2, 64)}
    >>> report = fxcost.family(mlp, dims, ("B", "d"))
    >>> report.formula.macs
    B*L*d**2

    Args:
        factory: makes a model from the dims that are among its parameters; those that stand in shapes alone it is
            not given. Let it build on the meta device: it runs for every point.
        dims: the range of each dim, as for :func:`analyze`.
        inputs: as for :func:`analyze`, with names in shapes.
        kwargs: further keyword inputs.
        verify: as for :func:`analyze`.
        options: further arguments of :func:`analyze`.

    Raises:
        InputError: a dim is neither a parameter of the factory nor in a shape.
        FxcostError: as :func:`analyze`, for the model in the middle of the ranges.
    """
    ranges = {check_name(name): as_dim(name, value) for name, value in dims.items()}
    named = dict(kwargs or {})
    shapes = set(names_in((inputs, named), ranges))
    taken = _parameters(factory, ranges, shapes)
    for name in shapes:
        ranges.setdefault(check_name(name), as_dim(name, None))
    if unused := [name for name in ranges if name not in shapes and name not in taken]:
        raise InputError(f"{', '.join(map(repr, unused))}: neither a parameter of the factory nor in a shape")
    given = Options(**options)

    def run(point: Point, options: Options) -> Ran:
        model = factory(**{name: point[name] for name in taken})
        return analyzed(model, with_sizes(inputs, point), with_sizes(named, point), options)

    return with_formulas(ranges, run, verify, given)


def _parameters(factory: Callable[..., Any], names: Iterable[str], shapes: set[str]) -> list[str]:
    """Dims that a factory takes: those among its parameters, or all that stand in no shape if it takes any."""
    try:
        parameters = inspect.signature(factory).parameters
    except (TypeError, ValueError):
        return [name for name in names if name not in shapes]
    anything = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    return [name for name in names if name in parameters or (anything and name not in shapes)]
