"""Faults that language models had shown, each with the smallest input that showed it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
import transformers
from torch import nn
from torch.utils.checkpoint import checkpoint

import fxcost
from fxcost.cli import main

from .small import tiny


class Causal(nn.Module):
    """Causal attention alone."""

    def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def test_no_kernel_beats_the_roofline_of_causal_attention() -> None:
    """FlashAttention-3 takes 1.785 ms for this on an H100 (arXiv 2407.08608, figure 5); dense products would 2.22."""
    shape = fxcost.spec(1, 16, 16384, 128, dtype="bfloat16")
    report = fxcost.analyze(Causal(), [shape] * 3)
    pairs = 16384 * 16385 // 2
    assert report.cost.masked_macs == 16 * 256 * pairs
    assert report.macs == 16 * 256 * 16384**2
    assert 2 * report.cost.masked_macs / 989.5e12 < report.roofline("h100").latency_s < 1.14e-3


def test_causal_attention_backwards_skips_as_much() -> None:
    """Four products over the same pairs; and a formula in open sizes knows them."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.l = nn.Linear(8, 24)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.scaled_dot_product_attention(*self.l(x).chunk(3, -1), is_causal=True)

    training = fxcost.analyze(Net(), (2, 10, 8), training=True).training
    assert training is not None
    assert training.forward.skipped_macs == 2 * 16 * (100 - 55)
    assert training.backward.skipped_macs == 2 * training.forward.skipped_macs
    found = fxcost.analyze(Causal(), [fxcost.spec("B", 2, "S", 8)] * 3, dims={"B": (1, 4), "S": (8, 64)})
    assert str(found.formula.macs) == "32*B*S**2"


def test_windows_are_counted_as_they_are() -> None:
    """What transformers' masks leave: a plain report follows their values, a generation needs none."""
    model = tiny("gemma3")
    ids = {"input_ids": fxcost.spec(1, 40, dtype="int64"), "use_cache": False}
    dense = fxcost.analyze(model, ids)
    exact = fxcost.generation(model, prompt=40, new_tokens=1).step(new=40, have=0, batch=1, logits="all")
    inside, whole = 8 * 9 // 2 + 32 * 8, 40 * 41 // 2
    assert dense.macs == exact.macs
    assert exact.macs - exact.cost.masked_macs == 2 * 64 * (3 * (1600 - inside) + 1600 - whole)
    assert dense.cost.masked_macs == exact.cost.masked_macs == dense.count("causal")
    by_operator = {str(op): cost for op, cost in dense.by_operator().items()}
    attention = by_operator["fxcost.scaled_dot_product_attention.default"]
    assert dense.macs - dense.cost.masked_macs == attention.skipped_macs


class Box:
    """An object with a tensor."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor


@pytest.mark.parametrize("boxed", [True, False])
def test_what_is_returned_inside_an_object_is_alive_until_the_end(boxed: bool) -> None:
    """As in a tuple: three tensors of 4,000 bytes at the worst moment."""

    class Net(nn.Module):
        def forward(self, x: torch.Tensor) -> Any:
            y = x * 2
            z = (y.relu() + 1).exp()
            return z, (Box(y) if boxed else y)

    memory = fxcost.analyze(Net(), (10, 100)).memory
    assert memory.peak_activation_bytes == 12_000


@pytest.mark.parametrize("fused", [True, False])
def test_what_checkpointing_runs_again_is_recomputed(fused: bool) -> None:
    """Attention recorded whole as well as its parts: the backward pass is that without checkpointing."""

    class Net(nn.Module):
        def __init__(self, again: bool) -> None:
            super().__init__()
            self.again, self.first, self.qkv = again, nn.Linear(8, 8), nn.Linear(8, 24)

        def body(self, x: torch.Tensor) -> torch.Tensor:
            q, k, v = self.qkv(x).chunk(3, -1)
            y = F.scaled_dot_product_attention(q, k, v) if fused else (q @ k.mT).softmax(-1) @ v
            return y.sin()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.first(x)
            made: torch.Tensor = checkpoint(self.body, x, use_reentrant=False) if self.again else self.body(x)
            return made

    once, again = (fxcost.analyze(Net(a), (2, 10, 8), training=True).training for a in (False, True))
    assert once is not None
    assert again is not None
    assert again.backward.macs == once.backward.macs
    assert again.recomputed.macs == 2 * (10 * 8 * 24 + 10 * 10 * 16)


def test_expected_experts_are_those_of_different_choices() -> None:
    """Two tokens that go to 2 of 8 each are expected at 3.5 experts, not at 3.3 or 3."""
    model = tiny("mixtral")
    report = fxcost.analyze(model, {"input_ids": fxcost.spec(1, 2, dtype="int64"), "use_cache": False})
    assert report.expert_layers[0].expected == 3.5
    assert any("expected to touch 3.5 of them" in text for text in report.assumptions)


def test_a_cache_is_state() -> None:
    """Neither a buffer nor an activation; and `fit` says that it can't change its batch."""
    model = tiny("llama")
    config: Any = model.config
    cache = transformers.StaticCache(config=config, max_cache_len=9)
    with torch.no_grad():
        model(torch.zeros(1, 8, dtype=torch.int64, device="meta"), cache=cache, use_cache=True)
    ids = fxcost.spec(1, 1, dtype="int64")
    report = fxcost.analyze(model, ids, {"cache": cache, "use_cache": True})
    kept = 2 * 2 * 2 * 9 * 16 * 2
    assert kept <= report.memory.state_bytes <= kept + 64
    assert report.memory.buffer_bytes == report.buffer_bytes
    with pytest.raises(fxcost.InputError, match="'cache' holds tensors inside an object"):
        fxcost.fit(model, ids, {"cache": cache, "use_cache": True}, memory="1GB")


def test_places_that_a_mask_throws_away_are_said_to_count() -> None:
    """A boolean mask; none where there is none."""

    class Net(nn.Module):
        def forward(self, q: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
            return F.scaled_dot_product_attention(q, q, q, mask)

    mask = torch.ones(4, 4, dtype=torch.bool)
    assert any("throws away" in text for text in fxcost.analyze(Net(), [(1, 4, 8), mask]).assumptions)
    assert fxcost.analyze(Net(), (1, 4, 8)).assumptions == ()


def test_a_device_without_a_float32_peak_has_a_roofline() -> None:
    """Norms of a bfloat16 model are computed in float32, of which a TPU's document names no peak; products need one."""
    model = tiny("llama")
    report = fxcost.analyze(model, {"input_ids": fxcost.spec(1, 4, dtype="int64"), "use_cache": False})
    found = report.roofline("tpu-v5e")
    assert found.latency_s > 0
    assert any("no peak for float32" in note for note in found.notes)
    with pytest.raises(fxcost.DeviceError, match="no peak for float32"):
        fxcost.analyze(nn.Linear(4, 4), (1, 4)).roofline("tpu-v5e")


def test_routing_is_not_drawn_where_nobody_asks() -> None:
    """A prompt through experts: no value of a router is made, however long the prompt is."""
    from fxcost.meta import cells

    drawn = []
    original = cells.Source.__call__

    def counting(self: Any) -> torch.Tensor:
        drawn.append(self.shape)
        return original(self)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(cells.Source, "__call__", counting)
        fxcost.analyze(
            tiny("mixtral"), {"input_ids": fxcost.spec(1, 300, dtype="int64"), "use_cache": False}, capture="concrete"
        )
    assert not [shape for shape in drawn if 300 in shape and 8 in shape]


def test_fit_for_serving(capsys: pytest.CaptureFixture[str]) -> None:
    """The command: as many requests as the bounds say."""
    layers = ["--arg", "num_hidden_layers=2", "--arg", "vocab_size=1000"]
    assert main(["fit", "hf:llama", "--serve", "--context", "2k", "--memory", "2GB", *layers]) == 0
    weights, each = 2 * (2 * (4 * 4096**2 + 3 * 4096 * 11008) + 2 * 4096 * 1000 + 5 * 4096), 2 * 2 * 4096 * 2048 * 2
    assert f"largest batch: {(2 * 10**9 - weights) // each};" in capsys.readouterr().out
    assert main(["fit", "hf:llama", "--serve", "--memory", "10MB", *layers]) == 1
    assert "does not fit" in capsys.readouterr().out
