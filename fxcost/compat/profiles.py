"""What the drop-ins for calflops and DeepSpeed share: inputs from a shape, and numbers with their units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from ..analyze import analyze
from ..errors import InputError
from ..model.inputs import spec
from ..report import Report
from .common import evaluating

UNITS = {"T": 1e12, "G": 1e9, "M": 1e6, "K": 1e3, "m": 1e-3, "u": 1e-6}


def number_to_string(number: float, units: str | None = None, precision: int = 2) -> str:
    """A number with the largest unit that leaves at least 1, or with the one that is asked for.

    >>> number_to_string(1824033792), number_to_string(1500, "K", 1), number_to_string(0)
    ('1.82 G', '1.5 K', '0 ')
    """
    if units is None:
        plain = number >= 1 or number == 0
        units = next(
            (unit for unit in "TGMK" if number >= UNITS[unit]), "" if plain else "m" if number >= 1e-3 else "u"
        )
    return f"{round(number / UNITS.get(units, 1), precision):g} {units}"


def params_to_string(number: float, units: str | None = None, precision: int = 2) -> str:
    """A number of parameters: a billion is B.

    >>> params_to_string(7_000_000_000)
    '7 B'
    """
    units = units.replace("B", "G") if units else units
    return number_to_string(number, units, precision).replace("G", "B").strip()


def profiled(
    model: nn.Module, input_shape: tuple[int, ...] | None, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Report:
    """The analysis in eval mode, on a shape or on arguments.

    Raises:
        InputError: neither is given, or both.
    """
    if input_shape is not None:
        if args or kwargs:
            raise InputError("args and kwargs must be empty if input_shape is given")
        args = [spec(*input_shape)]
    elif not args and not kwargs:
        raise InputError("args and/or kwargs must be specified if input_shape is None")
    with evaluating(model):
        return analyze(model, list(args), dict(kwargs))
