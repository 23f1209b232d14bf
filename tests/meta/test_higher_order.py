"""Operators that take functions: their bodies are run and recorded; what decides them is known or assumed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch._higher_order_ops.map import map as torch_map
from torch._higher_order_ops.scan import scan
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

import fxcost
from fxcost.errors import UnknownValueError

W = torch.ones(8, 8)
ONE = 2 * 8 * 8


def branches(predicate: Tensor | bool, x: Tensor) -> Tensor:
    return torch.cond(predicate, lambda x: x @ W @ W, lambda x: x @ W, (x,))


def test_cond_takes_the_branch_that_a_known_predicate_says() -> None:
    """A predicate from an integer input with data is known."""
    for flag, macs in ((True, 2 * ONE), (False, ONE)):
        report = fxcost.analyze(lambda f, x: branches(f, x), [torch.tensor(flag), (2, 8)])
        assert (report.macs, report.assumptions) == (macs, ())


def test_cond_on_an_unknown_predicate_is_an_assumption() -> None:
    """Nobody knows the sign of unknown floats: the true branch, and the report says so."""
    report = fxcost.analyze(lambda x: branches(x.sum() > 0, x), (2, 8))
    assert report.macs == 2 * ONE
    assert any("torch.cond" in text for text in report.assumptions)


def test_while_loop_runs_as_often_as_it_says() -> None:
    """A counter is known, so each step is recorded."""

    def loop(x: Tensor) -> Tensor:
        return torch.while_loop(lambda i, x: i < 3, lambda i, x: (i + 1, x @ W), (torch.tensor(0), x))[1]

    report = fxcost.analyze(loop, (2, 8))
    assert (report.macs, report.assumptions) == (3 * ONE, ())


def test_while_loop_on_unknown_values_is_one_step_by_assumption() -> None:
    """Without data the number of steps is not known; the report says what was taken for granted."""

    def loop(x: Tensor) -> Tensor:
        return torch.while_loop(lambda x: x.sum() > 1, lambda x: (x @ W,), (x,))[0]

    report = fxcost.analyze(loop, (2, 8))
    assert report.macs == ONE
    assert any("while_loop" in text for text in report.assumptions)


def test_an_endless_loop_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop whose known condition never fails ends in an error instead of never."""
    monkeypatch.setattr("fxcost.meta.higher_order.MAX_STEPS", 50)

    def loop(x: Tensor) -> Tensor:
        return torch.while_loop(lambda i, x: i < 1, lambda i, x: (i * 1, x * 2), (torch.tensor(0), x))[1]

    with pytest.raises(UnknownValueError, match="50 steps"):
        fxcost.analyze(loop, (2, 8))


def test_scan_runs_its_steps() -> None:
    """One product a step, the outputs stacked."""

    def run(x: Tensor) -> Tensor:
        return scan(lambda carry, row: (carry @ W, row * 2), torch.zeros(2, 8), x)

    report = fxcost.analyze(run, (5, 2, 8))
    assert report.macs == 5 * ONE
    assert [spec.shape for spec in report.nodes[-1].outputs] == [(2, 8), (5, 2, 8)]


def test_map_runs_its_function_on_every_slice() -> None:
    """`map` over dim 0 costs its body once a slice."""
    report = fxcost.analyze(lambda x: torch_map(lambda row: row @ W, x), (5, 2, 8))
    assert (report.macs, report.nodes[-1].outputs[0].shape) == (5 * ONE, (5, 2, 8))


def test_flex_attention_is_two_products() -> None:
    """Dense by default, whatever score it modifies."""
    report = fxcost.analyze(lambda q: flex_attention(q, q, q, score_mod=lambda s, *_: s * 2), (1, 2, 128, 16))
    assert report.macs == 2 * 2 * 128 * 128 * 16
    assert report.nodes[-1].outputs[0].shape == (1, 2, 128, 16)
    assert report.uncosted == {}


def test_flex_attention_with_a_block_mask() -> None:
    """A causal mask made outside the model: no more than the dense count, and no less than the triangle."""
    mask = create_block_mask(lambda b, h, q, k: q >= k, None, None, 256, 256, device="cpu")
    report = fxcost.analyze(lambda q: flex_attention(q, q, q, block_mask=mask), (1, 2, 256, 16))
    dense = 2 * 2 * 256 * 256 * 16
    assert dense // 2 < report.macs <= dense
    assert any("block mask" in sentence for sentence in report.assumptions)


def test_flex_attention_runs_its_score_mod_on_every_score() -> None:
    """A division, a tanh, a product and an addition for each of 2 · 8 · 8 scores; index arithmetic counts none."""
    slopes = torch.ones(2)

    def capped(score: Tensor, b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        return torch.tanh(score / 30) * 30 + slopes[h]

    def cost(**options: Any) -> fxcost.Cost:
        return fxcost.analyze(lambda q: flex_attention(q, q, q, **options), (1, 2, 8, 4)).cost

    plain, with_mod = cost(), cost(score_mod=capped)
    assert with_mod.macs == plain.macs
    assert with_mod.flops - plain.flops == 4 * 2 * 8 * 8
    assert with_mod.transcendentals - plain.transcendentals == 2 * 8 * 8
    by_distance = cost(score_mod=lambda score, b, h, i, j: score + (j - i))
    assert by_distance.flops - plain.flops == 2 * 8 * 8


@pytest.mark.parametrize("mode", ["pointwise", "generic"])
def test_associative_scan_combines_halves(mode: str) -> None:
    """Eight steps take eleven combinations in the tree that PyTorch builds (4 + 2 + 1 up, 1 + 3 down)."""
    from torch._higher_order_ops.associative_scan import associative_scan

    def sums(x: Tensor) -> Any:
        return associative_scan(lambda a, b: a + b, x, 0, combine_mode=mode)

    try:
        sums(torch.ones(8, 3))
    except ValueError as error:
        pytest.skip(f"not in PyTorch {torch.__version__}: {error}")
    for steps, combinations in ((8, 11), (1, 0)):
        report = fxcost.analyze(sums, (steps, 3))
        assert (report.flops, report.uncosted) == (combinations * 3, {})


def test_out_dtype_is_an_integer_product() -> None:
    """int8 products summed in int32, as torchao's layers with quantized activations run them; else a cast."""
    from torch._higher_order_ops.out_dtype import out_dtype

    report = fxcost.analyze(
        lambda a, b: out_dtype(torch.ops.aten.mm.default, torch.int32, a, b),
        [fxcost.spec(3, 8, dtype="int8"), fxcost.spec(8, 5, dtype="int8")],
        strict=True,
    )
    assert report.macs == report.macs_by_dtype["int8"] == 3 * 8 * 5
    summed = fxcost.analyze(
        lambda a, b: out_dtype(torch.ops.aten.mul.Tensor, torch.int32, a, b), [fxcost.spec(3, dtype="int8")] * 2
    )
    assert summed.uncosted == {}
