"""Models as deep as Python lets them run are analysed, and Python's limit is afterwards what it was."""

import sys
import threading

import pytest
from torch import nn

import fxcost
from fxcost.model.depth import depth, room_for

MACS = 4
"""Of one layer."""


class Around(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner, self.layer = inner, nn.Linear(2, 2)

    def forward(self, x):
        return self.layer(self.inner(x))


def nested(times):
    model = nn.Linear(2, 2)
    for _ in range(times):
        model = Around(model)
    return model


@pytest.fixture
def usual_limit():
    """Python's own limit, which leaves the model as many calls as a script has."""
    before, here = sys.getrecursionlimit(), len(frames())
    sys.setrecursionlimit(1000 + here)
    yield sys.getrecursionlimit()
    sys.setrecursionlimit(before)


def frames():
    found, frame = [], sys._getframe()
    while frame is not None:
        found.append(frame)
        frame = frame.f_back
    return found


@pytest.mark.parametrize("capture", ["auto", "symbolic", "concrete"])
def test_240_modules_in_one_another(usual_limit, capture):
    """Which PyTorch runs within the usual limit; training too."""
    report = fxcost.analyze(nested(240), (1, 2), capture=capture, training=True)
    assert report.macs == 241 * MACS
    assert report.training.backward.macs == (2 * 241 - 1) * MACS  # the first layer's input takes no gradient
    assert sys.getrecursionlimit() == usual_limit


def test_a_user_s_own_limit():
    """With more room a model of 700 modules in one another runs, and is analysed."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(10_000)
    try:
        assert fxcost.analyze(nested(700), (1, 2)).macs == 701 * MACS
    finally:
        sys.setrecursionlimit(before)


def test_depth_counts_modules_in_one_another():
    """The root is one."""
    assert [depth(nested(n)) for n in (0, 1, 5)] == [1, 2, 6]


def test_the_limit_is_that_of_before_whoever_ends_last():
    """Analyses on several threads overlap in any order; what somebody sets meanwhile stays."""
    before = sys.getrecursionlimit()
    first, second = room_for(nested(50)), room_for(nested(60))
    first.__enter__()
    second.__enter__()
    assert sys.getrecursionlimit() > before
    first.__exit__(None, None, None)
    sys.setrecursionlimit(sys.getrecursionlimit() + 7)
    second.__exit__(None, None, None)
    assert sys.getrecursionlimit() == before + 7
    sys.setrecursionlimit(before)


def test_threads(usual_limit):
    """Deep models on two threads at once."""
    found = []
    threads = [threading.Thread(target=lambda: found.append(fxcost.analyze(nested(60), (1, 2)).macs)) for _ in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [61 * MACS] * 2
    assert sys.getrecursionlimit() == usual_limit


def test_endless_recursion_is_an_error_of_ours():
    """A model that calls itself."""

    class Itself(nn.Module):
        def forward(self, x):
            return self(x)

    with pytest.raises(fxcost.ModelRunError, match="RecursionError"):
        fxcost.analyze(Itself(), (1, 2))
