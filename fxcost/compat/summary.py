"""`fxcost.summary`: the table that torchinfo's users know, with fxcost's numbers."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import nn

from ..conventions.torchinfo_rows import Row, below, rows_of
from ..errors import InputError
from ..errors.arguments import checked
from ..report import Report
from ..text import units
from .common import seen_by
from .torchinfo import ModelStatistics, Sums, analysed, inputs_of, statistics
from .torchinfo_layout import layout


class Summary(ModelStatistics):
    """The table with fxcost's numbers; `report` has all others. Prints as the table, also in a notebook.

    `total_params`, `trainable_params` and `total_mult_adds` are named as in torchinfo.
    """

    __slots__ = ()

    @property
    def total_flops(self) -> int:
        """2 per MAC, and 1 for every other floating-point operation."""
        return self._report.flops

    @property
    def _report(self) -> Report:
        assert self.report is not None
        return self.report

    def __repr__(self) -> str:
        report = self._report
        parameters = [
            f"Total params: {units.exact(self.total_params)}",
            f"Trainable params: {units.exact(self.trainable_params)}",
            f"Non-trainable params: {units.exact(self.total_params - self.trainable_params)}",
            f"Total mult-adds (MACs): {units.exact(report.macs)} ({units.count(report.macs)})",
            f"Total FLOPs: {units.exact(report.flops)} ({units.count(report.flops)})",
        ]
        memory = report.memory
        peak = memory.peak_eager_bytes if memory.peak_eager_bytes is not None else memory.peak_bytes
        sizes = [
            f"Input size (MB): {memory.input_bytes / 1e6:0.2f}",
            f"Params size (MB): {report.param_bytes / 1e6:0.2f}",
            f"Peak of a forward pass (MB): {peak / 1e6:0.2f}",
        ]
        missing = [f"Not counted: {op}, {units.plural(n, 'run')}" for op, n in report.uncosted.items()]
        return self.formatting.table(self.lines, [parameters, [*sizes, *missing]])

    def __str__(self) -> str:
        return repr(self)

    def _repr_html_(self) -> str:
        from ..text.notebook import preformatted

        return preformatted(str(self))


class _Ours(Sums):
    """What every row costs: with all below it at the deepest level that is shown, else what it does itself."""

    def _macs(self, i: int, deepest: bool) -> str:
        whole = self.macs[i]
        own = whole if deepest else whole - sum(self.macs[j] for j in self._children(i))
        return f"{own:,}" if own > 0 else "--"

    def _children(self, i: int) -> list[int]:
        """The nearest rows below a row that are calls, within its own call."""
        span = self.rows[i].call.span if self.rows[i].call is not None else None  # type: ignore[union-attr]
        found: list[int] = []
        end = -1
        for j in below(self.rows, i):
            call = self.rows[j].call
            inside = call is not None and (span is None or (span[0] <= call.span[0] and call.span[1] <= span[1]))
            if call is not None and inside and call.span[0] >= end:
                found.append(j)
                end = call.span[1]
        return found


@checked
def summary(
    model: nn.Module,
    input_size: Any = None,
    input_data: Any = None,
    batch_dim: int | None = None,
    cache_forward_pass: bool | None = None,
    col_names: Sequence[str] | None = None,
    col_width: int = 25,
    depth: int = 3,
    device: Any = None,
    dtypes: Sequence[torch.dtype] | None = None,
    mode: str | None = None,
    row_settings: Sequence[str] | None = None,
    verbose: int | None = None,
    **kwargs: Any,
) -> Summary:
    """torchinfo's `summary` with fxcost's numbers: prints the table unless `verbose` is 0, and returns its totals.

    >>> import fxcost, torch
    >>> found = fxcost.summary(torch.nn.Linear(8, 4), input_size=(2, 8), verbose=0)
    >>> found.total_params, found.total_mult_adds, found.total_flops
    (36, 64, 128)

    Args:
        model: as :func:`fxcost.analyze`; it is neither run on data nor moved.
        input_size: a shape, the batch size included, or a list of shapes.
        input_data: tensors in place of sizes: one, a sequence, or a dict of keyword inputs.
        batch_dim: put a batch of 1 at this dimension of `input_size`.
        cache_forward_pass: accepted: nothing is kept.
        col_names: of "input_size", "output_size", "num_params", "params_percent", "kernel_size", "mult_adds" (MACs) and
            "trainable".
        col_width: characters of each column.
        depth: levels of modules to show.
        device: accepted: nothing runs on it.
        dtypes: dtypes of `input_size`.
        mode: "eval" (the default) or "train".
        row_settings: of "depth", "var_names", "ascii_only" and "hide_recursive_layers".
        verbose: 0 prints nothing, 2 a line for each parameter too.
        kwargs: further arguments of the model's forward.

    Raises:
        InputError: no inputs are given, or both kinds, or they can't be read; further as :func:`fxcost.analyze`.
        UnknownNameError: there is no such column or row setting.
    """
    del cache_forward_pass, device
    if input_size is None and input_data is None:
        raise InputError("give input_size=(1, 3, 224, 224) or input_data=: what a model costs hangs on its inputs")
    level = (0 if hasattr(sys, "ps1") and sys.ps1 else 1) if verbose is None else verbose
    names = ("input_size", "output_size", "num_params", "mult_adds") if col_names is None else col_names
    formatting = layout(depth, names, col_width, row_settings, level, has_input=True)
    inputs, shapes, nbytes = inputs_of(input_size, input_data, batch_dim, dtypes)
    report = analysed(model, inputs, kwargs, mode)
    seen = seen_by("macs", report)
    done = [0, *accumulate(op.cost.macs for _, op in seen.operations)]

    def macs(row: Row) -> int:
        return done[row.call.span[1]] - done[row.call.span[0]] if row.call is not None else 0

    found = statistics(rows_of(seen), formatting, shapes, nbytes, batch_dim, macs, report, _Ours)
    made = Summary(
        total_params=report.params,
        trainable_params=report.trainable_params,
        total_mult_adds=report.macs,
        total_input=nbytes,
        total_output_bytes=found.total_output_bytes,
        total_param_bytes=report.param_bytes,
        input_size=shapes,
        lines=found.lines,
        formatting=formatting,
        report=report,
    )
    if level:
        sys.stdout.write(f"{made}\n")
    return made
