"""`from fvcore.nn import FlopCountAnalysis, ActivationCountAnalysis, flop_count_table, parameter_count` (0.1.5)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from typing import Any, TypeVar

import tabulate
from torch import nn

from ..analyze import analyze
from ..conventions.fvcore import CONVOLUTIONS, MATMULS, TRANSPOSED, activation_calls, calls, matmul_without_vectors
from ..conventions.fvcore import with_vectors as _with_vectors
from ..conventions.kinds import CELL_FUNCTIONS
from ..conventions.seen import FunctionSeen, Seen
from ..errors import ConventionError
from ..report import Report
from .common import seen_by
from .statistics import Column, StatsTable, parameter_count

__all__ = ["ActivationCountAnalysis", "FlopCountAnalysis", "flop_count_table", "parameter_count"]

Analysis = TypeVar("Analysis", bound="_Analysis")
_TABLE = _with_vectors(matmul_without_vectors)
_IN_PLACE = {"iadd": "add_", "imul": "mul_", "isub": "sub_", "itruediv": "div_", "truediv": "div"}
_FREE = """
    Int ScalarImplicit __and__ arange bitwise_not cat chunk clamp clamp_ constant_pad_nd contiguous copy_ detach dropout
    empty eq expand flatten floor floor_divide full full_like gather ge gt index index_put_ masked_fill max narrow
    new_empty new_full new_zeros nonzero ones permute relu relu_ remainder reshape roll select size slice split
    split_with_sizes squeeze stack t to transpose type_as unbind unsqueeze unsqueeze_ view zeros zeros_like
    getattr getitem floordiv mod __getitem__ concat concatenate pad _assert
"""
_IGNORED = frozenset(_FREE.split())
"""Operators that the tool ignores as free, and Python calls that leave no operator in a trace."""


def operator_name(call: FunctionSeen) -> str:
    """The name under which the tool lists a call."""
    if call.name in CONVOLUTIONS or call.name in TRANSPOSED:
        return "conv"
    if call.name in MATMULS:
        return "matmul"
    if call.name == "F.interpolate":
        kind = call.arg(3, "mode", "nearest")
        return f"upsample_{kind}" if kind == "trilinear" else f"upsample_{kind}{len(call.x.shape) - 2}d"
    if call.name in CELL_FUNCTIONS:
        return "linear"
    return {"F.grid_sample": "grid_sampler"}.get(call.name, call.name.rpartition(".")[2])


def _traced_name(call: FunctionSeen) -> str:
    """The traced operator of a call that has no handler."""
    name = operator_name(call)
    if name == "conv":
        return "_convolution_mode"
    if call.name.startswith("operator."):
        return _IN_PLACE.get(name, name)
    return f"{name}_" if call.kwargs.get("inplace") is True else name


class _Analysis:
    """Counts by module and operator. The model is analysed when a figure is first asked for."""

    def __init__(self, model: nn.Module, inputs: Any) -> None:
        self._model, self._inputs = model, inputs

    @cached_property
    def report(self) -> Report:
        """Our own report, for everything else."""
        return analyze(self._model, self._inputs if isinstance(self._inputs, tuple) else (self._inputs,))

    def _amounts(self, seen: Seen) -> Iterator[tuple[FunctionSeen, int]]:
        raise NotImplementedError

    @cached_property
    def _counts(self) -> dict[str, Counter[str]]:
        seen = seen_by("fvcore", self.report)
        counts: dict[str, Counter[str]] = {name: Counter() for name in seen.modules}
        for call, amount in self._amounts(seen):
            for name in _around(call.module):
                counts.setdefault(name, Counter())[operator_name(call)] += amount
        return counts

    def total(self, module_name: str = "") -> int:
        """The sum over a module and everything below it."""
        return sum(self.by_operator(module_name).values())

    def by_operator(self, module_name: str = "") -> Counter[str]:
        """Counts by operator: "conv", "linear", "batch_norm" …"""
        return self._counts[self.canonical_module_name(module_name)]

    def by_module(self) -> Counter[str]:
        """Counts by module, children included."""
        return Counter({name: sum(counts.values()) for name, counts in self._counts.items()})

    def by_module_and_operator(self) -> dict[str, Counter[str]]:
        """Counts by module, then by operator."""
        return self._counts

    def canonical_module_name(self, name: str) -> str:
        """The first name of a module that has several.

        Raises:
            KeyError: the model has no such module.
        """
        canonical = self.report.canonical(name)
        if canonical not in self._counts:
            raise KeyError(f"{name} is not a module of the model")
        return canonical

    def unsupported_ops(self, module_name: str = "") -> Counter[str]:
        """How often each traced operator without a handler ran; not those inside attention and recurrent cells."""
        module_name, found = self.canonical_module_name(module_name), Counter[str]()
        for call in seen_by("fvcore", self.report).functions:
            skipped = not call.outputs or call.name == "F.multi_head_attention_forward" or call.name in CELL_FUNCTIONS
            mode = isinstance(call.arg(4, "padding"), str) if call.name in CONVOLUTIONS else False
            if (
                call.live
                and not skipped
                and (mode or not self._has_handler(call))
                and module_name in _around(call.module)
            ):
                name = _traced_name(call)
                if name not in _IGNORED:
                    found[f"aten::{name}"] += 1
        return found

    def _has_handler(self, call: FunctionSeen) -> bool:
        if call.name == "F.interpolate":
            return operator_name(call) in ("upsample_nearest2d", "upsample_bilinear2d")
        return call.name in _TABLE  # what a table holds is the same for all analyses

    def uncalled_modules(self) -> set[str]:
        """Modules in which nothing ran."""
        seen = seen_by("fvcore", self.report)
        called = {name for call in seen.functions for name in _around(call.module)}
        return set(seen.modules) - called

    def set_op_handle(self, *args: Any, **kwargs: Any) -> None:
        """Refused.

        Raises:
            ConventionError: always; handlers work on a trace, which is not made here.
        """
        raise ConventionError("fxcost.compat.fvcore takes no handlers: write a fxcost.Convention with a rule instead")

    def unsupported_ops_warnings(self: Analysis, enabled: bool) -> Analysis:
        """Accepted: nothing is warned of."""
        return self

    def uncalled_modules_warnings(self: Analysis, enabled: bool) -> Analysis:
        """Accepted: nothing is warned of."""
        return self

    def tracer_warnings(self: Analysis, mode: str) -> Analysis:
        """Accepted: nothing is traced."""
        return self

    def ancestor_mode(self: Analysis, mode: str) -> Analysis:
        """ "owner", the default: a call counts for the modules that own its module.

        Raises:
            ConventionError: another mode.
        """
        if mode != "owner":
            raise ConventionError(f"fxcost.compat.fvcore has the ancestor mode 'owner' only, not {mode!r}")
        return self


def _around(module: str) -> list[str]:
    """A module and all that own it, the model first."""
    parts = module.split(".") if module else []
    return [".".join(parts[:depth]) for depth in range(len(parts) + 1)]


class FlopCountAnalysis(_Analysis):
    """Flops (MACs) as fvcore counts them."""

    table = _TABLE

    def _amounts(self, seen: Seen) -> Iterator[tuple[FunctionSeen, int]]:
        return ((call, counted.amount) for call, counted in calls(seen, self.table))


class ActivationCountAnalysis(_Analysis):
    """Elements of the outputs of products and convolutions."""

    def _amounts(self, seen: Seen) -> Iterator[tuple[FunctionSeen, int]]:
        return ((call, counted.amount) for call, counted in activation_calls(seen))


def stats_table(
    model: nn.Module, flops: _Analysis, activations: _Analysis | None, show_param_shapes: bool
) -> StatsTable:
    """The lines of the tools' table."""
    columns = [Column("#flops", flops.by_module(), frozenset(flops.uncalled_modules()))]
    if activations is not None:
        columns.append(Column("#activations", activations.by_module(), frozenset(activations.uncalled_modules())))
    return StatsTable(model, columns, show_param_shapes)


def flop_count_table(
    flops: FlopCountAnalysis,
    max_depth: int = 3,
    activations: ActivationCountAnalysis | None = None,
    show_param_shapes: bool = True,
) -> str:
    """Parameters, flops and activations by module, as a table in Markdown."""
    headers, rows = stats_table(flops._model, flops, activations, show_param_shapes).rows(max_depth)
    kept = tabulate.PRESERVE_WHITESPACE
    tabulate.PRESERVE_WHITESPACE = True
    try:
        return tabulate.tabulate(rows, headers=headers, tablefmt="pipe")
    finally:
        tabulate.PRESERVE_WHITESPACE = kept
