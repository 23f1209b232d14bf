"""Autocast that a user asks for: CUDA's cast lists without CUDA."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch import nn

import fxcost


class Net(nn.Module):
    """A convolution with a bias, a norm, a product, a softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.LayerNorm(8)
        self.fc = nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> Any:
        x = self.conv(x).flatten(2).mT
        return self.fc(self.norm(x)).softmax(-1)


def dtypes(report: fxcost.Report, operator: str) -> list[tuple[str, str]]:
    """The dtypes that runs of an operator read first and return."""
    runs = (op.record for node in report.nodes for op in node.operations if f".{operator}." in f".{op.record.op}.")
    return [(run.inputs[0].dtype_name, run.out.dtype_name) for run in runs]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_operators_run_in_the_dtypes_of_cudas_lists(dtype: str) -> None:
    """https://docs.pytorch.org/docs/stable/amp.html: products in the lower precision, norms and softmax in float32."""
    report = fxcost.analyze(Net(), (2, 3, 4, 4), autocast=dtype)
    assert dtypes(report, "convolution") == [(dtype, dtype)]
    assert dtypes(report, "native_layer_norm") == [("float32", "float32")]
    assert dtypes(report, "addmm") == [(dtype, dtype)]
    assert dtypes(report, "_softmax")[0][1] == "float32"
    assert report.recording.capture == "symbolic"
    assert f"autocast casts to {dtype} as on CUDA" in report.assumptions


def test_it_runs_what_pytorch_runs_on_a_device_that_has_autocast() -> None:
    """The products, and the dtypes they run in, are those of a real run in a CPU region, whose list has them too."""
    found = fxcost.analyze(Net(), (2, 3, 4, 4), autocast="bfloat16")
    seen: Counter[tuple[str, str]] = Counter()

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            if str(func) in ("aten.convolution.default", "aten.addmm.default"):
                seen[str(func), str(out.dtype)] += 1
            return out

    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16), Watch():  # type: ignore[no-untyped-call]
        Net()(torch.zeros(2, 3, 4, 4))
    ours = Counter(
        (str(op.record.op), f"torch.{op.record.out.dtype_name}")
        for node in found.nodes
        for op in node.operations
        if str(op.record.op) in ("aten.convolution.default", "aten.addmm.default")
    )
    assert (
        ours == seen == {("aten.convolution.default", "torch.bfloat16"): 1, ("aten.addmm.default", "torch.bfloat16"): 1}
    )


def test_weights_are_cast_once_for_a_run() -> None:
    """A weight that is used twice is cast once, in the run of the code as in that of the graph."""

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4, bias=False)

        def forward(self, x: torch.Tensor) -> Any:
            return self.fc(self.fc(x))

    for capture in ("concrete", "symbolic"):
        report = fxcost.analyze(Twice(), (2, 4), autocast="float16", capture=capture)
        assert dtypes(report, "_to_copy") == [("float32", "float16")] * 2  # the input and the weight


def test_a_part_may_switch_it_off_and_ask_for_it() -> None:
    """The model sees the region: `is_autocast_enabled`, and `enabled=False` inside."""

    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> Any:
            x = self.a(x)
            if torch.is_autocast_enabled(x.device.type):
                with torch.autocast(x.device.type, enabled=False):
                    return self.b(x.float())
            return x

    report = fxcost.analyze(Own(), (2, 4), autocast="float16")
    assert dtypes(report, "addmm") == [("float16", "float16"), ("float32", "float32")]


def test_a_training_step_keeps_float32_weights_and_gradients() -> None:
    """What is saved for backward are the copies in the lower precision; gradients come back in float32."""
    plain = fxcost.analyze(Net(), (2, 3, 4, 4), training=True).training
    half = fxcost.analyze(Net(), (2, 3, 4, 4), training=True, autocast="float16").training
    assert plain is not None
    assert half is not None
    assert half.gradient_bytes == plain.gradient_bytes
    assert half.cost.forward.macs == plain.cost.forward.macs
    assert half.cost.backward.macs == plain.cost.backward.macs


def test_the_process_is_left_as_it_was() -> None:
    """Also when the model fails."""
    before = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda"), torch.is_autocast_cache_enabled()

    def fails(x: torch.Tensor) -> Any:
        raise ValueError("no")

    with pytest.raises(fxcost.errors.ModelRunError):
        fxcost.analyze(fails, (2, 4), autocast="bfloat16")
    assert before == (
        torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda"), torch.is_autocast_cache_enabled()
    )  # fmt: skip
    assert dtypes(fxcost.analyze(nn.Linear(4, 4), (2, 4)), "addmm") == [("float32", "float32")]


def test_other_dtypes_are_refused() -> None:
    """Autocast has two."""
    with pytest.raises(fxcost.errors.InputError, match="float16 or bfloat16"):
        fxcost.analyze(nn.Linear(4, 4), (2, 4), autocast="float32")
