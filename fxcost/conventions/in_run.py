"""What a tool sees when it runs the model in its own way: in its mode, with the operators that PyTorch fuses there."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any

from torch import nn

from ..meta import units
from ..records.cost import OpCost
from .asking import uses_name
from .running import FastPaths, Fused, Run, check_mode, differentiable
from .seen import PROJECTIONS, FunctionSeen, ModuleSeen, Seen

_DROPOUT = 4
"""Where attention's arguments have the probability of dropout."""
_FUSED = 8
"""Where attention's arguments say whether it runs as one kernel on a CPU."""
_BATCH_STATISTICS = 5
"""Where batch norm's arguments say whether the batch's own statistics are used."""


def in_run(seen: Seen, tool: str, run: Run) -> Seen:
    """What a tool sees, made once for each tool; `seen` itself where its run is the one that was analysed.

    Raises:
        ConventionError: the analysed run does not tell.
    """
    if isinstance(seen, SeenInRun):
        return seen
    if (tool, run) not in seen.by_run:
        changes = run.evaluates and any(getattr(m, "training", False) for m in seen.modules.values())
        if changes:
            check_mode(tool, seen.modules)
        fast = FastPaths(tool, run, seen.root, lambda: differentiable(seen.report.nodes, seen.recording.parameters))
        fused = tuple(fast.of(seen.module_calls, lambda call: _projections(seen, call)))
        seen.by_run[tool, run] = SeenInRun(seen, fused, changes) if fused or changes else seen
    return seen.by_run[tool, run]


def _projections(seen: Seen, call: ModuleSeen) -> int:
    """How many linear layers a call of attention ran."""
    inner = (f for f in seen.functions if PROJECTIONS in f.kwargs and f.module == call.name)
    return next((f.kwargs[PROJECTIONS] for f in inner if call.span[0] <= f.span[0] < call.span[1]), 0)


class SeenInRun(Seen):
    """What a tool sees of a run in eval mode (`evaluated`: the analysed one was not), with operators fused."""

    def __init__(self, seen: Seen, fused: tuple[Fused, ...], evaluated: bool) -> None:
        super().__init__(seen.report)
        self._seen, self._fused, self._evaluated = seen, fused, evaluated
        self.hidden = frozenset(number for f in fused for number in range(*f.span))
        own = {(f.module, f.span) for f in fused}
        self.fused_calls = tuple([call for call in self.module_calls if (call.name, call.span) in own])

    @cached_property
    def modules(self) -> dict[str, nn.Module]:
        """As it was analysed."""
        return self._seen.modules

    @cached_property
    def live(self) -> frozenset[str]:
        """As it was analysed."""
        return self._seen.live

    @cached_property
    def operations(self) -> tuple[tuple[str, OpCost], ...]:
        """Those of the run, in eval mode without dropout."""
        if not self._evaluated:
            return self._seen.operations
        return tuple([(name, self._without_dropout(name, op)) for name, op in self._seen.operations])

    def _without_dropout(self, name: str, op: OpCost) -> OpCost:
        if op.record.op is not units.attention or not op.record.args[_DROPOUT]:
            return op
        module = self.modules[name]
        if not (isinstance(module, nn.MultiheadAttention) or uses_name(type(module), "training")):
            return op
        *given, mask = op.record.args[:_DROPOUT]
        shapes = [(spec.shape, spec.stride) for spec in given]
        fused = units.one_kernel_fits(shapes, None if mask is None else mask.shape)
        args = (*given, mask, 0.0, *op.record.args[_DROPOUT + 1 : _FUSED], fused)
        return replace(op, record=replace(op.record, args=args))

    @cached_property
    def module_calls(self) -> tuple[ModuleSeen, ...]:
        """Those that are not inside an operator."""

        def shown(call: ModuleSeen) -> bool:
            return not any(f.module != call.name and f.hides(call.name, call.span) for f in self._fused)

        return tuple(filter(shown, self._seen.module_calls))

    @cached_property
    def functions(self) -> tuple[FunctionSeen, ...]:
        """Those that are not inside an operator."""
        shown = [c for c in self._seen.functions if not any(f.hides(c.module, c.span) for f in self._fused)]
        return tuple(map(self._in_eval, shown) if self._evaluated else shown)

    def _in_eval(self, call: FunctionSeen) -> FunctionSeen:
        """Batch norm takes its running statistics, where it keeps any."""
        module: Any = self.modules.get(call.module)
        if call.name != "F.batch_norm" or not isinstance(module, nn.modules.batchnorm._BatchNorm):
            return call
        batch_statistics = module.running_mean is None and module.running_var is None
        return replace(call, args=call.args[:_BATCH_STATISTICS], kwargs={**call.kwargs, "training": batch_statistics})
