"""Whatever is done to small integer tensors, fxcost reads from them on meta what PyTorch reads on the CPU."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import fxcost
from fxcost.errors import UnknownValueError

FIRST = torch.tensor([0])


def only_write(_: Tensor) -> None:
    """Part of a tensor was written to, and is itself no result of the program."""


STEPS: dict[str, Callable[[Tensor, Tensor, int], Any]] = {
    "a + b": lambda a, b, i: a + b,
    "a - i": lambda a, b, i: a - i,
    "a % 3": lambda a, b, i: a % 3,
    "add_": lambda a, b, i: a.add_(b),
    "mul_": lambda a, b, i: a.mul_(i),
    "clamp_": lambda a, b, i: a.clamp_(0, i),
    "remainder_": lambda a, b, i: a.remainder_(i + 4),
    "fill_": lambda a, b, i: a.fill_(i),
    "fill_ with a tensor": lambda a, b, i: a.fill_(b[0, 0]),
    "fill": lambda a, b, i: torch.fill(a, i),
    "fill with a tensor": lambda a, b, i: torch.fill(a, b[0, 0]),
    "fill with itself": lambda a, b, i: (lambda one: a + torch.fill(one, one))(a[1, 1]),
    "zero_": lambda a, b, i: a.zero_(),
    "fill a column": lambda a, b, i: only_write(a[:, :1].fill_(i)),
    "zero a diagonal": lambda a, b, i: only_write(a.diagonal().zero_()),
    "fill_diagonal_": lambda a, b, i: a.fill_diagonal_(i),
    "set a row": lambda a, b, i: a.__setitem__(0, i),
    "set a row to another": lambda a, b, i: a.__setitem__(0, b[1]),
    "set where": lambda a, b, i: a.__setitem__(b > 0, i),
    "set at": lambda a, b, i: a.__setitem__((slice(None), FIRST), i),
    "copy_": lambda a, b, i: a.copy_(b),
    "masked_fill_": lambda a, b, i: a.masked_fill_(b > i, i),
    "masked_fill": lambda a, b, i: a.masked_fill(b > i, i),
    "where": lambda a, b, i: torch.where(a > b, a, b),
    "maximum": lambda a, b, i: torch.maximum(a, b),
    "t": lambda a, b, i: a.t(),
    "t_": lambda a, b, i: a.t_(),
    "clone": lambda a, b, i: a.clone(),
    "rows": lambda a, b, i: a[[2, 0, 1]],
    "flip": lambda a, b, i: a.flip(0),
    "roll": lambda a, b, i: a.roll(1, 0),
    "expand": lambda a, b, i: a[:1].expand(3, 3),
    "contiguous": lambda a, b, i: a.contiguous(),
    "cumsum": lambda a, b, i: a.cumsum(0),
    "sort": lambda a, b, i: a.sort(0).values,
    "triu_": lambda a, b, i: a.triu_(),
    "index_add_": lambda a, b, i: a.index_add_(0, FIRST, b[:1]),
    "scatter_": lambda a, b, i: a.scatter_(0, torch.zeros_like(b[:1]), i),
    "zeros_like": lambda a, b, i: torch.zeros_like(a),
    "full_like": lambda a, b, i: torch.full_like(a, i),
    "new_full": lambda a, b, i: a.new_full((3, 3), i),
    "new_zeros": lambda a, b, i: a.new_zeros(3, 3),
    "empty, filled": lambda a, b, i: torch.empty_like(a).fill_(i),
    "arange": lambda a, b, i: torch.arange(9).view(3, 3) - i,
    "through floats": lambda a, b, i: (a.float() / 2).floor().long(),
    "through booleans": lambda a, b, i: (a > i).long(),
}


READ = io.StringIO()
"""What each run of a program read: not the program's own, as a copy of it is run."""


class Program(nn.Module):
    """Does some steps, each to earlier results, and reads all results in the end."""

    def __init__(self, steps: list[tuple[str, int, int, int]]) -> None:
        super().__init__()
        self.steps = steps
        self.register_buffer("table", torch.arange(9).view(3, 3) * 2 % 5)

    def forward(self, x: Tensor) -> Tensor:
        results = [self.table.clone(), torch.arange(9).view(3, 3)]
        for name, a, b, i in self.steps:
            made = STEPS[name](results[a % len(results)], results[b % len(results)], i)
            if made is not None:
                results.append(made)
        READ.write(f"{[result.tolist() for result in results]}\n")
        return x + 1


@settings(deadline=None, max_examples=150)
@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(STEPS)), st.integers(0, 9), st.integers(0, 9), st.integers(-2, 5)),
        min_size=1,
        max_size=8,
    )
)
def test_what_is_read_is_what_pytorch_reads(steps: list[tuple[str, int, int, int]]) -> None:
    """Programs of in-place writes, views and copies, in any order, aliasing each other as they come."""
    program = Program(steps)
    READ.truncate(READ.seek(0))
    try:
        program(torch.zeros(1))
    except RuntimeError:  # writes to memory that overlaps itself
        reject()
    fxcost.analyze(program, (1,), capture="concrete", real_limit=0)
    on_cpu, on_meta = READ.getvalue().splitlines()
    assert on_cpu == on_meta


def test_a_result_that_needs_no_values_takes_none_of_a_large_tensor() -> None:
    """`x.new_zeros` of a tensor of 40 TB makes no noise of its size."""
    report = fxcost.analyze(lambda x: x[0, : int(x.new_zeros(2).long().sum()) + 3], (10_000_000, 1_000_000))
    assert report.capture == "concrete"
    assert report.nodes[-1].outputs[0].shape == (3,)


def test_what_an_unknown_number_fills_is_unknown() -> None:
    """The result of `torch.fill` follows from the number, not from the tensor that is filled."""
    with pytest.raises(UnknownValueError):
        fxcost.analyze(lambda x: x[: int(torch.fill(torch.ones(2), x.sum())[0])], (3,))
