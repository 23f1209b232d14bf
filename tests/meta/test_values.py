"""Control flow and shapes that hang on values: known ones are followed on meta, unknown ones are said to be so."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from models import Buffered, Lambda, MixtureOfExperts
from torch import Tensor, nn

import fxcost
from fxcost.errors import UnknownValueError
from fxcost.meta.values import INTEGER_LIMIT

Function = Callable[[Tensor, Tensor], Any]


def split_in_place(x: Tensor, table: Tensor) -> Tensor:
    """Reads what was written through a view of a clone."""
    known = table.clone()
    known[0] = 5
    known += 1
    known[1:].fill_(2)
    return x[:, : known[0]].repeat(known[2], 1)


def windows(x: Tensor, table: Tensor) -> Tensor:
    """Reads through views of views: transposed, strided, expanded, reshaped."""
    grid = table.view(2, 2).t()
    assert grid[::1, 1].tolist() == [3, 4]
    assert grid.unsqueeze(0).expand(3, 2, 2)[2].flatten().tolist() == [1, 3, 2, 4]
    return x[:, : grid.contiguous().view(-1)[-1]]


def constants(x: Tensor, _: Tensor) -> Tensor:
    """Reads tensors that the forward makes itself."""
    keep = torch.arange(x.shape[1]) % 2 == 0
    keep = torch.where(keep, torch.zeros(8), torch.full((8,), 2.0)) > 1
    return x[:, keep & torch.tensor([True] * 6 + [False] * 2)]


CASES: dict[str, tuple[Function, list[int], list[tuple[int, ...]]]] = {
    "numbers alone, twice": (
        lambda x, t: x.repeat(*[torch.div(x.shape[1], 3, rounding_mode="trunc")] * 2),
        [],
        [(4, 16)],
    ),
    "item": (lambda x, t: x[:, : t[1].item()], [1, 3], [(2, 3)]),
    "tolist": (lambda x, t: x.split(t.tolist(), 1), [3, 5], [(2, 3), (2, 5)]),
    "int": (lambda x, t: x.repeat(int(t.sum()), 1), [1, 2], [(6, 8)]),
    "index": (lambda x, t: x[:, range(8)[t[0]] :], [6, 2], [(2, 2)]),
    "bool": (lambda x, t: x[:1] if t.any() else x, [0, 1], [(1, 8)]),
    "not": (lambda x, t: x[:1] if (t == 0).all() else x, [0, 1], [(2, 8)]),
    "while": (lambda x, t: _halved(x, t), [3, 0], [(2, 1)]),
    "nonzero": (lambda x, t: x[:, t.nonzero().squeeze(1)], [1, 0, 2], [(2, 2)]),
    "where": (lambda x, t: x[:, torch.where(t > 1)[0]], [1, 0, 2], [(2, 1)]),
    "masked_select": (lambda x, t: x[:, :3].masked_select(t > 0), [1, 0, 2], [(4,)]),
    "mask as index": (lambda x, t: x[:, :3][:, t > 0], [1, 0, 2], [(2, 2)]),
    "mask among indices": (lambda x, t: x[0, :3][t.bool()], [1, 0, 2], [(2,)]),
    "unique": (lambda x, t: x[:, torch.unique(t)], [4, 0, 4], [(2, 2)]),
    "unique with counts": (lambda x, t: torch.unique(t, return_counts=True), [4, 0, 4], [(2,), (2,)]),
    "unique_consecutive": (lambda x, t: torch.unique_consecutive(t), [4, 4, 0, 4], [(3,)]),
    "repeat_interleave": (lambda x, t: x.repeat_interleave(t, dim=0), [3, 4], [(7, 8)]),
    "bincount": (lambda x, t: torch.bincount(t), [4, 0, 4], [(5,)]),
    "one_hot": (lambda x, t: F.one_hot(t), [4, 0, 4], [(3, 5)]),
    "tensor_split": (lambda x, t: torch.tensor_split(x, t, 1), [3, 5], [(2, 3), (2, 2), (2, 3)]),
    "format": (lambda x, t: x[:, : int(f"{t[0]}")], [3], [(2, 3)]),
    "numpy": (lambda x, t: x[:, : int(t.numpy()[0])], [3], [(2, 3)]),
    "equal": (lambda x, t: x[:1] if torch.equal(t, t.clone()) else x, [3], [(1, 8)]),
    "cumsum": (lambda x, t: x[:, : t.cumsum(0)[-1]], [3, 2], [(2, 5)]),
    "sort": (lambda x, t: x[:, : t.sort().values[-1]], [2, 7, 3], [(2, 7)]),
    "written in place": (split_in_place, [3, 1, 1], [(4, 6)]),
    "views": (windows, [1, 2, 3, 4], [(2, 4)]),
    "constants": (constants, [0], [(2, 3)]),
    "set through a mask": (lambda x, t: _masked(x, t), [1, 0, 2], [(2, 7)]),
    "new tensors": (lambda x, t: x[:, : t.new_tensor([5]).item() + t.new_zeros(1).item()], [0], [(2, 5)]),
    "device moves": (lambda x, t: x[:, : t.cpu().cuda().to("cuda:1").item()], [3], [(2, 3)]),
}


def _halved(x: Tensor, steps: Tensor) -> Tensor:
    while steps[0] > 0:
        x = x[:, : x.shape[1] // 2]
        steps = steps - 1
    return x


def _masked(x: Tensor, table: Tensor) -> Tensor:
    table = table.clone()
    table[table == 2] = 7
    return x[:, : table.max()]


def shapes(report: fxcost.Report) -> list[tuple[int, ...]]:
    return [spec.shape for spec in report.nodes[-1].outputs]


@pytest.mark.parametrize("capture", ["auto", "concrete"])
@pytest.mark.parametrize("name", CASES)
def test_a_buffer_decides(name: str, capture: str) -> None:
    """Shapes follow from an integer buffer's values, as they do when the model runs on data."""
    function, values, expected = CASES[name]
    if name == "device moves":
        expected_eager = expected  # there need not be a second GPU
    else:
        eager = function(torch.zeros(2, 8), torch.tensor(values))
        expected_eager = [tuple(t.shape) for t in (eager if isinstance(eager, (tuple, list)) else [eager])]
    report = fxcost.analyze(Buffered(function, torch.tensor(values)), (2, 8), capture=capture)
    assert shapes(report) == expected == expected_eager
    assert report.assumptions == ()


@pytest.mark.parametrize("name", [n for n in CASES if n != "numpy"])
def test_an_input_decides(name: str) -> None:
    """An integer input that holds data decides in the same way; it is not written to."""
    function, values, expected = CASES[name]
    given = torch.tensor(values)
    report = fxcost.analyze(lambda x, t: function(x, t), [(2, 8), given])
    assert shapes(report) == expected
    assert given.tolist() == values
    assert report.assumptions == ()


def test_a_buffer_that_forward_counts_up_is_read_as_written() -> None:
    """In-place writes to a buffer are seen by what reads it later, and not by the next analysis."""

    def count(x: Tensor, table: Tensor) -> Tensor:
        table.add_(1)
        return x[:, : table.item()]

    model = Buffered(count, torch.tensor(3))
    assert [shapes(fxcost.analyze(model, (2, 8))) for _ in range(2)] == [[(2, 4)], [(2, 4)]]


def test_integers_without_data_are_taken_to_be_zero_and_that_is_said() -> None:
    """A spec has no values: zeros are assumed, and the report says so, naming what asked."""
    report = fxcost.analyze(lambda x, t: x.repeat_interleave(t, dim=0), [(2, 8), fxcost.spec(2, dtype="int64")])
    assert shapes(report) == [(0, 8)]
    assert len(report.assumptions) == 1
    assert "repeat_interleave" in report.assumptions[0]
    assert "zeros" in report.assumptions[0]


def test_an_unknown_float_names_the_line_that_asked() -> None:
    """A float's own value is never made up: the error names file and line, shape and dtype, and what to do."""

    def forward(_: Any, x: Tensor) -> Tensor:
        y = x * 2
        return y[:, : int(y.sum().item())]

    with pytest.raises(UnknownValueError) as caught:
        fxcost.analyze(Lambda(forward), (2, 8))
    line = inspect.getsourcelines(forward)[1] + 2
    assert f"{Path(__file__).name}:{line} " in str(caught.value)
    assert "float32" in str(caught.value)
    assert "real" in str(caught.value)


class Asks(nn.Module):
    """Halves while the sum is large: control flow on a float."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)
        with torch.no_grad():
            self.linear.weight.copy_(torch.eye(8))
            self.linear.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        while x.sum().item() > 1:
            x = self.linear(x) / 2
        return x


def test_a_real_run_decides_by_the_true_value() -> None:
    """With data the loop runs as often as it runs: 16 → 8 → 4 → 2 → 1."""
    report = fxcost.analyze(Asks(), torch.ones(2, 8))
    assert (report.capture, report.macs) == ("real", 4 * 2 * 64)
    assert report.assumptions == ()


@pytest.mark.parametrize(
    ("model", "inputs", "options"),
    [
        (Asks(), torch.ones(2, 8), {"real_limit": 0}),
        (Asks(), torch.ones(2, 8), {"real_limit": 300}),  # 288 bytes of weights, 64 of input
        (Asks(), (2, 8), {}),
        (Asks().to("meta"), torch.ones(2, 8), {}),
        (Asks(), torch.ones(2, 8), {"dtype": "bfloat16"}),
    ],
    ids=["forbidden", "too large", "no input data", "no weights", "another dtype"],
)
def test_no_real_run_without_leave(model: nn.Module, inputs: Any, options: dict[str, Any]) -> None:
    """A real run needs data in model and inputs, of at most `real_limit` bytes, at the dtype that is asked about."""
    with pytest.raises(UnknownValueError, match=r"test_values\.py:\d+"):
        fxcost.analyze(model, inputs, **options)


def test_the_limit_is_the_bytes_of_weights_and_inputs() -> None:
    """At exactly that many bytes the run is allowed."""
    assert fxcost.analyze(Asks(), torch.ones(2, 8), real_limit=288 + 64).capture == "real"


def test_a_sampled_decision_is_an_assumption() -> None:
    """A comparison of unknown floats is evaluated on noise where no real run is possible, and the report says so."""
    report = fxcost.analyze(lambda x: x @ x.T if x.sum() > -1e9 else x, (2, 8))
    assert (report.capture, report.macs) == ("concrete", 32)
    assert any("noise" in text and "test_values.py" in text for text in report.assumptions)


@pytest.mark.parametrize("capture", ["auto", "concrete"])
@pytest.mark.parametrize(("experts", "k"), [(4, 1), (4, 2), (8, 8)])
def test_routing_costs_k_experts_a_token(capture: str, experts: int, k: int) -> None:
    """Whatever the router chooses, each token meets k experts: multiply-accumulates do not hang on the noise."""
    report = fxcost.analyze(MixtureOfExperts(8, experts, k), (16, 8), capture=capture)
    assert report.macs == 16 * 8 * experts + 16 * k * 64
    assert any("noise" in text for text in report.assumptions)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_routing_does_not_hang_on_the_weights_or_the_seed(seed: int) -> None:
    """Other weights, other data, other random state: the same count."""
    torch.manual_seed(seed)
    model, x = MixtureOfExperts(8, 4, 2), torch.randn(16, 8)
    assert fxcost.analyze(model, x).macs == 16 * 8 * 4 + 16 * 2 * 64


def test_two_runs_give_the_same_report() -> None:
    """Noise is seeded: an analysis repeats itself."""
    reports = [fxcost.analyze(MixtureOfExperts(8, 4, 2), (16, 8)) for _ in range(2)]
    assert reports[0].cost == reports[1].cost
    assert reports[0].assumptions == reports[1].assumptions


def test_large_integers_are_not_followed() -> None:
    """Beyond 16 M elements values are not copied about: a mask of that size is unknown, not slow."""
    mask = fxcost.spec(INTEGER_LIMIT + 1, dtype="int64")
    assert fxcost.analyze(lambda t: (t + 1) * 2, mask).nodes[-1].outputs[0].shape == (INTEGER_LIMIT + 1,)


def test_random_integers_are_never_drawn_from_the_users_generator() -> None:
    """`randint` inside the model: the shape rests on an assumption, the generator stays where it is."""
    before = torch.get_rng_state()
    report = fxcost.analyze(lambda x: x[:, : torch.randint(1, 8, (1,)).item()], (2, 8))
    assert len(report.assumptions) >= 1
    assert torch.equal(torch.get_rng_state(), before)


def test_counting_tokens_of_experts_asks_for_no_value() -> None:
    """`histc` has as many results as bins, whatever it counts; known integers give known counts."""
    report = fxcost.analyze(lambda x: torch.histc(x.topk(2).indices.int(), 4, 0, 3), (10, 8))
    assert (report.nodes[-1].outputs[0].shape, report.assumptions) == ((4,), ())
    counted = lambda i: torch.ones(torch.histc(i, 3, 0, 2).tolist()) @ torch.ones(5)  # noqa: E731
    assert fxcost.analyze(counted, torch.tensor([0, 1, 1, 2, 2, 2, 2, 2])).macs == 1 * 2 * 5
    assert fxcost.analyze(lambda x: torch.histogram(x, 6).hist, (2, 8)).nodes[-1].outputs[0].shape == (6,)


def test_an_unknown_tensor_is_equal_to_itself() -> None:
    """Given twice to one operator, it is one sample of noise: `x == x`, as a check for NaN asks."""
    report = fxcost.analyze(lambda x: x @ x.T if (x == x).all() else x, (2, 8), capture="concrete")
    assert report.macs == 2 * 2 * 8


class Draws(nn.Module):
    """Samples from distributions whose arguments noise does not fulfil: probabilities of sum 1, a negative scale."""

    def forward(self, x: Tensor) -> Tensor:
        checked = {"validate_args": True}  # torch.compile, where it was used before, turns checks off for the process
        odds = torch.distributions.Categorical(probs=x.softmax(-1), **checked)
        return odds.entropy() + torch.distributions.Normal(x, 1 - x.exp() * 9, **checked).log_prob(x).sum(-1)


def test_arguments_of_a_distribution_are_taken_for_valid() -> None:
    """torch.distributions checks them; the report says that they are believed."""
    report = fxcost.analyze(Draws(), (2, 8))
    assert report.assumptions == ("torch.distributions found the arguments of a distribution valid",)
    assert report.nodes[-1].outputs[0].shape == (2,)
