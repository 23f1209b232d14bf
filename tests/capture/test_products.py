"""Integers from shapes, inside functions that stay whole, note their products and are plain integers otherwise."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import fx, nn

import fxcost
from fxcost.capture.products import noting_products
from fxcost.meta.segments import Segment


@fx.wrap
def windows(x: torch.Tensor, edge: int) -> torch.Tensor:
    """Cuts (B, H, W, C) into windows: two products of sizes."""
    b, h, w, c = x.shape
    pad = (edge - h % edge) % edge
    number = ((h + pad) // edge) * (w // edge)
    x = torch.nn.functional.pad(x, (0, 0, 0, 0, 0, pad))
    return x.view(b, (h + pad) // edge, edge, w // edge, edge, c).transpose(2, 3).reshape(b * number, -1, c)


class Windows(nn.Module):
    """Calls a wrapped function."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return windows(x, 4)


class Doubled(nn.Module):
    """Calls a wrapped function that reads a size in one of several ways."""

    def __init__(self, reader: str) -> None:
        super().__init__()
        self.reader = reader

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return doubled(x, self.reader)


def products(model: nn.Module, *inputs: Any) -> list[tuple[Any, ...]]:
    """The products of two integers that were noted inside nodes."""
    report = fxcost.analyze(model, inputs, capture="symbolic")
    calls = [call for node in report.nodes for call in node.record.calls]
    return [c.args for c in calls if c.target == "_operator.mul" and all(type(a) is int for a in c.args)]


def test_products_inside_a_function_are_noted() -> None:
    """Each once, with plain integers; divisions, sums and remainders are not."""
    assert products(Windows(), (3, 6, 8, 5)) == [(2, 2), (3, 4)]


def test_torchprofile_counts_them() -> None:
    """One each, beside what the operators count: nothing here."""
    assert fxcost.analyze(Windows(), [(3, 6, 8, 5)], capture="symbolic").count("torchprofile") == 2


@given(st.integers(-50, 50), st.integers(1, 50))
def test_they_count_as_integers_do(a: int, b: int) -> None:
    """All results equal those of plain integers, whichever side they stand on; other operands make no integer."""
    segment = Segment()
    x = noting_products(a, segment)
    results = [x + b, b + x, x - b, b - x, x * b, b * x, x // b, x % b, -x, x * 2.0, x / b, x == a, f"{x}", [x] * b]
    expected = [a + b, b + a, a - b, b - a, a * b, b * a, a // b, a % b, -a, a * 2.0, a / b, True, f"{a}", [a] * b]
    assert results == expected
    assert [type(r) for r in results[:4]] == [type(x)] * 4
    assert [call.args for call in segment.calls] == [(a, b), (a, b)]


def test_a_product_of_two_is_one() -> None:
    """Both operands would note it."""
    segment = Segment()
    size = noting_products(torch.Size([3, 4]), segment)
    assert (size[0] * size[1] * 2, len(segment.calls)) == (24, 2)
    assert isinstance(size, torch.Size)


def test_they_are_plain_once_stored() -> None:
    """A pickle holds no segment."""
    size = noting_products(7, Segment())
    assert type(pickle.loads(pickle.dumps(size))) is int


READERS: dict[str, Callable[[torch.Tensor], int]] = {
    "method": torch.Tensor.numel,
    "function": torch.numel,
    "size": lambda x: x.size(0),
    "shape": lambda x: x.shape[0],
}


@fx.wrap
def doubled(x: torch.Tensor, reader: str) -> torch.Tensor:
    """The first elements, as many as what is asked for says."""
    return x[: READERS[reader](x) * 2]


@pytest.mark.parametrize("reader", READERS)
def test_all_ways_to_ask(reader: str) -> None:
    """Methods, functions and attributes."""
    assert products(Doubled(reader), (3,)) == [(3, 2)]
