"""What work costs: plain numbers that add up, and operators and nodes with their prices."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cached_property
from operator import attrgetter

from .ranges import Count
from .recording import NodeRecord, Operator, OpRecord, TensorSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What work costs. All counts are exact integers; costs add up with `+`.

    - `macs`: multiply-accumulates of contractions.
    - `other_flops`: floating-point operations beside them (one each for + − × ÷, comparison, max, exp …).
    - `transcendentals`: how many of `other_flops` are exp, log, sin, sqrt, erf, pow and their like.
    - `zero_accumulators`: dot products that start from zero instead of a bias, each of which saves one addition
      when additions are counted exactly (2n−1 instead of 2n).
    - `bytes_read`, `bytes_written`: memory traffic, each operator reading what it touches once.
    - `activations`: elements of the tensors that operators produced, views excluded.
    - `skipped_macs`, `skipped_flops`: those of `macs` and of `other_flops` that belong to scores which a mask throws
      away (causal, a window); a kernel that knows the mask need not do them.
    """

    macs: Count = 0
    other_flops: Count = 0
    transcendentals: Count = 0
    zero_accumulators: Count = 0
    bytes_read: Count = 0
    bytes_written: Count = 0
    activations: Count = 0
    skipped_macs: Count = 0
    skipped_flops: Count = 0

    @property
    def masked_macs(self) -> int:
        """MACs of those pairs of a query and a key that attention's masks leave; of all else, all MACs."""
        return self.macs - self.skipped_macs

    @property
    def masked_flops(self) -> int:
        """FLOPs that no kernel can do without: :attr:`flops`, less what masks throw away."""
        return 2 * self.masked_macs + self.other_flops - self.skipped_flops

    @property
    def flops(self) -> int:
        """Floating-point operations: 2 × MACs + the others."""
        return 2 * self.macs + self.other_flops

    @property
    def bytes_moved(self) -> int:
        """Bytes read and written together."""
        return self.bytes_read + self.bytes_written

    @property
    def arithmetic_intensity(self) -> float:
        """FLOPs per byte moved; 0.0 where nothing is moved."""
        return self.flops / self.bytes_moved if self.bytes_moved else 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost.total((self, other))

    def __mul__(self, times: int) -> Cost:
        return Cost(**{f.name: getattr(self, f.name) * times for f in fields(self)})

    @staticmethod
    def total(costs: Iterable[Cost]) -> Cost:
        """The sum of many costs."""
        costs = tuple(costs)
        if len(costs) == 1:
            return costs[0]
        return Cost(**{name: sum(map(count, costs)) for name, count in _COUNTS})


_COUNTS = tuple((f.name, attrgetter(f.name)) for f in fields(Cost))


@dataclass(frozen=True, slots=True)
class OpCost:
    """An operation with its price. `family` is "" and `cost` only traffic where no rule was found.

    `reason` says why a known operator costs no arithmetic; it is None for costed and uncosted ones.
    """

    record: OpRecord
    cost: Cost
    family: str
    reason: str | None = None

    @property
    def is_costed(self) -> bool:
        """False for an operator that ran without a rule."""
        return self.family != ""


@dataclass(frozen=True, eq=False)
class NodeCost:
    """A node of the graph with its price: the element type of `Report.nodes`."""

    record: NodeRecord
    operations: tuple[OpCost, ...]
    cost: Cost

    def __repr__(self) -> str:
        outputs = ", ".join(map(str, self.outputs))
        return f"<NodeCost {self.name} → {outputs or 'nothing'}: {self.cost.macs:,} MACs, {self.cost.flops:,} FLOPs>"

    @property
    def name(self) -> str:
        """Name of the fx node."""
        return self.record.name

    @property
    def kind(self) -> str:
        """fx opcode: placeholder, get_attr, call_module, call_function, call_method or output."""
        return self.record.kind

    @property
    def target(self) -> str:
        """What is called, as text: a module FQN, a function's qualified name, a method's name."""
        return self.record.target

    @property
    def module(self) -> str:
        """FQN of the innermost module around the node (for call_module, the module called)."""
        return self.record.module

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Specs of all tensors that the node is given."""
        return self.record.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """Specs of all tensors that the node returns."""
        return self.record.outputs

    @cached_property
    def uncosted(self) -> tuple[Operator, ...]:
        """Operators of this node that ran without a rule."""
        return tuple(op.record.op for op in self.operations if not op.is_costed)
