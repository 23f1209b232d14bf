"""The numbers of a model as formulas: as sympy expressions, as plain ints at any point, as code.

`polynomials(name)` and `at(…)` are what other rooms build on: no analysis runs, and sympy is not touched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..errors import FormulaError, UnknownNameError
from .code import compiled, source_of
from .domain import Domain
from .ledger import Ledger
from .numbers import Maximum, numbers_of
from .parts import Costs, Numbers, Part, Parts, Step
from .polynomial import Polynomial

if TYPE_CHECKING:
    import sympy


@dataclass(frozen=True, eq=False)
class Expressions(Numbers):
    """What a model costs, as formulas in the dims of `domain`.

    `ledger` has all numbers as polynomials; `parents` maps each module to the one around it, `aliases` further names of
    modules to theirs. Where depth is a dim, modules that are named alike but for their places stand under one name:
    "h.*". `missing` names numbers of a cost that no formula fits.
    """

    domain: Domain
    ledger: Ledger[Polynomial]
    model_type: str
    parents: Mapping[str, str | None]
    aliases: Mapping[str, str]
    missing: tuple[str, ...] = ()

    # Numbers ----------------------------------------------------------------------------------------------------

    @cached_property
    def numbers(self) -> Mapping[str, Maximum]:
        """All numbers by name, each a maximum of polynomials."""
        return {name: found for name, found in numbers_of(self.ledger).items() if name not in self.missing}

    @property
    def names(self) -> tuple[str, ...]:
        """The dims that are open, in order."""
        return tuple(name for name, sizes in self.domain.items() if not sizes.is_fixed)

    def polynomials(self, number: str) -> Maximum:
        """Polynomials of which the largest is the number; a single one for all but peaks.

        Raises:
            UnknownNameError: there is no such number, or it was not asked for (those of training).
        """
        found = self.numbers.get(number)
        if found is None:
            near = get_close_matches(number, self.numbers, n=3, cutoff=0.5)
            hint = f"did you mean {', '.join(map(repr, near))}?" if near else f"there are {', '.join(self.numbers)}"
            if number == "saved_bytes" or "training" in number or "backward" in number:
                hint = "analyse with training=True"
            raise UnknownNameError(f"there is no formula for {number!r}; {hint}")
        return found

    def expression(self, number: str) -> sympy.Expr:
        """Any number as a sympy expression, by its name in `numbers`.

        Raises:
            UnknownNameError: there is no such number.
        """
        return self._expression(number)

    @property
    def params(self) -> sympy.Expr:
        """Elements of the parameters."""
        return self._expression("params")

    @property
    def param_bytes(self) -> sympy.Expr:
        """Bytes of the parameters."""
        return self._expression("param_bytes")

    @property
    def peak_activation_bytes(self) -> sympy.Expr:
        """The most that results of operators hold at one time in the forward pass, in graph order."""
        return self._expression("peak_activation_bytes")

    @property
    def peak_bytes(self) -> sympy.Expr:
        """The same with parameters, buffers and inputs."""
        return self._expression("peak_bytes")

    @property
    def peak_eager_bytes(self) -> sympy.Expr:
        """The peak as eager Python holds memory; where that was seen."""
        return self._expression("peak_eager_bytes")

    @property
    def saved_bytes(self) -> sympy.Expr:
        """What a training step saves for backward; only with `training=True`."""
        return self._expression("saved_bytes")

    @property
    def training(self) -> Step:
        """A training step; only with `training=True`.

        Raises:
            UnknownNameError: the report has no training step.
        """
        self.polynomials("saved_bytes")
        return Step(self.ledger, self.numbers)

    # Parts ------------------------------------------------------------------------------------------------------

    @cached_property
    def parts(self) -> Parts:
        """The numbers by module, operator and family."""
        return Parts(self.ledger, self.model_type, self.parents, self.aliases, self.missing)

    def of(self, module: str) -> Part:
        """The formulas of a module with all that is in it, its parameters included.

        Raises:
            UnknownNameError: there is no such module.
        """
        return self.parts.of(module)

    def by_module(self) -> dict[str, Part]:
        """The formulas of every module, children included; "" is the root."""
        return self.parts.by_module()

    def by_operator(self) -> dict[str, Part]:
        """The formulas of every operator; they add up to the total."""
        return self.parts.by_operator()

    def by_family(self) -> dict[str, Part]:
        """The formulas of every family of operators; they add up to the total."""
        return self.parts.by_family()

    # At a point -------------------------------------------------------------------------------------------------

    def at(self, **sizes: int) -> Costs:
        """What the model costs at a point of the domain, in exact ints: what an analysis would say.

        >>> import fxcost, torch
        >>> report = fxcost.analyze(torch.nn.Linear(3, 4), ("B", 3), dims={"B": fxcost.Dim(1, 64)})
        >>> report.formula.at(B=10).macs
        120

        Raises:
            FormulaError: a dim has no size, one outside of its range, or there is no such dim.
        """
        values = self._point(sizes)
        return Costs(values, dict(zip(self.numbers, self._compiled(*values.values()), strict=True)), self.parts)

    def _point(self, sizes: Mapping[str, int]) -> dict[str, int]:
        """The sizes of all open dims, in order."""
        for name in sizes:
            if name not in self.domain:
                raise FormulaError(f"there is no dim {name!r}; there are {', '.join(self.names)}")
        for name, range_ in self.domain.items():
            if name not in sizes and not range_.is_fixed:
                raise FormulaError(f"no size is given for {name}, which can be {range_}")
            if name in sizes and sizes[name] not in range_:
                told = "".join(f"; {reason}" for reason in range_.reasons())
                raise FormulaError(f"{name}={sizes[name]!r} is outside of {range_}{told}: analyse the model there")
        return {name: int(sizes[name]) for name in self.names}

    @cached_property
    def _compiled(self) -> Callable[..., tuple[int, ...]]:
        return compiled(self.numbers, self.names)

    def lambdify(self, number: str | None = None) -> Callable[..., Any]:
        """A plain Python function of the dims, in their order: one number, or all as a dict.

        It does not look whether a point is in the domain.

        Raises:
            UnknownNameError: there is no such number.
        """
        if number is not None:
            single = compiled({number: self.polynomials(number)}, self.names)
            return lambda *args, **sizes: single(*args, **sizes)[0]
        names, function = tuple(self.numbers), self._compiled
        return lambda *args, **sizes: dict(zip(names, function(*args, **sizes), strict=True))

    def to_python(self, numbers: Sequence[str] = ("macs", "flops", "bytes", "params", "peak_bytes")) -> str:
        """The source of a Python function `costs` of the dims that returns the numbers as a tuple of ints.

        Raises:
            UnknownNameError: there is no such number.
        """
        return source_of({name: self.polynomials(name) for name in numbers}, self.names)

    def to_latex(self, number: str = "macs") -> str:
        """A number in LaTeX.

        Raises:
            UnknownNameError: there is no such number.
        """
        import sympy

        return str(sympy.latex(self._expression(number)))
