"""Indices whose values are known and that point outside are refused where PyTorch refuses them, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import fxcost

indices = st.lists(st.integers(-6, 6), min_size=1, max_size=3).map(torch.tensor)
CALLS: dict[str, Callable[[Tensor], Any]] = {
    "embedding": lambda i: F.embedding(i, torch.ones(4, 2)),
    "embedding_bag": lambda i: F.embedding_bag(i.view(1, -1), torch.ones(4, 2)),
    "index_select": lambda i: torch.ones(2, 4).index_select(1, i),
    "index_select of one dimension": lambda i: torch.ones(4).index_select(0, i),
    "index": lambda i: torch.ones(4, 2)[i],
    "index of the second": lambda i: torch.ones(2, 4)[:, i],
    "index beside a mask": lambda i: torch.ones(2, 4)[torch.tensor([True, False]), i],
    "index_put": lambda i: torch.ones(4, 2).index_put((i,), torch.zeros(())),
    "gather": lambda i: torch.ones(4, 3).gather(0, i.view(-1, 1)),
    "scatter": lambda i: torch.ones(4, 3).scatter(0, i.view(-1, 1), 2.0),
    "scatter_add": lambda i: torch.ones(4, 3).scatter_add(0, i.view(-1, 1), torch.ones(len(i), 1)),
    "take": lambda i: torch.ones(2, 2).take(i),
    "cross_entropy": lambda i: F.cross_entropy(torch.ones(len(i), 4), i),
    "cross_entropy of pixels": lambda i: F.cross_entropy(torch.ones(1, 4, len(i)), i.view(1, -1)),
    "cross_entropy without -1": lambda i: F.cross_entropy(torch.ones(len(i), 4), i, ignore_index=-1),
}


@pytest.mark.parametrize("name", CALLS)
@given(indices)
def test_refused_as_on_the_cpu(name: str, index: Tensor) -> None:
    call = CALLS[name]
    try:
        call(index)
    except (IndexError, RuntimeError) as error:
        with pytest.raises(fxcost.ModelRunError, match=type(error).__name__):
            fxcost.analyze(call, index)
    else:
        assert not fxcost.analyze(call, index).uncosted


def test_a_model_that_catches_it_takes_the_way_that_it_takes() -> None:
    linear = torch.nn.Linear(4, 4)

    def model(x: Tensor) -> Tensor:
        try:
            return x[torch.tensor([7])]
        except IndexError:
            return linear(x)  # type: ignore[no-any-return]

    assert fxcost.analyze(model, (2, 4)).macs == 32
