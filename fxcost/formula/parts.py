"""The formulas of parts: modules, operators, families, the passes of a training step; and all numbers at one point."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from typing import TYPE_CHECKING

from ..errors import UnknownNameError
from ..records.cost import Cost
from .ledger import COST_NUMBERS, Key, Ledger
from .numbers import STEP, Maximum, grouped_by, parameters_of, work_of
from .polynomial import Polynomial, whole
from .uneven import pattern

if TYPE_CHECKING:
    import sympy


class Numbers:
    """Numbers by name, as sympy expressions."""

    def polynomials(self, number: str) -> Maximum:
        """Polynomials of which the largest is the number; a single one for all but peaks.

        Raises:
            UnknownNameError: there is no such number.
        """
        raise NotImplementedError

    def _expression(self, number: str) -> sympy.Expr:
        from .as_sympy import expression

        return expression(self.polynomials(number))

    @property
    def macs(self) -> sympy.Expr:
        """Multiply-accumulates."""
        return self._expression("macs")

    @property
    def flops(self) -> sympy.Expr:
        """Floating-point operations: 2 × MACs + all others."""
        return self._expression("flops")

    @property
    def transcendentals(self) -> sympy.Expr:
        """Exponentials, logarithms, roots and their like, which are among the FLOPs."""
        return self._expression("transcendentals")

    @property
    def bytes_read(self) -> sympy.Expr:
        """Bytes that operators read."""
        return self._expression("bytes_read")

    @property
    def bytes_written(self) -> sympy.Expr:
        """Bytes that operators write."""
        return self._expression("bytes_written")

    @property
    def bytes(self) -> sympy.Expr:
        """Bytes read and written together."""
        return self._expression("bytes")

    @property
    def activations(self) -> sympy.Expr:
        """Elements of the tensors that operators produce, views excluded."""
        return self._expression("activations")


@dataclass(frozen=True, eq=False)
class Part(Numbers):
    """The formulas of a part: a module, an operator, a family, a pass of a training step. `name` says which."""

    name: str
    numbers: Mapping[str, Polynomial]

    def polynomials(self, number: str) -> Maximum:
        """The polynomial of a number, alone in a tuple.

        Raises:
            UnknownNameError: there is no such number.
        """
        if number not in self.numbers:
            raise UnknownNameError(f"there is no number {number!r} here; choose from {', '.join(self.numbers)}")
        return (self.numbers[number],)

    @property
    def params(self) -> sympy.Expr:
        """Elements of the parameters; those of a module include its children's."""
        return self._expression("params")

    def __str__(self) -> str:
        return "\n".join(f"{name} = {self._expression(name)}" for name in self.numbers if self.numbers[name].terms)


@dataclass(frozen=True, eq=False)
class Parts:
    """The numbers of a ledger by module, operator and family.

    `parents` maps each module to the one around it, `aliases` further names of modules to theirs. `missing` are numbers
    that have no formula.
    """

    ledger: Ledger[Polynomial]
    model_type: str
    parents: Mapping[str, str | None]
    aliases: Mapping[str, str]
    missing: tuple[str, ...] = ()

    def of(self, module: str) -> Part:
        """The formulas of a module with all that is in it, its parameters included.

        Raises:
            UnknownNameError: there is no such module.
        """
        name = self.aliases.get(module, module)
        if name not in self._inside:
            name = pattern(name) if pattern(name) in self._inside else name
        if name not in self._inside:
            near = get_close_matches(module, self._inside, n=3, cutoff=0.5)
            hint = f"did you mean {', '.join(map(repr, near))}?" if near else "by_module() lists them"
            raise UnknownNameError(f"{self.model_type} has no module named {module!r}; {hint}")
        if name not in self._known:
            entries = self._inside[name]
            self._known[name] = self._part(name, {**work_of(entries), **parameters_of(entries)})
        return self._known[name]

    def by_module(self) -> dict[str, Part]:
        """The formulas of every module, children included; "" is the root."""
        return {name: self.of(name) for name in self._inside}

    def by_operator(self) -> dict[str, Part]:
        """The formulas of every operator."""
        return {n: self._part(n, p) for n, p in grouped_by(self.ledger, lambda key: (key.operator,)).items()}

    def by_family(self) -> dict[str, Part]:
        """The formulas of every family of operators."""
        return {n: self._part(n, p) for n, p in grouped_by(self.ledger, lambda key: (key.family,)).items()}

    def _part(self, name: str, numbers: Mapping[str, Polynomial]) -> Part:
        return Part(name, {number: p for number, p in numbers.items() if number not in self.missing})

    @cached_property
    def _known(self) -> dict[str, Part]:
        """Parts that were asked for."""
        return {}

    @cached_property
    def _inside(self) -> dict[str, list[tuple[Key, Polynomial]]]:
        """Entries of the ledger by each module that they are in."""
        inside: dict[str, list[tuple[Key, Polynomial]]] = {name: [] for name in self.parents}
        for key, polynomial in self.ledger.entries.items():
            if key.kind in ("forward", "parameter"):
                for name in self._around(key.module):
                    inside.setdefault(name, []).append((key, polynomial))
        return inside

    def _around(self, module: str) -> Iterator[str]:
        """A module and those around it, the root last."""
        name: str | None = module
        while name is not None:
            yield name
            name = self.parents[name] if name in self.parents else name.rpartition(".")[0] if name else None


@dataclass(frozen=True, eq=False)
class Step:
    """The formulas of a training step. `numbers` has those of the whole model by name."""

    ledger: Ledger[Polynomial]
    numbers: Mapping[str, Maximum]

    def _part(self, name: str, parts: Sequence[str]) -> Part:
        return Part(name, work_of(self.ledger.entries.items(), tuple(f"step.{part}" for part in parts)))

    def _expression(self, number: str) -> sympy.Expr:
        from .as_sympy import expression

        return expression(self.numbers[number])

    @property
    def forward(self) -> Part:
        """The forward pass, as it runs in training."""
        return self._part("forward", ("forward",))

    @property
    def backward(self) -> Part:
        """The backward pass, without what it recomputes."""
        return self._part("backward", ("backward",))

    @property
    def recomputed(self) -> Part:
        """What activation checkpointing runs a second time."""
        return self._part("recomputed", ("recomputed",))

    @property
    def total(self) -> Part:
        """The whole step."""
        return self._part("total", STEP)

    @property
    def saved_bytes(self) -> sympy.Expr:
        """Saved for backward, parameters, buffers and inputs excluded."""
        return self._expression("saved_bytes")

    @property
    def gradient_bytes(self) -> sympy.Expr:
        """Gradients that remain."""
        return self._expression("gradient_bytes")

    @property
    def optimizer_bytes(self) -> sympy.Expr:
        """The optimizer's state."""
        return self._expression("optimizer_bytes")

    @property
    def peak_bytes(self) -> sympy.Expr:
        """Everything together at the worst moment of the step."""
        return self._expression("training_peak_bytes")


class Costs:
    """The numbers at one point, as exact ints: `costs.macs`, `costs["macs"]`, and those of modules by `of`."""

    __slots__ = ("_parts", "numbers", "point")

    def __init__(self, point: Mapping[str, int], numbers: Mapping[str, int], parts: Parts) -> None:
        self.point, self.numbers, self._parts = point, numbers, parts

    def __getattr__(self, name: str) -> int:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self.numbers[name]
        except KeyError:
            raise AttributeError(f"there is no number {name!r}; there are {', '.join(self.numbers)}") from None

    def __getitem__(self, name: str) -> int:
        return self.numbers[name]

    def __dir__(self) -> list[str]:
        return [*self.numbers, "cost", "of", "by_module", "by_operator", "by_family", "numbers", "point"]

    @property
    def cost(self) -> Cost:
        """The forward pass."""
        return Cost(**{name: self.numbers.get(name, 0) for name in COST_NUMBERS})

    def of(self, module: str) -> Cost:
        """What a module costs, with all that is in it.

        Raises:
            UnknownNameError: there is no such module.
        """
        return self._cost(self._parts.of(module))

    def by_module(self) -> dict[str, Cost]:
        """Cost by module, children included; "" is the root."""
        return {name: self._cost(part) for name, part in self._parts.by_module().items()}

    def by_operator(self) -> dict[str, Cost]:
        """Cost by operator."""
        return {name: self._cost(part) for name, part in self._parts.by_operator().items()}

    def by_family(self) -> dict[str, Cost]:
        """Cost by family of operators."""
        return {name: self._cost(part) for name, part in self._parts.by_family().items()}

    def _cost(self, part: Part) -> Cost:
        return Cost(**{name: whole(part.numbers[name](self.point)) for name in COST_NUMBERS if name in part.numbers})

    def __repr__(self) -> str:
        at = ", ".join(f"{name}={size}" for name, size in self.point.items())
        return f"<Costs at {at}: {self.numbers['macs']:,} MACs>"
