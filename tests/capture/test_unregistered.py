"""Parameters that a model uses and does not register are not counted as its own, and the report says so."""

from __future__ import annotations

import contextvars
import functools
import types
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import fxcost


@dataclass
class Holds:
    m: nn.Module

    def run(self, x: Tensor) -> Tensor:
        return self.m(x)  # type: ignore[no-any-return]


KEPT: list[nn.Module] = []
HELD: dict[str, tuple[Callable[[nn.Module], Any], Callable[[Any, Tensor], Tensor]]] = {
    "a list": (lambda m: [m], lambda h, x: h[0](x)),
    "a nested dict": (lambda m: {"k": (m,)}, lambda h, x: h["k"][0](x)),
    "a deque": (lambda m: deque([m]), lambda h, x: h[0](x)),
    "a partial": (lambda m: functools.partial(lambda f, x: f(x), m), lambda h, x: h(x)),
    "a bound method": (lambda m: m.forward, lambda h, x: h(x)),
    "a method of an object": (lambda m: Holds(m).run, lambda h, x: h(x)),
    "a dataclass": (Holds, lambda h, x: h.m(x)),
    "a weak reference": (lambda m: (KEPT.append(m), weakref.ref(m))[1], lambda h, x: h()(x)),
    "a namespace": (lambda m: types.SimpleNamespace(m=m), lambda h, x: h.m(x)),
    "a read-only dict": (lambda m: types.MappingProxyType({"m": m}), lambda h, x: h["m"](x)),
}


class Hides(nn.Module):
    """A layer in its tables, and one elsewhere."""

    def __init__(self, name: str, size: int = 4) -> None:
        super().__init__()
        make, self.call = HELD[name]
        self.layer, self.hidden = nn.Linear(size, size), make(nn.Linear(size, size))

    def forward(self, x: Tensor) -> Tensor:
        return self.call(self.hidden, self.layer(x))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("size", [4, 600])
@pytest.mark.parametrize("name", HELD)
def test_what_is_not_registered_is_said(name: str, size: int, training: bool) -> None:
    """It takes part in full; `model.parameters()` has it not, as PyTorch says; one line, whatever the size."""
    model = Hides(name, size)
    report = fxcost.analyze(model, (2, size), training=training)
    assert report.macs == 2 * 2 * size * size
    assert report.params == sum(p.numel() for p in model.parameters()) == size * size + size
    assert [text for text in report.assumptions if "not registered" in text]
    assert len(report.assumptions) == 1
    if report.training is not None:
        assert report.training.gradient_bytes == 4 * report.params


def test_the_attribute_is_named() -> None:
    report = fxcost.analyze(nn.Sequential(Hides("a nested dict")), (2, 4))
    assert "a parameter in 0.hidden takes part" in report.assumptions[0]


def test_plain_tensors_are_constants() -> None:
    """A table that is no buffer, however large, is no parameter: PyTorch treats it so too."""

    class Shifts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = torch.ones(2000, 2000)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.table

    assert fxcost.analyze(Shifts(), (1, 2000)).assumptions == ()
    with torch.device("meta"):
        assert fxcost.analyze(Shifts(), (1, 2000)).assumptions == ()


def test_what_a_closure_reaches_counts_as_the_models() -> None:
    """Also through a cache round a partial, which has no name."""
    layer, hidden = nn.Linear(4, 4), nn.Linear(4, 4)
    found = functools.lru_cache(functools.partial(lambda f, _: f, hidden))
    report = fxcost.analyze(lambda x: found(1)(layer(x)), (2, 4))
    assert (report.macs, report.params, report.assumptions) == (64, 40, ())


def test_what_was_computed_is_no_parameter() -> None:
    """A tensor with a gradient function is none of `parameters()`, though it needs a gradient."""
    layer, cache = nn.Linear(4, 4), {}

    def model(x: Tensor) -> Tensor:
        if "w" not in cache:
            cache["w"] = layer.weight * 2
        return layer(x) @ cache["w"]

    model(torch.ones(2, 4))
    report = fxcost.analyze(model, (2, 4), training=True)
    assert report.params == 20
    assert report.training is not None
    assert report.training.gradient_bytes == 80


def test_a_context_variable_is_no_obstacle() -> None:
    """As an attribute it can't be copied, and is shared."""

    class Asks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.scale = nn.Linear(4, 4), contextvars.ContextVar("scale", default=2.0)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x) * self.scale.get()

    assert fxcost.analyze(Asks(), (2, 4)).macs == 32
