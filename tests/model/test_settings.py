"""PyTorch's settings are after an analysis what they were before, whatever a model's code sets and wherever it ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

import fxcost


class Mode(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


CHANGES: dict[str, Callable[[], Any]] = {
    "dtype": lambda: torch.set_default_dtype(torch.float64),
    "device": lambda: torch.set_default_device("cpu"),
    "threads": lambda: torch.set_num_threads(torch.get_num_threads() + 1),
    "deterministic": lambda: torch.use_deterministic_algorithms(True, warn_only=True),
    "precision": lambda: torch.set_float32_matmul_precision("high"),
    "gradients": lambda: torch.set_grad_enabled(False),
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16).__enter__(),
    "benchmark": lambda: torch._C._set_cudnn_benchmark(True),
    "mode": lambda: Mode().__enter__(),
}


def seen() -> tuple[Any, ...]:
    return (
        torch.get_default_dtype(),
        torch._GLOBAL_DEVICE_CONTEXT.__dict__.get("device_context"),
        torch.get_num_threads(),
        torch.get_deterministic_debug_mode(),
        torch.get_float32_matmul_precision(),
        torch.is_grad_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch._C._get_cudnn_benchmark(),
        torch._C._len_torch_function_stack(),
    )


class Changing(nn.Module):
    def __init__(self, change: Callable[[], Any], fails: bool = False) -> None:
        super().__init__()
        self.change, self.fails, self.layer = change, fails, nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        self.change()
        if self.fails:
            raise ValueError("no")
        return self.layer(x)


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("training", [False, True])
def test_settings_are_put_back(name: str, training: bool) -> None:
    before = seen()
    model = Changing(CHANGES[name])
    if training and name == "gradients":
        with pytest.raises(fxcost.TrainingError):
            fxcost.analyze(model, (2, 4), training=True)
    else:
        assert fxcost.analyze(model, (2, 4), training=training).macs == 32
    assert seen() == before


@pytest.mark.parametrize("name", CHANGES)
def test_settings_are_put_back_where_the_model_raises(name: str) -> None:
    before = seen()
    with pytest.raises(fxcost.ModelRunError, match="ValueError: no"):
        fxcost.analyze(Changing(CHANGES[name], fails=True), (2, 4))
    assert seen() == before


def test_code_that_symbolic_tracing_stops_midway_leaves_no_setting_behind() -> None:
    class Sets(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            before = torch.get_default_dtype()
            torch.set_default_dtype(torch.float64)
            made = torch.eye(4)
            torch.set_default_dtype(before)
            return self.layer(x) @ made.float() if made.dtype == torch.float64 else x

    for _ in range(2):
        assert fxcost.analyze(Sets(), (2, 4)).macs == 64
        assert torch.get_default_dtype() == torch.float32
