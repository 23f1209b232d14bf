"""What a convention is: a name, a line about it, and how it counts what a run's records show.

A convention never runs a model. It is given a :class:`~fxcost.conventions.seen.Seen` and yields :class:`Counted`
amounts, each with the operations that it stands for; so any two conventions can be reconciled, term by term.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ..errors import ConventionError, FxcostError, shown
from ..errors.arguments import checked
from ..records.cost import OpCost
from ..records.recording import Operator
from .in_run import in_run
from .running import Run
from .seen import FunctionSeen, ModuleSeen, Seen, Span

NOTHING: Span = (0, 0)


@dataclass(frozen=True, slots=True)
class Counted:
    """An amount that a tool counts.

    `span` is the range of operations, numbered through the graph, whose work it stands for; empty where it stands
    for no work of its own (a correction, a division by the batch). `why` says in words how the tool gets the amount.
    """

    amount: int
    family: str
    module: str = ""
    why: str = ""
    span: Span = NOTHING


Tally = Callable[[Seen], Iterable[Counted]]
"""Counts one figure of a tool."""


def nothing_more(_seen: Seen, _totals: Mapping[str, int]) -> Mapping[str, Any]:
    """No figures beside the tallies."""
    return {}


@checked
@dataclass(frozen=True, slots=True, kw_only=True)
class Convention:
    """How a tool, or a paper, counts.

    >>> import fxcost, torch
    >>> from fxcost.conventions import by_operator, rule
    >>> mine = fxcost.Convention(
    ...     name="mine", summary="matrix products only", unit="MACs",
    ...     tallies={"macs": by_operator({torch.ops.aten.addmm: rule("linear", "as is", lambda op: op.cost.macs)})},
    ... )
    >>> fxcost.analyze(torch.nn.Linear(3, 4), (2, 3)).count(mine)
    24

    Args:
        name: what `Report.count` is given.
        summary: one line on what is counted.
        unit: "MACs", "FLOPs" or "training FLOPs" for figures that can be reconciled with ours; else anything.
        tallies: the figures that are sums over the run, by the tool's own names; the first is the headline.
        figures: further figures (parameters, sizes, printed strings), from what was seen and the tallies' totals.
        unseen: why work of ours may be missing from the headline, in words.
        family: the name under which conventions share their tables, "" for none.
        run: how the tool runs the model (mode, gradients, hooks); None counts the run as it was analysed.
    """

    name: str
    summary: str
    unit: str
    tallies: Mapping[str, Tally]
    figures: Callable[[Seen, Mapping[str, int]], Mapping[str, Any]] = nothing_more
    unseen: str = "not counted by this convention"
    family: str = ""
    run: Run | None = None
    headline: str = field(init=False, default="")

    def __post_init__(self) -> None:
        if not self.tallies:
            raise ConventionError(f"convention {self.name!r} has no tally: give tallies={{'macs': by_operator({{…}})}}")
        object.__setattr__(self, "headline", next(iter(self.tallies)))

    def counted(self, seen: Seen) -> list[Counted]:
        """The amounts of which the headline is the sum.

        Raises:
            ConventionError: the tool itself refuses such a model, or the convention can't count it.
        """
        with self._counting():
            seen = self.sees(seen)
            return [c for c in self.tallies[self.headline](seen) if c.amount or c.span[1] > c.span[0]]

    def sees(self, seen: Seen) -> Seen:
        """What the tool sees when it runs the model in its own way.

        Raises:
            ConventionError: the analysed run does not tell.
        """
        return seen if self.run is None else in_run(seen, self.name, self.run)

    def count(self, seen: Seen) -> int:
        """The headline.

        Raises:
            ConventionError: as :meth:`counted`.
        """
        with self._counting():
            return sum(c.amount for c in self.tallies[self.headline](self.sees(seen)))

    def counts(self, seen: Seen) -> dict[str, Any]:
        """All figures, by the tool's own names, the headline first.

        Raises:
            ConventionError: as :meth:`counted`.
        """
        with self._counting():
            seen = self.sees(seen)
            totals = {name: sum(c.amount for c in tally(seen)) for name, tally in self.tallies.items()}
            return {**totals, **self.figures(seen, totals)}

    @contextmanager
    def _counting(self) -> Iterator[None]:
        """What a table does not expect of a model (a tool would fail on it too) is an error of ours that says so."""
        try:
            yield
        except FxcostError:
            raise
        except Exception as error:
            raise ConventionError(
                f"{self.name!r} can't count this model: {type(error).__name__}: {shown(str(error))}"
            ) from error


@dataclass(frozen=True, slots=True)
class CountRule:
    """How one kind of module, function or operator is counted: its family, why in words, and the amount."""

    family: str
    why: str
    amount: Callable[[Any], int]


def rule(family: str, why: str, amount: Callable[[Any], int]) -> CountRule:
    """A row of a convention's table. `amount` gets what was seen: a module call, a function call or an operation."""
    return CountRule(family, why, amount)


def rows(*entries: tuple[Iterable[Any], CountRule]) -> dict[Any, CountRule]:
    """A table in which several keys share a row."""
    return {key: counted for keys, counted in entries for key in keys}


def by_module(table: Mapping[type, CountRule]) -> Tally:
    """Count calls of modules by their exact class; what they call inside is not visited."""

    def tally(seen: Seen) -> Iterator[Counted]:
        for call in seen.module_calls:
            yield from module_amount(table, call)

    return tally


def module_amount(table: Mapping[type, CountRule], call: ModuleSeen, times: int = 1) -> Iterator[Counted]:
    """What a table says of one module call."""
    found = table.get(type(call.module))
    if found is not None:
        yield Counted(times * found.amount(call), found.family, call.name, found.why, call.span)


def by_function(table: Mapping[str, CountRule]) -> Tally:
    """Count calls of torch functions by name, such as "F.relu", "torch.matmul", "Tensor.mul", "operator.add"."""

    def tally(seen: Seen) -> Iterator[Counted]:
        for call in seen.functions:
            yield from function_amount(table, call)

    return tally


def function_amount(table: Mapping[str, CountRule], call: FunctionSeen, times: int = 1) -> Iterator[Counted]:
    """What a table says of one function call."""
    found = table.get(call.name)
    if found is not None:
        yield Counted(times * found.amount(call), found.family, call.module, found.why, call.span)


def by_operator(table: Mapping[Operator | Any, CountRule] | None = None, default: CountRule | None = None) -> Tally:
    """Count ATen operators by `OpOverload` or by packet (`torch.ops.aten.mm`); `default` counts all others."""
    known = table or {}

    def tally(seen: Seen) -> Iterator[Counted]:
        for number, (module, op) in enumerate(seen.operations):
            if number in seen.hidden:
                continue
            operator = op.record.op
            found = known.get(operator) or known.get(getattr(operator, "overloadpacket", None)) or default
            if found is not None:
                yield Counted(found.amount(op), found.family or op.family, module, found.why, (number, number + 1))

    return tally


def ours(unit: str) -> Callable[[OpCost], int] | None:
    """What our own report counts in a unit, per operation; None for units that it has no counterpart of."""
    return {
        "MACs": lambda op: op.cost.macs,
        "FLOPs": lambda op: op.cost.flops,
        "training FLOPs": lambda op: 6 * op.cost.macs,  # of products, whose gradients are two more of each
    }.get(unit)
