"""What a model runs in threads of its own can't be followed: it is refused, or said, and never left out in silence."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import fxcost


class Branches(nn.Module):
    """Three layers, run by `how`."""

    def __init__(self, how: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.how, self.branches = how, nn.ModuleList(nn.Linear(4, 4) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        return self.how(self, x)


def pool(model: Any, x: Tensor) -> Tensor:
    with ThreadPoolExecutor(2) as executor:
        return sum(executor.map(lambda branch: branch(x), model.branches))  # type: ignore[return-value]


def threads(model: Any, x: Tensor) -> Tensor:
    found: dict[int, Tensor] = {}
    every = [threading.Thread(target=lambda i=i: found.update({i: model.branches[i](x)})) for i in range(3)]
    for thread in every:
        thread.start()
    for thread in every:
        thread.join()
    return sum(found.values())  # type: ignore[return-value]


def to_thread(model: Any, x: Tensor) -> Tensor:
    async def together() -> list[Tensor]:
        return await asyncio.gather(*(asyncio.to_thread(branch, x) for branch in model.branches))

    return sum(asyncio.run(together()))  # type: ignore[return-value]


def function_alone(model: Any, x: Tensor) -> Tensor:
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(torch.mm, x, model.branches[0].weight).result() + x


def at_the_end(model: Any, x: Tensor) -> Tensor:
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(torch.mm, x, model.branches[0].weight).result()


def fork(model: Any, x: Tensor) -> Tensor:
    return sum(torch.jit.wait(job) for job in [torch.jit.fork(b, x) for b in model.branches])  # type: ignore[return-value]


def tasks(model: Any, x: Tensor) -> Tensor:
    async def run(branch: nn.Module) -> Tensor:
        await asyncio.sleep(0)
        return branch(x)  # type: ignore[no-any-return]

    async def together() -> list[Tensor]:
        return await asyncio.gather(*map(run, model.branches))

    return sum(asyncio.run(together()))  # type: ignore[return-value]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("capture", ["auto", "concrete", "symbolic"])
@pytest.mark.parametrize("how", [pool, threads, to_thread])
def test_modules_in_threads_are_refused(how: Any, capture: str, training: bool) -> None:
    """The error names one of them, and what to do; afterwards the model runs."""
    model = Branches(how)
    with pytest.raises(fxcost.CaptureError, match=r"module 'branches\.\d' runs in a thread of its own"):
        fxcost.analyze(model, (2, 4), training=training, capture=capture)
    assert model(torch.ones(2, 4)).shape == (2, 4)


@pytest.mark.parametrize("how", [function_alone, at_the_end])
def test_functions_in_threads_are_said(how: Any) -> None:
    """A result turns up that nothing made."""
    report = fxcost.analyze(Branches(how), (2, 4))
    assert any("in a thread of its own" in text for text in report.assumptions)


@pytest.mark.parametrize("how", [fork, tasks])
def test_what_only_looks_like_threads_is_counted(how: Any) -> None:
    report = fxcost.analyze(Branches(how), (2, 4), training=True)
    assert (report.macs, report.assumptions) == (96, ())
