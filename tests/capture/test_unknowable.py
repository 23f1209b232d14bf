"""What an analysis can't know is said: what hangs on random numbers, and what other libraries compute.

Generators that code draws from are afterwards as they were.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import fxcost

PYTHON, NEW, OLD, TORCH = (
    random.Random(5),
    np.random.default_rng(1),
    np.random.RandomState(3),
    torch.Generator().manual_seed(1),
)


class Sometimes(nn.Module):
    """Runs its layer where `chance` says so."""

    def __init__(self, chance: Callable[[Any, Tensor], Any]) -> None:
        super().__init__()
        self.layer, self.chance = nn.Linear(4, 4), chance
        self.own = torch.Generator().manual_seed(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + x if self.chance(self, x) else x * 2


DRAWN: dict[str, Callable[[Any, Tensor], Any]] = {
    "random": lambda s, x: random.random() < 2,
    "NumPy": lambda s, x: np.random.rand() < 2,
    "a generator of Python's": lambda s, x: PYTHON.random() < 2,
    "a generator of NumPy's": lambda s, x: NEW.random() < 2,
    "an old generator of NumPy's": lambda s, x: OLD.rand() < 2,
}
ASKED: dict[str, Callable[[Any, Tensor], Any]] = {
    "torch.rand": lambda s, x: torch.rand(1) < 2,
    "item": lambda s, x: torch.rand(1).item() < 2,
    "tolist": lambda s, x: torch.rand(1).tolist()[0] < 2,
    "a generator outside": lambda s, x: torch.rand(1, generator=TORCH).item() < 2,
    "a generator of the model's": lambda s, x: torch.rand(1, generator=s.own).item() < 2,
    "a size": lambda s, x: len(torch.bernoulli(torch.full((9,), 0.5)).nonzero()) < 10,
}


def states() -> list[Any]:
    """What the generators will draw from."""
    mine = [PYTHON.getstate(), NEW.bit_generator.state, str(OLD.get_state()), TORCH.get_state().tolist()]
    return [*mine, random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", DRAWN)
def test_a_draw_in_python_is_said(name: str, training: bool) -> None:
    """Whatever the capture and the generator; which are left as they were."""
    model = Sometimes(DRAWN[name])
    before = states()
    report = fxcost.analyze(model, (2, 4), training=training)
    assert report.macs == 32
    assert [text for text in report.assumptions if "random numbers" in text]
    assert states() == before


@pytest.mark.parametrize("name", ASKED)
def test_a_value_that_was_drawn_is_said(name: str) -> None:
    """With data at hand a real run decides; that another might decide otherwise is said, by line."""
    model, before = Sometimes(ASKED[name]), states()
    own = model.own.get_state()
    report = fxcost.analyze(model, torch.ones(2, 4))
    assert report.macs == 32
    assert [text for text in report.assumptions if "test_unknowable.py" in text or "random numbers" in text]
    assert states() == before
    assert torch.equal(own, model.own.get_state())


def test_what_is_drawn_and_decides_nothing_is_not_said() -> None:
    """Dropout draws on every run, and a decision before it does not hang on it."""

    class Drops(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y = x * 2 if x.sum() > 0 else x
            return nn.functional.dropout(y, training=True)

    report = fxcost.analyze(Drops(), torch.ones(2, 4))
    assert (report.capture, report.assumptions) == ("real", ())


class Elsewhere(nn.Module):
    """Multiplies in NumPy, by a tensor of known values."""

    def __init__(self, taken: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.layer, self.taken = nn.Linear(4, 4), taken
        self.register_buffer("table", torch.eye(4))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) @ torch.from_numpy(self.taken(self.table) @ np.ones((4, 4), dtype=np.float32))


@pytest.mark.parametrize("taken", [Tensor.numpy, np.asarray, np.from_dlpack], ids=["numpy", "asarray", "dlpack"])
def test_work_of_other_libraries_is_said_to_be_missing(taken: Callable[[Tensor], Any]) -> None:
    """What NumPy multiplies is no operator of PyTorch's: the line is named at which a tensor leaves."""
    report = fxcost.analyze(Elsewhere(taken), torch.ones(2, 4))
    assert report.macs == 64
    assert any("test_unknowable.py" in text and "NumPy" in text for text in report.assumptions)


def test_a_number_that_leaves_is_no_work() -> None:
    """One element is a number, which Python may ask for."""
    report = fxcost.analyze(lambda x: x * float(torch.ones(1).numpy()[0]), (2, 4))
    assert report.assumptions == ()
