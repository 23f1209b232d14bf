"""What a training step costs, in arithmetic and in memory, from the record of one (step.py).

Costs are those of the rules, applied to the operators of both passes; memory follows from when each storage was made
and let go. Everything that repeats the forward pass for activation checkpointing stands apart.

Not here: the arithmetic of the optimizer, communication between devices, kernels' workspaces.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from os import PathLike

from ..communication.communication import Communication
from ..communication.reading import of_step
from ..errors.arguments import checked
from ..records.communication import Collective
from ..records.cost import Cost, OpCost
from ..records.ranges import Count, Position
from ..records.recording import NO_DATA, ModuleRecord, OpRecord, TrainingRecord
from ..rules.pricing import cost_operation
from ..rules.registered import formula_assumptions
from ..rules.registry import Registry
from ..text import units
from .at_peak import named, owners_of, parts_at_peak
from .lifetimes import Births, LiveTensor, Residents, alive, live_bytes
from .optimizer_step import StepStorages
from .optimizers import Optimizer, optimizer_name, state_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCost:
    """What a training step costs somewhere: a node, a module, or all. `saved_bytes` are kept for backward there."""

    forward: Cost = field(default_factory=Cost)
    backward: Cost = field(default_factory=Cost)
    recomputed: Cost = field(default_factory=Cost)
    saved_bytes: Count = 0

    @property
    def total(self) -> Cost:
        """Forward, backward and what is recomputed for it."""
        return self.forward + self.backward + self.recomputed

    def __add__(self, other: StepCost) -> StepCost:
        return StepCost(
            forward=self.forward + other.forward,
            backward=self.backward + other.backward,
            recomputed=self.recomputed + other.recomputed,
            saved_bytes=self.saved_bytes + other.saved_bytes,
        )


@dataclass(frozen=True, slots=True)
class NodeStep:
    """A node of the forward pass with what it costs in both directions."""

    name: str
    module: str
    cost: StepCost


@checked
@dataclass(frozen=True, kw_only=True)
class Training:
    """One training step: costs (exact integers) and memory (units: bytes), each storage counted once.

    `nodes` are those of the forward pass; a user's loss is the last of them, named "loss". Gradients that add up at
    a parameter belong to no node; they stand in `modules` at the root.
    `live` are bytes of activations and gradients alive at each operator, in the order in which they ran; before the
    first of the backward pass there are `forward_operators`. `at_peak` lists what is
    alive at the worst moment, `peak_parts` sums it up by kind, parameters and optimizer state included.
    """

    cost: StepCost
    nodes: tuple[NodeStep, ...]
    modules: Mapping[str, StepCost]
    uncosted: Mapping[str, Count]
    parameter_bytes: Count
    buffer_bytes: Count
    input_bytes: Count
    gradient_bytes: Count
    optimizer: str
    optimizer_bytes: Count
    peak_parts: Mapping[str, Count]
    at_peak: tuple[LiveTensor, ...]
    live: tuple[Count, ...]
    forward_operators: Position
    assumptions: tuple[str, ...]
    by_turns: bool = False
    """True if passes take turns, as those of microbatches do in a pipeline; else the backward pass runs last."""
    collectives: tuple[Collective, ...] = ()
    """What a rank of a sharded model communicates in the step."""
    storages: StepStorages | None = field(default=None, compare=False, repr=False, metadata=NO_DATA)
    """When each storage was made and let go; None for a step that was read from a file."""

    @cached_property
    def communication(self) -> Communication:
        """What this rank sends and receives in the step; nothing, if the model is not sharded."""
        return Communication(collectives=self.collectives)

    @property
    def forward(self) -> Cost:
        """The forward pass."""
        return self.cost.forward

    @property
    def backward(self) -> Cost:
        """The backward pass, without what it recomputes."""
        return self.cost.backward

    @property
    def recomputed(self) -> Cost:
        """What activation checkpointing runs a second time."""
        return self.cost.recomputed

    @property
    def total(self) -> Cost:
        """Both passes, and what is recomputed."""
        return self.cost.total

    @property
    def saved_bytes(self) -> int:
        """Saved for backward; parameters, buffers and inputs, which are there anyway, excluded."""
        return self.cost.saved_bytes

    @property
    def peak_bytes(self) -> int:
        """Everything together at the worst moment of the step."""
        return sum(self.peak_parts.values())

    @cached_property
    def largest_saved(self) -> tuple[NodeStep, ...]:
        """Nodes by how much they save for backward, largest first."""
        return tuple(sorted((n for n in self.nodes if n.cost.saved_bytes), key=lambda n: -n.cost.saved_bytes))

    def by_module(self) -> dict[str, StepCost]:
        """Cost by module FQN, children included; "" is the root."""
        return dict(self.modules)

    @property
    def passes(self) -> dict[str, Cost]:
        """The cost of each pass by name, and the total; recomputation only where there is some."""
        again = {"recomputed": self.recomputed} if self.recomputed != Cost() else {}
        return {"forward": self.forward, "backward": self.backward, **again, "total": self.total}

    @property
    def totals(self) -> dict[str, int | None]:
        """Bytes by what they are for, then those of the peak by kind, by their names in views."""
        return {
            "Parameters": self.parameter_bytes,
            "Gradients": self.gradient_bytes,
            f"Optimizer state ({self.optimizer})": self.optimizer_bytes,
            "Saved for backward": self.saved_bytes,
            "Peak": self.peak_bytes,
            **{f"  of it {kind}": nbytes for kind, nbytes in self.peak_parts.items() if nbytes},
        }

    def table(self, top: int = 10, format: str = "rounded_outline") -> str:  # noqa: A002  tabulate's name for it
        """The totals, what is alive at the peak, and the nodes that save most, as text in any format of tabulate.

        Raises:
            UnknownNameError: the format is not known.
        """
        from .as_training import training_table

        saved = [(node.name, node.module, node.cost.saved_bytes) for node in self.largest_saved]
        notes = [f"Not costed: {operator}, {units.plural(n, 'run')}" for operator, n in self.uncosted.items()]
        notes += [f"Assumed: {sentence}" for sentence in self.assumptions]
        return training_table(self.passes, self.totals, self.at_peak, saved, notes, top, format)

    def chart(self, width: int = 80, height: int = 10) -> str:
        """Live bytes over the step, drawn with block characters for a terminal."""
        from .as_memory import chart

        backward = len(self.live) - 1 - self.forward_operators
        rest = "of both passes by turns" if self.by_turns else "backward"
        caption = f"{units.plural(self.forward_operators, 'operator')} forward, then {backward:,} {rest}"
        return chart(self.live, width, height, caption)

    def plot(self, path: str | PathLike[str], *, title: str = "") -> None:
        """Draw live bytes over the step with matplotlib (the extra `fxcost[plot]`) into a file, under a title.

        Raises:
            MissingLibraryError: matplotlib is not installed.
            UnknownNameError: the ending of the path is no format of a picture.
        """
        from .as_plot import plot_training

        plot_training(self.live, self.forward_operators, self.peak_bytes - max(self.live), path, title)

    def __str__(self) -> str:
        return f"{self.table()}\n{self.chart()}"

    def __repr__(self) -> str:
        macs, peak = units.count(self.total.macs), units.byte_size(self.peak_bytes)
        return f"<Training: {macs} MACs, peak {peak}, optimizer {self.optimizer}>"

    def _repr_html_(self) -> str:
        from ..text.notebook import preformatted

        return preformatted(str(self))


def training_of(
    record: TrainingRecord, modules: Iterable[ModuleRecord], registry: Registry, optimizer: Optimizer
) -> Training:
    """Price a training step.

    Raises:
        RuleError: a rule failed on a record.
        TrainingError: there is no such optimizer.
    """
    ledger = _Ledger(record, modules)
    ledger.price(registry)
    residents = Residents(record.parameters, record.inputs, (), record.storage_bytes)
    ledger.save(residents.kinds)
    births = Births(record.ran, record.storage_bytes, residents.kinds)
    tensors = births.lifetimes(dict(record.deaths))
    if record.rank is not None:  # what no operator made was there before: the buckets of DDP
        tensors = tuple([t if t.operator else replace(t, born=0) for t in tensors])
    live = live_bytes(tensors, births.ticks)
    peak = live.index(max(live))
    owners = owners_of(record)
    at_peak = tuple(named(t, record, owners) for t in alive(tensors, peak))
    state = state_bytes(optimizer, record.trained)
    resident = {kind: residents.bytes_of(kind) for kind in ("parameter", "buffer", "input")}
    modules_costs = ledger.modules()
    return Training(
        cost=modules_costs[""],
        nodes=ledger.nodes(),
        modules=modules_costs,
        uncosted=dict(ledger.uncosted),
        parameter_bytes=resident["parameter"],
        buffer_bytes=resident["buffer"],
        input_bytes=resident["input"],
        gradient_bytes=sum(record.storage_bytes[number] for number in record.gradients),
        optimizer=optimizer_name(optimizer),
        optimizer_bytes=state,
        peak_parts=parts_at_peak(record, resident, state, at_peak),
        at_peak=at_peak,
        live=tuple(live),
        forward_operators=next((i for i, owner in enumerate(owners) if owner is not None), len(owners)),
        by_turns=bool(record.order),
        assumptions=(*record.assumptions, *ledger.assumptions()),
        collectives=tuple(of_step(record, record.rank)) if record.rank is not None else (),
        storages=_storages(record, residents, tensors, births.ticks, optimizer),
    )


def _storages(
    record: TrainingRecord, residents: Residents, made: Iterable[LiveTensor], ticks: int, optimizer: Optimizer
) -> StepStorages:
    """Sizes of what was there, lives of what was `made`; gradients that are kept live to the optimizer's step."""
    kept = set(record.gradients)
    lives = tuple([(t.born, t.died if t.storage not in kept else ticks + 1, t.nbytes) for t in made])
    there = tuple(record.storage_bytes[number] for number in residents.kinds)
    return StepStorages(there, lives, ticks, optimizer, record.trained)


class _Account:
    """Costs of one node or module while they are collected."""

    __slots__ = ("backward", "forward", "recomputed", "saved_bytes")

    def __init__(self) -> None:
        self.forward: list[Cost] = []
        self.backward: list[Cost] = []
        self.recomputed: list[Cost] = []
        self.saved_bytes = 0

    def sum(self) -> StepCost:
        """Everything in it added up."""
        return StepCost(
            forward=Cost.total(self.forward),
            backward=Cost.total(self.backward),
            recomputed=Cost.total(self.recomputed),
            saved_bytes=self.saved_bytes,
        )


class _Ledger:
    """Books costs by node and by module while operators are priced."""

    def __init__(self, record: TrainingRecord, modules: Iterable[ModuleRecord]) -> None:
        self.record = record
        self.uncosted: Counter[str] = Counter()
        self.counted = record.counted
        self._priced: dict[tuple[int, int], OpCost] = {}
        self._nodes = [_Account() for _ in self.counted]
        self._modules = {"": _Account()}
        self._found: dict[tuple[str, str], _Account] = {}
        self._canonical = {alias: module.name for module in modules for alias in module.aliases}

    def price(self, registry: Registry) -> None:
        """Book every operator of both passes."""
        record = self.record
        for i, node in enumerate(self.counted):
            for op in node.operations:
                self._book(i, self._price(op, registry), "forward", op.scope)
        ran = (op for node in record.backward for op in node.operations)
        for op, owner, again in zip(ran, record.owners, record.recomputed, strict=True):
            if owner < len(self.counted):
                self._book(owner, self._price(op, registry), "recomputed" if again else "backward", op.scope)

    def assumptions(self) -> Iterator[str]:
        """What the prices rest on."""
        return formula_assumptions(self._priced.values())

    def _price(self, op: OpRecord, registry: Registry) -> OpCost:
        """The cost of a run. Repeated layers share arguments and results, which the record keeps alive."""
        key = id(op.args), id(op.outputs)
        priced = self._priced.get(key)
        if priced is None or priced.record.op is not op.op:
            priced = self._priced[key] = cost_operation(op, registry)
        return priced

    def _book(self, i: int, priced: OpCost, where: str, scope: str) -> None:
        if not priced.is_costed:
            self.uncosted[str(priced.record.op)] += 1
        if i >= 0:
            getattr(self._nodes[i], where).append(priced.cost)
        module = self._module(self.record.nodes[i].module if i >= 0 else "", scope)
        getattr(module, where).append(priced.cost)

    def _module(self, module: str, scope: str = "") -> _Account:
        found = self._found.get((module, scope))
        if found is None:
            name = f"{module}.{scope}".strip(".") if scope else module
            found = self._modules.setdefault(self._canonical.get(name, name), _Account())
            self._found[module, scope] = found
        return found

    def save(self, resident: Mapping[int, str]) -> None:
        """Book what is saved for backward."""
        for number, i in self.record.saved:
            if number not in resident and i < len(self.counted):
                nbytes = self.record.storage_bytes[number]
                self._nodes[i].saved_bytes += nbytes
                self._module(self.counted[i].module).saved_bytes += nbytes

    def nodes(self) -> tuple[NodeStep, ...]:
        """Every node with its sums."""
        return tuple(NodeStep(n.name, n.module, a.sum()) for n, a in zip(self.counted, self._nodes, strict=True))

    def modules(self) -> dict[str, StepCost]:
        """Every module's own cost and that of all below it, parents first; the root has everything."""
        parts: dict[str, list[StepCost]] = {}
        for name, account in self._modules.items():
            own = account.sum()
            while True:
                parts.setdefault(name, []).append(own)
                if not name:
                    break
                name = name.rpartition(".")[0]
        sums = {name: _summed(costs) for name, costs in parts.items()}
        return dict(sorted(sums.items(), key=lambda item: item[0].split(".") if item[0] else []))


def _summed(costs: list[StepCost]) -> StepCost:
    return StepCost(
        forward=Cost.total([c.forward for c in costs]),
        backward=Cost.total([c.backward for c in costs]),
        recomputed=Cost.total([c.recomputed for c in costs]),
        saved_bytes=sum(c.saved_bytes for c in costs),
    )
