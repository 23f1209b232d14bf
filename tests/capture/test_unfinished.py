"""Models that return what has not run yet: it is run, and the report says so."""

import asyncio
from collections.abc import Iterator

import pytest
import torch
from torch import nn

import fxcost
from fxcost.capture.unfinished import MOST
from tests.models import Lambda

MACS = 4
"""Of one call of the layer."""


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)


class Yields(Layer):
    def forward(self, x):
        for _ in range(3):
            x = self.layer(x)
            yield x


class Awaited(Layer):
    async def forward(self, x):
        return self.layer(await self.first(x))

    async def first(self, x):
        return self.layer(x)


class YieldsLater(Layer):
    async def forward(self, x):
        yield self.layer(x)
        yield self.layer(x)


class Waits(Layer):
    async def forward(self, x):
        x = self.layer(x)
        await asyncio.sleep(0.001)
        return self.layer(x)


def lazily(function):
    return Lambda(function, layer=nn.Linear(2, 2))


RUN_TO_THE_END = {
    "a generator": (Yields, 3),
    "a coroutine": (Awaited, 2),
    "a coroutine that waits": (Waits, 2),
    "an asynchronous generator": (YieldsLater, 2),
    "a generator expression": (lambda: lazily(lambda self, x: (self.layer(x) for _ in range(3))), 3),
    "map": (lambda: lazily(lambda self, x: map(self.layer, [x, x])), 2),
    "in a dict": (lambda: lazily(lambda self, x: {"out": [(self.layer(x) for _ in range(2))]}), 2),
    "generators of generators": (lambda: lazily(lambda self, x: ((self.layer(x) for _ in range(2)) for _ in "ab")), 4),
}


@pytest.mark.parametrize("capture", ["auto", "concrete"])
@pytest.mark.parametrize("name", RUN_TO_THE_END)
def test_it_is_run_to_its_end(name, capture):
    """As a caller runs it, of whom the report can't know whether he does."""
    make, calls = RUN_TO_THE_END[name]
    report = fxcost.analyze(make(), (1, 2), capture=capture)
    assert report.macs == MACS * calls
    assert any("run to its end" in assumption for assumption in report.assumptions)


def test_a_training_step_runs_it_too():
    """The loss is made of all that comes out: gradients of weight and of the input of the two later calls."""
    training = fxcost.analyze(Yields(), (1, 2), training=True).training
    assert (training.forward.macs, training.backward.macs) == (3 * MACS, (3 + 2) * MACS)


def test_what_can_not_be_run_to_its_end_is_named():
    """Iterators without an end, coroutines that wait, iterators of classes of the user's."""

    class Endless(Iterator):
        def __next__(self):
            return 1

    async def in_a_notebook():
        return fxcost.analyze(Waits(), (1, 2)), fxcost.analyze(Awaited(), (1, 2))

    waits, runs = asyncio.run(in_a_notebook())
    assert waits.macs == MACS
    assert "waits for something" in str(waits.assumptions)
    assert runs.macs == 2 * MACS
    assert str(MOST) in str(fxcost.analyze(lazily(lambda self, x: iter(int, 1)), (1, 2)).assumptions)
    assert "Endless" in str(fxcost.analyze(lazily(lambda self, x: Endless()), (1, 2)).assumptions)


def test_symbolic_capture_says_that_it_can_not():
    """A graph returns what is there."""
    with pytest.raises(fxcost.FxcostError, match="has not run yet"):
        fxcost.analyze(Yields(), (1, 2), capture="symbolic")


def test_a_list_is_what_it_was():
    """Nothing is assumed of models that return tensors."""
    assert fxcost.analyze(lazily(lambda self, x: [self.layer(x), torch.ones(2)]), (1, 2)).assumptions == ()
