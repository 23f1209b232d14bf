"""FlopCounterMode and ultralytics-thop: the tools' own numbers, and what torch's counter leaves out on a CPU."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peer_cases import build
from torch import nn
from torch.utils import flop_counter

import fxcost
from fxcost.compat import ultralytics_thop
from fxcost.compat.flop_counter import FlopCounterMode
from tests.conventions.tools import runner

RECORDED = json.loads((Path(__file__).parent.parent / "conventions" / "recorded.json").read_text())["figures"]
CASES = ("mha_noweights", "tel_bf", "lstm_bi_bf", "gru", "sdpa", "sdpa_mask", "convt2d_g4", "bmm", "shared_across")


def counted(counter: Any, model: nn.Module, inputs: tuple[torch.Tensor, ...]) -> Any:
    """A counter after one run of a model."""
    with counter:
        model(*inputs)
    return counter


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_a_cpu_counts_as_meta_does(case: str, frozen: bool) -> None:
    """The figure that torch's counter gave on meta, where PyTorch fuses nothing."""
    model, inputs = build(case)
    model.requires_grad_(not frozen)
    assert counted(FlopCounterMode(display=False), model, inputs).get_total_flops() == RECORDED["torch"][case]["flops"]


def test_torch_itself_leaves_kernels_out() -> None:
    """The reason for the class: fused attention, an LSTM, and frozen layers count nothing, or too little."""
    for case in ("mha_noweights", "lstm_bi_bf", "sdpa_mask"):
        model, inputs = build(case)
        theirs = counted(flop_counter.FlopCounterMode(display=False), model, inputs).get_total_flops()
        assert theirs < RECORDED["torch"][case]["flops"], case


def test_table_and_counts_are_torchs() -> None:
    """By module and operator, to the character, for a model of which nothing is fused; a formula of one's own too."""
    model, inputs = build("seq_convbnrelu")
    theirs = counted(flop_counter.FlopCounterMode(display=False), model, inputs)
    ours = counted(FlopCounterMode(display=False), model, inputs)
    assert ours.get_table() == theirs.get_table()
    assert ours.get_flop_counts() == theirs.get_flop_counts()
    ours = counted(
        FlopCounterMode(display=False, custom_mapping={torch.ops.aten.mm: lambda *_, **__: 7}), *build("t_mm")
    )
    assert ours.get_total_flops() == 7
    signatures = [inspect.signature(kind.__init__) for kind in (FlopCounterMode, flop_counter.FlopCounterMode)]
    assert [list(s.parameters) for s in signatures[:1]] == [list(s.parameters) for s in signatures[1:]]


def test_a_backward_pass_is_counted_by_our_rule() -> None:
    """Attention's two products give four in the backward pass, and two more that are made again."""
    q, k, v = (torch.randn(2, 3, 4, 8, requires_grad=True) for _ in range(3))
    with FlopCounterMode(display=False) as forward:
        out = nn.functional.scaled_dot_product_attention(q, k, v)
    with FlopCounterMode(display=False) as backward:
        out.sum().backward()
    report = fxcost.analyze(lambda *t: nn.functional.scaled_dot_product_attention(*t), (q, k, v))
    assert forward.get_total_flops() == 2 * report.macs
    assert backward.get_total_flops() in (2 * forward.get_total_flops(), 5 * forward.get_total_flops() // 2)


@pytest.mark.parametrize("case", ["seq_convbnrelu", "tel_bf", "shared_across", "matmul_4d", "lstm"])
def test_ultralytics_profile(case: str) -> None:
    """Totals as it printed them; the tree's parts are what its modules count themselves."""
    model, inputs = build(case)
    ops, params, tree = ultralytics_thop.profile(model.train(), inputs, ret_layer_info=True)  # type: ignore[misc]
    assert {"total_ops": ops, "total_params": params} == RECORDED["ultralytics-thop"][case]
    assert isinstance(ops, float)
    assert model.training
    assert sum(branch[0] for branch in tree.values()) <= ops
    with pytest.raises(fxcost.ConventionError, match="custom_ops"):
        ultralytics_thop.profile(model, inputs, custom_ops={nn.ReLU: print})


@pytest.mark.parametrize("case", ["mobilenet_v3_small", "shared_across", "shared_same", "tel_bf", "lstm", "root_conv"])
def test_ultralytics_itself_returns_the_same(case: str) -> None:
    """Totals, the tree, and texts."""
    runner("ultralytics-thop")
    import thop as tool

    model, inputs = build(case)
    expected = tool.profile(model, inputs=inputs, verbose=False, ret_layer_info=True)
    assert ultralytics_thop.profile(model, inputs=inputs, ret_layer_info=True) == expected
    for number in (999, 1000, 1001.5, 5e6, 2e9, 3e12):
        assert ultralytics_thop.clever_format(number) == tool.clever_format(number)
    ours, theirs = (inspect.signature(f).parameters for f in (ultralytics_thop.profile, tool.profile))
    assert [(p.name, p.default) for p in ours.values()] == [(p.name, p.default) for p in theirs.values()]
