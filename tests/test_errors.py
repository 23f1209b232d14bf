"""Bad input gives an FxcostError child that says what was seen, where, and what to do; nothing else happens."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from models import Lambda
from torch import Tensor, nn

import fxcost
from fxcost.errors import (
    CaptureError,
    InputError,
    MissingMetaKernelError,
    ModelCopyError,
    ModelRunError,
    RuleError,
    UncostedOperatorError,
    UnknownValueError,
)

X = (2, 8)
_library = torch.library.Library("fxcost_test_errors", "DEF")
_library.define("nowhere(Tensor x) -> Tensor")
_library.impl("nowhere", lambda x: x.clone() * 2, "CPU")
_library.define("unpriced(Tensor x) -> Tensor")
_library.impl("unpriced", lambda x: x.clone() * 2, "CPU")
_library.impl("unpriced", lambda x: torch.empty_like(x), "Meta")
nowhere, unpriced = torch.ops.fxcost_test_errors.nowhere, torch.ops.fxcost_test_errors.unpriced


def nested() -> nn.Module:
    """Its second layer expects nine features."""
    return nn.Sequential(nn.Linear(8, 8), nn.Sequential(nn.ReLU(), nn.Linear(9, 8)))


def locked() -> nn.Module:
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU())
    model[1].lock = threading.Lock()
    return model


def breaks(_: Any, x: Tensor) -> Tensor:
    raise ValueError("the sky fell")


CASES: dict[str, tuple[Callable[[], Any], Any, dict[str, Any], type[Exception], list[str]]] = {
    "wrong shape": (nested, X, {}, ModelRunError, ["1.1", "2, 8", "9, 8"]),
    "wrong shape, traced": (
        nested,
        X,
        {"capture": "symbolic"},
        ModelRunError,
        ["module '1.1'", "(2, 8)"],
    ),
    "wrong shape, concrete": (nested, X, {"capture": "concrete"}, ModelRunError, ["1.1", "(2, 8)"]),
    "wrong rank": (lambda: nn.Conv2d(3, 4, 3), (3, 8), {}, ModelRunError, ["(3, 8)", "conv2d", "3D"]),
    "wrong dtype": (lambda: nn.Embedding(10, 3), X, {}, ModelRunError, ["float32", "fxcost.spec", "dtype='int64'"]),
    "too many inputs": (lambda: nn.Linear(8, 8), [X, X], {}, InputError, ["too many", "Tensor(2, 8), Tensor(2, 8)"]),
    "too few inputs": (lambda: nn.Linear(8, 8), [], {}, InputError, ["'input'", "no inputs"]),
    "a wrong name": (lambda: nn.Linear(8, 8), {"inptu": X}, {}, InputError, ["inptu", "input"]),
    "a list for a shape": (lambda: nn.Linear(8, 8), [2, 8], {}, InputError, ["int, int", "tuple of ints"]),
    "a negative size": (lambda: nn.Linear(8, 8), (2, -8), {}, InputError, ["-8", "(2, -8)"]),
    "given twice": (lambda: nn.Linear(8, 8), {"input": X}, {"kwargs": {"input": X}}, InputError, ["input", "both"]),
    "a string for a model": (lambda: "resnet50", X, {}, InputError, ["str", "nn.Module"]),
    "an unknown capture": (lambda: nn.Linear(8, 8), X, {"capture": "magic"}, InputError, ["magic", "symbolic"]),
    "an unknown dtype": (lambda: nn.Linear(8, 8), X, {"dtype": "float99"}, InputError, ["float99", "bfloat16"]),
    "no dtype at all": (lambda: nn.Linear(8, 8), X, {"dtype": 16}, InputError, ["16", "bfloat16"]),
    "the model raises": (
        lambda: Lambda(lambda self, x: self.inner(x), inner=Lambda(breaks)),
        X,
        {},
        ModelRunError,
        [
            "module 'inner'",
            f"{Path(__file__).name}:{inspect.getsourcelines(breaks)[1] + 1}",
            "ValueError: the sky fell",
        ],
    ),
    "no meta kernel": (
        lambda: Lambda(lambda self, x: nowhere(x)),
        X,
        {},
        MissingMetaKernelError,
        ["fxcost_test_errors::nowhere", "register_fake", Path(__file__).name],
    ),
    "a lock in a module": (locked, X, {}, ModelCopyError, ["1.lock", "_thread.lock", "__deepcopy__"]),
    "control flow, traced": (
        lambda: Lambda(lambda self, x: x if x.sum() > 0 else -x),
        X,
        {"capture": "symbolic"},
        CaptureError,
        ["control flow"],
    ),
    "an unknown value": (
        lambda: Lambda(lambda self, x: x[: int(x.sum().item())]),
        X,
        {},
        UnknownValueError,
        [Path(__file__).name, "float32", "real"],
    ),
    "no rule, strict": (
        lambda: Lambda(lambda self, x: unpriced(unpriced(x))),
        X,
        {"strict": True},
        UncostedOperatorError,
        ["fxcost_test_errors.unpriced.default", "2", "fxcost.rule"],
    ),
    "a rule that fails": (
        lambda: nn.Sequential(nn.ReLU()),
        X,
        {"rules": {torch.ops.aten.relu: lambda op: 1 // 0}},
        RuleError,
        ["aten.relu.default", "float32[2,8]", "node '_0'", "module '0'"],
    ),
    "a rule for no operator": (
        lambda: nn.ReLU(),
        X,
        {"rules": {"relu": lambda op: fxcost.Cost()}},
        RuleError,
        ["'relu'", "torch.ops.aten"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_error_says_what_where_and_what_to_do(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Its class is the one for this; its message has names and shapes; nothing is printed."""
    make, inputs, options, expected, words = CASES[name]
    with pytest.raises(fxcost.FxcostError) as caught:
        fxcost.analyze(make(), inputs, **options)
    assert type(caught.value) is expected or (expected is CaptureError and isinstance(caught.value, CaptureError))
    message = str(caught.value)
    assert [word for word in words if word not in message] == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("wrong shape", RuntimeError),
        ("wrong shape, traced", RuntimeError),
        ("the model raises", ValueError),
        ("no meta kernel", NotImplementedError),
        ("a lock in a module", TypeError),
        ("too many inputs", TypeError),
        ("a rule that fails", ZeroDivisionError),
    ],
)
def test_the_cause_is_chained(name: str, cause: type[Exception]) -> None:
    """The original exception, with its own traceback, is the cause."""
    make, inputs, options, _, _ = CASES[name]
    with pytest.raises(fxcost.FxcostError) as caught:
        fxcost.analyze(make(), inputs, **options)
    assert isinstance(caught.value.__cause__, cause)
    assert caught.value.__cause__.__traceback__ is not None


def test_an_operator_without_a_meta_kernel_runs_on_data() -> None:
    """Where model and inputs hold data, a real run is recorded; the operator is listed as uncosted."""
    report = fxcost.analyze(lambda x: nowhere(x) @ torch.ones(8, 3), torch.ones(2, 8))
    assert (report.capture, report.macs) == ("real", 48)
    assert report.uncosted == {"fxcost_test_errors.nowhere.default": 1}


def test_keyboard_interrupt_is_nobodys_error() -> None:
    """What is no Exception passes through as it is."""

    def stop(_: Any, x: Tensor) -> Tensor:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fxcost.analyze(Lambda(stop), X)


def test_a_tensor_of_another_device_is_no_obstacle() -> None:
    """Weights on meta, inputs on the CPU, constants in between: everything runs on meta."""
    with torch.device("meta"):
        model = nn.Linear(8, 8)
    assert fxcost.analyze(lambda x: model(x) + torch.ones(8), torch.ones(2, 8)).macs == 2 * 64
