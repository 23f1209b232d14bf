"""`from calflops import calculate_flops` (0.3.2).

What is printed are the totals; the tree of modules with shares is `report.table()`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from .common import refuse
from .profiles import number_to_string, params_to_string, profiled


def calculate_flops(
    model: nn.Module,
    input_shape: tuple[int, ...] | None = None,
    transformer_tokenizer: Any = None,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    forward_mode: str = "forward",
    include_backPropagation: bool = False,  # noqa: N803  the tool's own name
    compute_bp_factor: float = 2.0,
    print_results: bool = True,
    print_detailed: bool = True,
    output_as_string: bool = True,
    output_precision: int = 2,
    output_unit: str | None = None,
    ignore_modules: Any = None,
) -> tuple[Any, Any, Any]:
    """FLOPs, MACs and parameters as calflops counts them, as texts or numbers; printed with `print_results`.

    `print_detailed` is accepted: only the totals are printed.

    Raises:
        ConventionError: a tokenizer, `ignore_modules` or another `forward_mode` is given.
        InputError: inputs are given twice, or not at all.
    """
    del print_detailed
    refuse("calflops", transformer_tokenizer=transformer_tokenizer, ignore_modules=ignore_modules)
    refuse("calflops", **{f"forward_mode={forward_mode!r}": forward_mode != "forward"})
    figures = profiled(model, input_shape, args, kwargs or {}).counts("calflops")
    flops, macs, params = figures["flops"], figures["macs"], figures["params"]
    unit, digits = output_unit, output_precision
    texts = (
        f"{number_to_string(flops, unit, digits)}FLOPS",
        f"{number_to_string(macs, unit, digits)}MACs",
        params_to_string(params, unit, digits),
    )
    if print_results:
        lines = (f"fwd MACs: {texts[1]}", f"fwd FLOPs: {texts[0]}", f"Total Training Params: {texts[2]}")
        sys.stdout.write("\n".join(lines) + "\n")
    if include_backPropagation:
        factor = 1 + compute_bp_factor
        flops, macs = flops * factor, macs * factor
        texts = (
            f"{number_to_string(flops, unit, digits)}FLOPS",
            f"{number_to_string(macs, unit, digits)}MACs",
            texts[2],
        )
    return texts if output_as_string else (flops, macs, params)
