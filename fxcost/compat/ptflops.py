"""`from ptflops import get_model_complexity_info` (0.7.5), backends `pytorch` and `aten`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TextIO

from torch import nn

from ..analyze import analyze
from .common import evaluating, refuse

Figure = str | int | None


def get_model_complexity_info(
    model: nn.Module,
    input_res: tuple[int, ...],
    print_per_layer_stat: bool = True,
    as_strings: bool = True,
    input_constructor: Callable[[tuple[int, ...]], Any] | None = None,
    ost: TextIO = sys.stdout,
    verbose: bool = False,
    ignore_modules: Sequence[Any] = (),
    custom_modules_hooks: Mapping[Any, Any] | None = None,
    backend: Any = "pytorch",
    flops_units: str | None = None,
    param_units: str | None = None,
    output_precision: int = 2,
    backend_specific_config: Mapping[str, Any] | None = None,
) -> tuple[Figure, Figure]:
    """MACs and parameters as ptflops counts them, as strings such as "4.13 GMac", "25.56 M", or as integers.

    `input_res` is one sample without the batch; `input_constructor` gives a tensor or keyword inputs instead. With
    `print_per_layer_stat` our own table of modules goes to `ost`.

    Raises:
        ConventionError: modules to ignore, hooks or a configuration are given, or the tool itself gives up.
    """
    del verbose
    refuse("ptflops", ignore_modules=ignore_modules, custom_modules_hooks=custom_modules_hooks)
    refuse("ptflops", backend_specific_config=backend_specific_config)
    given = input_constructor(input_res) if input_constructor is not None else (1, *input_res)
    with evaluating(model):
        report = analyze(model, given)
    figures = report.counts("ptflops" if str(getattr(backend, "value", backend)) == "pytorch" else "ptflops-aten")
    if print_per_layer_stat:
        ost.write(report.table(summary=False) + "\n")
    macs, params = figures["macs"], figures["params"]
    if not as_strings:
        return macs, params
    return flops_to_string(macs, flops_units, output_precision), params_to_string(params, param_units, output_precision)


_MACS = {"GMac": 10**9, "MMac": 10**6, "KMac": 10**3}
_PARAMS = {"M": 10**6, "K": 10**3, "B": 10**9}


def flops_to_string(flops: int, units: str | None = None, precision: int = 2) -> str:
    """MACs with their unit.

    >>> flops_to_string(4132436968), flops_to_string(999), flops_to_string(5000, "MMac")
    ('4.13 GMac', '999 Mac', '0.01 MMac')
    """
    if units is None:
        units = next((unit for unit, step in _MACS.items() if flops // step > 0), "Mac")
    return f"{round(flops / _MACS[units], precision)} {units}" if units in _MACS else f"{flops} Mac"


def params_to_string(params_num: int, units: str | None = None, precision: int = 2) -> str:
    """Parameters with their unit.

    >>> params_to_string(25557032), params_to_string(4096), params_to_string(12)
    ('25.56 M', '4.1 k', '12')
    """
    if units in _PARAMS:
        return f"{round(params_num / _PARAMS[units], precision)} {units}"
    if units is None and params_num >= 10**3:
        step, unit = (10**6, "M") if params_num >= 10**6 else (10**3, "k")
        return f"{round(params_num / step, precision)} {unit}"
    return str(params_num)
