"""Which functions of the user's are proven to follow from their arguments, and are replayed."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from models import Lambda
from torch import Tensor, fx, nn

import fxcost
from fxcost.memo.purity import is_pure

COUNTS = {"calls": 0}
SCALE = [2.0]


def mixing(x: Tensor, window: list[int], shift: float = 0.0) -> Tensor:
    n, c = x.shape[0], x.shape[-1]
    window = window.copy()
    window[0] = min(window[0], n)
    rows = [x[i] * math.sqrt(c) for i in range(window[0])]
    if not isinstance(x, Tensor):
        raise ValueError("no tensor")
    return F.pad(torch.stack(rows), (0, 1)) + shifted(x, shift).sum()


def shifted(x: Tensor, by: float) -> Tensor:
    return torch.roll(x, 1) if by else x


def counting(x: Tensor) -> Tensor:
    COUNTS["calls"] += 1
    return x


def scaling(x: Tensor) -> Tensor:
    return x * SCALE[0]


def guessing(x: Tensor) -> Tensor:
    return x * random.random()


def timing(x: Tensor) -> Tensor:
    return x * time.time()


def indirect(x: Tensor) -> Tensor:
    return torch.relu(scaling(x))


def marking(x: Tensor) -> Tensor:
    x.mark = 1  # type: ignore[attr-defined]
    return x


def importing(x: Tensor) -> Tensor:
    from os import environ

    return x * len(environ)


def inner(x: Tensor) -> Tensor:
    return sum([scaling(row) for row in x])  # type: ignore[return-value]


def seeding(x: Tensor) -> Tensor:
    torch.manual_seed(0)
    return x


def remembering(x: Tensor, seen: list[int] = []) -> Tensor:  # noqa: B006
    seen.append(1)
    return x * len(seen)


def enclosed() -> Callable[[Tensor], Tensor]:
    scale = [1.0]
    return lambda x: x * scale[0]


def many(x: Tensor) -> Any:
    yield x


@pytest.mark.parametrize("function", [mixing, shifted])
def test_functions_of_their_arguments(function: Any) -> None:
    """Torch, builtins, and functions made of these."""
    assert is_pure(function)


@pytest.mark.parametrize(
    "function",
    [
        counting,
        scaling,
        guessing,
        timing,
        indirect,
        marking,
        importing,
        inner,
        seeding,
        remembering,
        enclosed(),
        many,
        nn.ReLU(),
        len,
    ],
    ids=lambda f: getattr(f, "__name__", type(f).__name__),
)
def test_everything_else_may_depend_on_anything(function: Any) -> None:
    """Globals, closures, defaults that change, clocks, chance, attributes, imports, random state, generators."""
    assert not is_pure(function)


def alternating(x: Tensor) -> Tensor:
    COUNTS["calls"] += 1
    return x @ x.T @ x if COUNTS["calls"] % 2 else x


def square(x: Tensor) -> Tensor:
    mask = x.new_zeros(8, 8)
    mask[0, 0] = 1
    return x @ x.T @ x @ mask


def chain(function: Callable[[Tensor], Tensor]) -> fx.GraphModule:
    graph = fx.Graph()
    node = graph.placeholder("x")
    for _ in range(3):
        node = graph.call_function(function, (node,))
    graph.output(node)
    return fx.GraphModule(nn.Module(), graph)


def test_only_what_is_proven_is_replayed() -> None:
    """A function that counts its calls runs each time; a pure one gives each time what it gave the first time."""
    COUNTS["calls"] = 0
    report = fxcost.analyze(chain(alternating), (2, 8))
    assert [node.cost.macs for node in report.nodes if node.record.is_call] == [64, 0, 64]
    report = fxcost.analyze(chain(square), (2, 8))
    calls = [node for node in report.nodes if node.record.is_call]
    assert [node.cost.macs for node in calls] == [192, 192, 192]
    assert calls[1].record.operations is calls[2].record.operations
    assert len({node.outputs[0].storage for node in calls}) == 3


def test_a_replayed_function_is_what_runs() -> None:
    """The same model as it runs, call by call, has the same totals."""
    model = Lambda(lambda self, x: square(square(x)))
    given = fxcost.analyze(chain(square), (2, 8))
    assert fxcost.analyze(model, (2, 8), capture="concrete").macs * 3 == given.macs * 2
