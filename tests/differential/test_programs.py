"""Models drawn at random: each analysis agrees with real runs, operator by operator, and leaves the model as it was.

`python benchmarks/hunt.py --minutes 60` draws others for as long as one likes.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import fxcost
from tests.differential.comparing import faults
from tests.differential.programs import Program, draw, smaller

EXAMPLES = int(os.environ.get("FXCOST_PROGRAMS", "150"))
always_the_same = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)


class Drawn:
    """Decides by what Hypothesis draws."""

    def __init__(self, data: st.DataObject) -> None:
        self._data = data

    def choice(self, options: Sequence[Any]) -> Any:
        return options[self._data.draw(st.integers(0, len(options) - 1))]

    def number(self, low: int, high: int) -> int:
        return self._data.draw(st.integers(low, high))


class Seeded:
    """Decides by a random generator."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def choice(self, options: Sequence[Any]) -> Any:
        return self._random.choice(options)

    def number(self, low: int, high: int) -> int:
        return self._random.randint(low, high)


def check(program: Program, train: bool = False) -> None:
    """No faults; the program is shown if there are some."""
    found = list(faults(program.build, train, program.exact))
    assert not found, "\n".join([program.source, *found])


@always_the_same
@given(st.data())
def test_forward(data: st.DataObject) -> None:
    """Operators, shapes, strides, costs, peak, results, both captures, and the model afterwards."""
    check(draw(Drawn(data), 6))


@settings(always_the_same, max_examples=max(EXAMPLES // 3, 1))
@given(st.data())
def test_training(data: st.DataObject) -> None:
    """MACs of both passes, bytes saved and bytes of gradients too."""
    check(draw(Drawn(data), 6), train=True)


@pytest.mark.zoo
@pytest.mark.parametrize("train", [False, True], ids=["forward", "training"])
def test_many(train: bool) -> None:
    """Longer ones, thousands of them, drawn otherwise."""
    for seed in range(2000):
        check(draw(Seeded(seed), 10), train)


def test_most_programs_run_and_have_something_of_everything() -> None:
    """Otherwise nothing would be compared."""
    programs = [draw(Seeded(seed), 6) for seed in range(60)]
    ran = traced = 0
    for program in programs:
        try:
            model, args = program.build()
            with torch.no_grad():
                model(*args)
        except Exception:
            continue
        ran += 1
        traced += fxcost.analyze(*program.build()).capture == "symbolic"
    assert ran > 40
    assert traced > 10
    text = "\n".join(program.source for program in programs)
    wanted = (
        "with torch.",
        "if ",
        "for ",
        "nn.Conv2d",
        "+= ",
        ".view(",
        "register_forward_hook",
        "channels_last",
        "torch.func",
    )
    assert [part for part in wanted if part not in text] == []


def test_a_program_is_cut_down_to_what_shows_the_fault() -> None:
    """Statements, blocks and hooks that it shows the fault without are gone."""
    program = next(
        p for p in (draw(Seeded(seed), 8) for seed in range(100)) if ".relu" in p.source and len(p.statements) > 4
    )
    least = smaller(program, lambda p: ".relu" in p.source)
    assert ".relu" in least.source
    assert len(least.statements) == 1
    assert not least.after


class Wrong(torch.nn.Module):
    """A model whose analysis sees something else than its run: it asks who is looking."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        import sys

        watched = any(name.startswith("fxcost.capture") for name in _callers(sys._getframe()))
        return x.relu() if watched else x.tanh().tanh()


def _callers(frame: Any) -> Sequence[str]:
    found = []
    while frame is not None:
        found.append(frame.f_globals.get("__name__", ""))
        frame = frame.f_back
    return found


def test_the_comparison_sees_faults() -> None:
    """Of operators, of the model's state, and of refusals."""
    found = "\n".join(faults(lambda: (Wrong(), [torch.ones(2, 3)])))
    assert "really aten.tanh" in found
    assert "fxcost aten.relu" in found

    class Refused(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if x.sum() > 0 and not any(n.startswith("fxcost.capture") for n in _callers(__import__("sys")._getframe())):
                raise ValueError("not this one")
            return x

    assert "PyTorch refuses, fxcost does not" in "\n".join(faults(lambda: (Refused(), [torch.ones(2, 3)])))
