"""`from deepspeed.profiling.flops_profiler import get_model_profile` (0.19.8).

Nothing is timed, so latencies are not printed; the totals are.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from .common import refuse
from .profiles import number_to_string, params_to_string, profiled


def get_model_profile(
    model: nn.Module,
    input_shape: tuple[int, ...] | None = None,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    print_profile: bool = True,
    detailed: bool = True,
    module_depth: int = -1,
    top_modules: int = 1,
    warm_up: int = 1,
    as_string: bool = True,
    output_file: str | None = None,
    ignore_modules: Any = None,
    mode: str = "forward",
) -> tuple[Any, Any, Any]:
    """FLOPs, MACs and parameters as DeepSpeed's profiler counts them, as texts or numbers.

    `detailed`, `module_depth`, `top_modules` and `warm_up` are accepted: nothing runs, and only totals are printed.

    Raises:
        ConventionError: `ignore_modules` or another mode is given.
        InputError: inputs are given twice, or not at all.
    """
    del detailed, module_depth, top_modules, warm_up
    refuse("deepspeed", ignore_modules=ignore_modules, **{f"mode={mode!r}": mode != "forward"})
    figures = profiled(model, input_shape, args, kwargs or {}).counts("deepspeed")
    flops, macs, params = figures["flops"], figures["macs"], figures["params"]
    texts = number_to_string(flops), f"{number_to_string(macs)}MACs", params_to_string(params)
    if print_profile:
        text = f"params: {texts[2]}\nfwd MACs: {texts[1]}\nfwd flops: {texts[0]}\n"
        if output_file is None:
            sys.stdout.write(text)
        else:
            Path(output_file).write_text(text, encoding="utf-8")
    return texts if as_string else (flops, macs, params)
