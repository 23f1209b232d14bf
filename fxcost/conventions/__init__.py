"""Every other tool's number, from the same records: conventions by name.

A convention is a table of what a tool counts; counting under one never runs the model. Each tool has its own file,
whose docstring says what the tool sees and misses.

In: `Sums`. Out: integers, `Reconciliations`. May use `totals`, `rules`, `meta` and `records`.

What a tool can see of a run (calls of modules and functions, beside operators) is gathered in :class:`Seen`; a `Tally`
yields what it counts of that, each amount with the `Span` of operations that it stands for.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import MappingProxyType, ModuleType

from ..errors import ConventionError, nearest, shown
from . import (
    deepspeed,
    dispatch,
    fvcore,
    literature,
    profiler,
    ptflops,
    thop,
    torchinfo,
    torchprofile,
    torchstat,
    torchsummary,
    trainers,
    ultralytics,
)
from .convention import Convention, Counted, CountRule, Tally, by_function, by_module, by_operator, rows, rule
from .seen import FunctionSeen, ModuleSeen, Seen

__all__ = [
    "CONVENTIONS",
    "Convention",
    "CountRule",
    "Counted",
    "FunctionSeen",
    "ModuleSeen",
    "Seen",
    "Tally",
    "by_function",
    "by_module",
    "by_operator",
    "conventions",
    "lookup",
    "rows",
    "rule",
]

_FILES = (
    literature,
    dispatch,
    profiler,
    thop,
    ultralytics,
    ptflops,
    torchstat,
    torchsummary,
    torchinfo,
    fvcore,
    deepspeed,
    torchprofile,
    trainers,
)
CONVENTIONS: Mapping[str, Convention] = MappingProxyType({c.name: c for file in _FILES for c in file.CONVENTIONS})
"""All conventions by name."""


def conventions() -> dict[str, str]:
    """The conventions that `Report.count` knows by name, with a line on each.

    >>> import fxcost
    >>> fxcost.conventions()["macs"]
    "multiply-accumulates of contractions: fxcost's own"
    """
    return {name: convention.summary for name, convention in CONVENTIONS.items()}


def lookup(convention: str | Convention) -> Convention:
    """A convention by its name; one that is given is returned.

    Raises:
        ConventionError: there is none of that name; the message names the nearest.
    """
    if isinstance(convention, Convention):
        return convention
    found = CONVENTIONS.get(convention) if isinstance(convention, str) else None
    if found is None:
        near = nearest(convention, CONVENTIONS, cutoff=0.4)
        hint = f"did you mean {', '.join(map(repr, near))}? " if near else ""
        raise ConventionError(f"no convention {shown(convention)}; {hint}There are {', '.join(CONVENTIONS)}")
    return found


class _Room(ModuleType):
    """This module, which can also be called: `fxcost.conventions()` is public and is the name of the room too."""

    def __call__(self) -> dict[str, str]:
        return conventions()


sys.modules[__name__].__class__ = _Room
