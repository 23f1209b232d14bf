"""Runs the tools themselves, where they are installed (extra `peers`), as their documentation says, on CPU."""

from __future__ import annotations

import copy
import inspect
import io
import re
from collections.abc import Callable
from contextlib import redirect_stdout
from importlib import metadata
from typing import Any

import pytest
import torch
from torch import nn

Figures = dict[str, Any]
Inputs = tuple[torch.Tensor, ...]


def thop(model: nn.Module, inputs: Inputs) -> Figures:
    """thop.profile: of thop, or of ultralytics-thop, which installs under the same name."""
    from thop import profile

    ops, params = profile(model, inputs=inputs, verbose=False)
    return {"total_ops": int(ops), "total_params": int(params)}


def _ptflops(backend: str) -> Callable[[nn.Module, Inputs], Figures]:
    def run(model: nn.Module, inputs: Inputs) -> Figures:
        from ptflops import get_model_complexity_info

        names = list(inspect.signature(model.forward).parameters)
        if len(inputs) == 1:
            make: Any = lambda _size: inputs[0]  # noqa: E731
        else:
            make = lambda _size: dict(zip(names, inputs, strict=False))  # noqa: E731
        macs, params = get_model_complexity_info(
            model,
            (1,),
            input_constructor=make,
            as_strings=False,
            print_per_layer_stat=False,
            verbose=False,
            backend=backend,
        )
        return {"macs": macs, "params": params}

    return run


def fvcore(model: nn.Module, inputs: Inputs) -> Figures:
    """FlopCountAnalysis and ActivationCountAnalysis."""
    from fvcore.nn import ActivationCountAnalysis, FlopCountAnalysis, parameter_count

    flops, activations = FlopCountAnalysis(model, inputs), ActivationCountAnalysis(model, inputs)
    for analysis in (flops, activations):
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    params = parameter_count(model)[""]
    return {"flops": int(flops.total()), "activations": int(activations.total()), "params": params}


def mmengine(model: nn.Module, inputs: Inputs) -> Figures:
    """get_model_complexity_info."""
    from mmengine.analysis import get_model_complexity_info

    found = get_model_complexity_info(model, inputs=inputs, show_table=False, show_arch=False)
    return {name: int(found[name]) for name in ("flops", "activations", "params")}


def torchinfo(model: nn.Module, inputs: Inputs) -> Figures:
    """summary."""
    from torchinfo import summary

    found = summary(model, input_data=list(inputs), verbose=0, device="cpu")
    names = ("total_mult_adds", "total_params", "trainable_params", "total_output_bytes", "total_param_bytes")
    return {name: getattr(found, name) for name in names}


def calflops(model: nn.Module, inputs: Inputs) -> Figures:
    """calculate_flops."""
    from calflops import calculate_flops

    with redirect_stdout(io.StringIO()):
        flops, macs, params = calculate_flops(
            model, args=list(inputs), print_results=False, print_detailed=False, output_as_string=False
        )
    return {"macs": int(macs), "flops": int(flops), "params": int(params)}


def deepspeed(model: nn.Module, inputs: Inputs) -> Figures:
    """get_model_profile."""
    from deepspeed.profiling.flops_profiler import get_model_profile

    with redirect_stdout(io.StringIO()):
        flops, macs, params = get_model_profile(
            model, args=list(inputs), print_profile=False, detailed=False, as_string=False
        )
    return {"macs": int(macs), "flops": int(flops), "params": int(params)}


def torchprofile(model: nn.Module, inputs: Inputs) -> Figures:
    """profile_macs."""
    from torchprofile import profile_macs

    return {"macs": int(profile_macs(model, inputs))}


def _totals(text: str) -> Figures:
    """The lines `name: value` under a table, integers as such."""
    pairs = re.findall(r"^([A-Z][A-Za-z/+() -]+): *([\d.,]+\S*)$", text, re.MULTILINE)
    return {name: int(v.replace(",", "")) if v.replace(",", "").isdigit() else v for name, v in pairs}


def torchsummary(model: nn.Module, inputs: Inputs) -> Figures:
    """The lines under the table of summary, which takes the size of one sample."""
    from torchsummary import summary

    with redirect_stdout(io.StringIO()) as printed:
        summary(model, tuple(inputs[0].shape[1:]), device="cpu")
    return _totals(printed.getvalue())


def torchstat(model: nn.Module, inputs: Inputs) -> Figures:
    """The lines under the table of stat, which takes the size of one image."""
    import pandas as pd
    from torchstat import stat

    if not hasattr(pd.DataFrame, "append"):  # taken out of pandas in 2.0; torchstat was not changed since

        def append(frame: pd.DataFrame, row: pd.Series) -> pd.DataFrame:
            return pd.concat([frame, row.to_frame().T])

        pd.DataFrame.append = append
    try:
        with redirect_stdout(io.StringIO()) as printed:
            stat(model, tuple(inputs[0].shape[1:]))
    finally:
        for kind in {type(module) for module in model.modules()}:  # it leaves its wrapper on every class that it met
            if "__call__" in vars(kind):
                del kind.__call__
    return _totals(printed.getvalue())


def flop_counter(model: nn.Module, inputs: Inputs) -> Figures:
    """FlopCounterMode, on meta."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        copy.deepcopy(model).to("meta")(*(x.to("meta") for x in inputs))
    return {"flops": counter.get_total_flops()}


def profiler(model: nn.Module, inputs: Inputs) -> Figures:
    """torch.profiler, whose events each say their FLOPs."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], with_flops=True) as profiled:
        model(*inputs)
    return {"flops": sum(event.flops for event in profiled.key_averages())}


TOOLS: dict[str, tuple[str, Callable[[nn.Module, Inputs], Figures]]] = {
    "thop": ("thop", thop),
    "ultralytics-thop": ("ultralytics-thop", thop),
    "ptflops": ("ptflops", _ptflops("pytorch")),
    "ptflops-aten": ("ptflops", _ptflops("aten")),
    "fvcore": ("fvcore", fvcore),
    "mmengine": ("mmengine", mmengine),
    "torchinfo": ("torchinfo", torchinfo),
    "calflops": ("calflops", calflops),
    "deepspeed": ("deepspeed", deepspeed),
    "torchprofile": ("torchprofile", torchprofile),
    "torch": ("torch", flop_counter),
    "torch-profiler": ("torch", profiler),
    "torchstat": ("torchstat", torchstat),
    "torchsummary": ("torchsummary", torchsummary),
}
"""Convention → (distribution, how to run it)."""


def installed(tool: str) -> bool:
    """True if the tool is here. thop and ultralytics-thop are one package to Python, so not both are."""
    try:
        metadata.version(TOOLS[tool][0])
    except metadata.PackageNotFoundError:
        return False
    return True


def runner(tool: str) -> Callable[[nn.Module, Inputs], Figures]:
    """How to run a tool; skips the test where it isn't installed."""
    if not installed(tool):
        pytest.skip(f"{TOOLS[tool][0]} is not installed")
    return TOOLS[tool][1]
