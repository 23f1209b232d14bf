"""Random generators that the model's own code draws from: an analysis leaves them as they were, and says that it drew.

On meta tensors nothing is drawn from PyTorch's generators, and a real run draws from one of its own (recorder.py). What
is left is code of the model's that asks Python or NumPy for a number, or a generator of the user's, or sets a seed.
"""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch._subclasses.fake_tensor import unset_fake_temporarily


@contextmanager
def unchanged_state() -> Iterator[None]:
    """Random generators are afterwards as before: PyTorch's, Python's, NumPy's if it is loaded.

    A generator that nobody drew from is not touched, and none is set back where another thread runs, which may have
    drawn from it too: to it its numbers would come again. An inference mode around it and a mode of fake tensors, in
    which tensors are not what they seem, are left meanwhile.
    """
    with torch.inference_mode(False), unset_fake_temporarily():
        alone, before = _others_wait(), _states()
        try:
            yield
        finally:
            after = _states()
            for name, state in before.items():
                if not _same(after[name], state) and alone and _others_wait():
                    _SET[name](state)


CHANCE = (
    "the code drew random numbers (Python's, NumPy's or from a generator of its own): with other ones it may run "
    "something else"
)


@contextmanager
def chance_noticed(generators: Iterable[Any], say: Callable[[str], None]) -> Iterator[None]:
    """Around a run: if a number was drawn, it is said; the `generators` that the code reaches are put back."""
    before, states = _states(), [(generator, _state(generator)) for generator in generators]
    try:
        yield
    finally:
        after = _states()
        if not all(_same(after[name], before[name]) for name in before if name != "torch"):
            say(CHANCE)
        for generator, state in states:
            if not _same(_state(generator), state):
                say(CHANCE)
                _put(generator, state)


def is_generator(value: Any) -> bool:
    """True for a generator of random numbers: of Python's, NumPy's or PyTorch's."""
    kind = type(value)
    if issubclass(kind, (random.Random, torch.Generator)):
        return not issubclass(kind, random.SystemRandom)
    return issubclass(kind, _of_numpy())


def _of_numpy() -> tuple[type, ...]:
    numpy = sys.modules.get("numpy")
    return (numpy.random.Generator, numpy.random.RandomState) if numpy else ()


def _state(generator: Any) -> Any:
    """What a generator will draw from."""
    if isinstance(generator, torch.Generator):
        return generator.get_state()
    if isinstance(generator, random.Random):
        return generator.getstate()
    bits = getattr(generator, "bit_generator", None)
    return generator.get_state(legacy=False) if bits is None else bits.state


def _put(generator: Any, state: Any) -> None:
    if isinstance(generator, random.Random):
        generator.setstate(state)
    elif (bits := getattr(generator, "bit_generator", None)) is not None:
        bits.state = state
    else:
        generator.set_state(state)


def _states() -> dict[str, Any]:
    numpy = sys.modules.get("numpy")
    found = {"torch": torch.get_rng_state(), "python": random.getstate()}
    return {**found, "numpy": numpy.random.get_state(legacy=True)} if numpy else found


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, tuple):
        return all(map(_same, a, b))
    if isinstance(a, dict):
        return all(_same(value, b[name]) for name, value in a.items())
    return bool((a == b).all()) if hasattr(a, "all") else bool(a == b)


_SET: dict[str, Any] = {
    "torch": torch.set_rng_state,
    "python": random.setstate,
    "numpy": lambda state: sys.modules["numpy"].random.set_state(state),
}


_WAITING = (
    "threading",
    "selectors",
    "queue",
    "concurrent.futures.thread",
    "socket",
    "execnet.gateway_base",
    "tqdm._monitor",
)
"""Modules in whose code a thread stands that waits for work."""


def _others_wait() -> bool:
    """True if every other thread of Python's waits for something."""
    me = threading.get_ident()
    others = [frame for thread, frame in sys._current_frames().items() if thread != me]
    return all(frame.f_globals.get("__name__") in _WAITING for frame in others)
