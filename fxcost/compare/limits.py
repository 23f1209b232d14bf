"""What a budget can limit, by name, and how a limit was kept; without torch, as the command line lists the options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ..errors import BudgetError, nearest, shown
from ..text.amounts import parse_bytes, parse_count


@dataclass(frozen=True, slots=True)
class Limit:
    """One number that may have an upper limit: its heading, how its limit is read, and help for the command line."""

    heading: str
    parse: Callable[[int | str], int]
    example: str
    text: str

    @property
    def is_bytes(self) -> bool:
        """True for a number of bytes, false for a count."""
        return self.parse is parse_bytes


LIMITS: Mapping[str, Limit] = MappingProxyType(
    {
        "macs": Limit("MACs", parse_count, "4.2G", "Most multiply-accumulates of a forward pass."),
        "flops": Limit("FLOPs", parse_count, "8.5G", "Most floating-point operations of a forward pass."),
        "params": Limit("parameters", parse_count, "26M", "Most parameters."),
        "param_bytes": Limit("parameter bytes", parse_bytes, "100MiB", "Most bytes of parameters."),
        "bytes": Limit("bytes moved", parse_bytes, "1GiB", "Most memory traffic, read and written together."),
        "activations": Limit("activations", parse_count, "40M", "Most elements that operators produce."),
        "sent": Limit("sent bytes", parse_bytes, "4GiB", "Most bytes that a rank of a sharded model sends."),
        "peak_memory": Limit("peak memory", parse_bytes, "2GiB", "Most memory at one time, as fxcost fit counts it."),
    }
)
"""Numbers that a budget can limit. Those of a baseline are in `COMPARED`."""

COMPARED = ("params", "macs", "flops", "bytes", "peak_memory", "sent")
"""Numbers that a baseline limits; what is sent, of ranks of a sharded model."""

OTHERS = ("no_uncosted", "baseline", "tolerance")
"""What a budget can say beside limits."""

NAMES = (*(f"max_{name}" for name in LIMITS), *OTHERS)
"""Every keyword of :func:`fxcost.check`, and with dashes every key of a budget in pyproject.toml."""


@dataclass(frozen=True, slots=True)
class Culprit:
    """A module with its share in what broke a budget: its own amount, or by how much it grew."""

    module: str
    type_name: str
    amount: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One limit. `measure` is a key of `LIMITS`, or "uncosted".

    With a baseline, `baseline` is its number and `limit` what that and the tolerance allow. `culprits` is empty where
    the limit holds.
    """

    measure: str
    actual: int
    limit: int
    baseline: int | None = None
    culprits: tuple[Culprit, ...] = ()

    @property
    def ok(self) -> bool:
        """True if the limit holds."""
        return self.actual <= self.limit


def unknown(name: str, known: tuple[str, ...]) -> BudgetError:
    """An error for a limit that does not exist; it names the nearest."""
    near = nearest(name, known, n=2)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(known)}"
    return BudgetError(f"a budget has no {shown(name)}; {hint}")
