"""Generations of small models against counts by hand: Llama, experts, latents both ways, windows, Whisper, own ones."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations, product
from typing import Any

import pytest
import torch
import transformers
from torch import nn

import fxcost
from fxcost.serving.work import touched

from .small import tiny


def matrices(model: nn.Module, skip: tuple[str, ...] = ("embed",)) -> int:
    """Elements of the matrices in products."""
    return sum(p.numel() for n, p in model.named_parameters() if p.dim() == 2 and not any(s in n for s in skip))


def test_llama() -> None:
    """Products, grouped attention, cache, weights read once, all in bfloat16."""
    model = tiny("llama")
    gen = fxcost.generation(model, prompt=20, new_tokens=5, batch=3)
    step = gen.step(have=20, batch=3)
    assert step.macs == 3 * (matrices(model) + 2 * 2 * 64 * 21)
    assert gen.cache.bytes(context=20, batch=3) == 3 * 20 * 2 * (2 * 2 * 16) * 2
    assert gen.cache.kinds == {"full": 2}
    read = gen.decode_work.weight_bytes(3)
    assert read == 2 * (matrices(model) + 5 * 64) + 2 * 3 * 64  # matrices, five norms, three rows of the embedding
    assert gen.decode_work.cache_bytes(3, 20) == gen.cache.bytes(context=20, batch=3)
    prompt = gen.prefill
    assert prompt.cost.masked_macs == 3 * (20 * (matrices(model) - 6400) + 6400 + 2 * 2 * 64 * (20 * 21 // 2))
    assert prompt.macs - prompt.cost.masked_macs == 3 * 2 * 2 * 64 * (400 - 210)


def test_the_users_model_is_left_as_it_is() -> None:
    """Its attention, its weights, transformers' own tables."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    model = tiny("deepseek").to_empty(device="cpu")
    before = {n: p.data_ptr() for n, p in model.named_parameters()}
    fxcost.generation(model, prompt=8, new_tokens=2).decode  # noqa: B018 - analysed
    assert model.config._attn_implementation == "sdpa"
    assert {n: p.data_ptr() for n, p in model.named_parameters()} == before
    assert "fxcost_fused" not in ALL_ATTENTION_FUNCTIONS
    assert not any("fxcost" in name for m in model.modules() for name in vars(m))


def test_windows() -> None:
    """Three layers that keep 7 tokens and see 8, and one that keeps all."""
    gen = fxcost.generation(tiny("gemma3"), prompt=30, new_tokens=2)
    each = 2 * 2 * 16 * 2  # keys and values of two heads, bfloat16
    assert gen.cache.bytes(context=30) == each * (30 + 3 * 7)
    assert (gen.cache.bytes_per_token, gen.cache.window_bytes) == (each, 3 * 7 * each)
    work = gen.decode_work
    assert work.attention_macs(1, 30) == 2 * 64 * (31 + 3 * 8)
    assert work.cache_bytes(1, 30) == gen.cache.bytes(context=30)


def test_latents_both_ways() -> None:
    """Absorbed: queries and results go through the halves of `kv_b_proj`; expanded: every latent does."""
    model = tiny("deepseek")
    heads, rank, turned, nope, value, have = 4, 16, 8, 16, 16, 50
    absorbed, expanded = (
        fxcost.generation(model, prompt=have, new_tokens=2, latents=how).step(have=have)
        for how in ("absorbed", "expanded")
    )
    pairs = 2 * heads * (have + 1)
    through = 2 * rank * heads * (nope + value)
    assert absorbed.macs - expanded.macs == (
        pairs * (2 * rank + turned) + through - pairs * (nope + turned + value) - through * (have + 1)
    )
    auto = fxcost.generation(model, prompt=have, new_tokens=2)
    assert (auto.step(have=have).macs, auto.prefill.macs) == (
        absorbed.macs, fxcost.generation(model, prompt=have, new_tokens=2, latents="expanded").prefill.macs,
    )  # fmt: skip
    assert auto.cache.kinds == {"latent": 2}
    assert auto.cache.bytes_per_token == 2 * (rank + turned) * 2


def test_experts_touched_are_those_of_all_choices() -> None:
    """The expectation against every choice of k different experts by each token, in fractions."""
    for experts, chosen, tokens in ((4, 2, 1), (4, 2, 2), (5, 2, 2), (4, 3, 2), (4, 1, 3)):
        choices = list(combinations(range(experts), chosen))
        found = [len(set().union(*c)) for c in product(choices, repeat=tokens)]
        assert touched(experts, chosen, tokens, "uniform") == Fraction(sum(found), len(found))
    assert touched(8, 2, 2, "uniform") == Fraction(7, 2)
    assert [touched(8, 2, 5, s) for s in ("all", "fewest", 3, 1)] == [8, 2, 3, 2]
    with pytest.raises(fxcost.InputError, match="give 'uniform'"):
        touched(8, 2, 1, "skewed")


def test_experts_are_read_as_they_are_touched() -> None:
    """Mixtral, two requests: 3.5 of 8 experts are expected, each of 3 · 64 · 96 numbers in two layers."""
    model = tiny("mixtral")
    gen = fxcost.generation(model, prompt=8, new_tokens=2)
    expert = 2 * 3 * 64 * 96 * 2
    work = gen.decode_work
    assert work.weight_bytes(2, "uniform") - work.weight_bytes(2, "fewest") == Fraction(3, 2) * expert
    assert work.weight_bytes(2, "all") - work.weight_bytes(2, "fewest") == 6 * expert
    assert gen.weights.params - gen.weights.active_params == 6 * expert // 2


def test_whisper() -> None:
    """An encoder-decoder: the encoder runs in the prompt, its keys and values are kept, a token attends to both."""
    config = transformers.WhisperConfig(
        d_model=32, encoder_layers=1, decoder_layers=2, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=64, decoder_ffn_dim=64, num_mel_bins=16, vocab_size=80, max_source_positions=50,
        max_target_positions=64, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
    )  # fmt: skip
    with torch.device("meta"):
        model = transformers.WhisperForConditionalGeneration._from_config(config, dtype=torch.bfloat16).eval()
    gen = fxcost.generation(model, new_tokens=20)
    assert gen.cache.kinds == {"full": 2, "cross": 2}
    assert gen.cache.bytes(context=10) == 2 * (2 * 32 * 10 + 2 * 32 * 50) * 2
    step = gen.step(have=10)
    layer = 4 * 32 * 32 + 2 * 32 * 32 + 2 * 32 * 64  # own attention, queries and results of the other, MLP
    assert step.macs == 2 * (layer + 64 * 11 + 64 * 50) + 32 * 80
    assert gen.prefill.macs > step.macs + 50 * 32 * 32


def test_text_after_an_image() -> None:
    """The vision tower runs in the prompt, whose tokens its patches stand for; decoding is that of text alone."""
    config = transformers.LlavaConfig(
        vision_config={
            "model_type": "clip_vision_model", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
            "num_attention_heads": 2, "image_size": 28, "patch_size": 14, "projection_dim": 16,
        },
        text_config={
            "model_type": "llama", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 100,
        },
        image_token_index=99,
    )  # fmt: skip
    with torch.device("meta"):
        model = transformers.LlavaForConditionalGeneration._from_config(config, dtype=torch.bfloat16).eval()
    ids = torch.cat((torch.full((1, 4), 99), torch.arange(20)[None]), 1)
    image = {"input_ids": ids, "pixel_values": fxcost.spec(1, 3, 28, 28, dtype="bfloat16")}
    seen = fxcost.generation(model, prompt=24, new_tokens=8, extra=image)
    text = fxcost.generation(model, prompt=24, new_tokens=8)
    tower = 4 * 3 * 14 * 14 * 32  # patches; a class token beside four of them goes through the layers
    tower += 2 * (5 * (4 * 32 * 32 + 2 * 32 * 64) + 2 * 32 * 25) + 4 * (32 * 64 + 64 * 64)
    assert seen.prefill.cost.masked_macs - text.prefill.cost.masked_macs == tower
    assert seen.decode.macs == text.decode.macs


class Own(nn.Module):
    """One layer with a cache of keys and values that is handed in and out."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.qkv, self.head = nn.Embedding(50, 16), nn.Linear(16, 48), nn.Linear(16, 50)

    def forward(self, ids: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> Any:
        q, k, v = self.qkv(self.embed(ids)).chunk(3, -1)
        keys, values = torch.cat((keys, k), 1), torch.cat((values, v), 1)
        y = nn.functional.scaled_dot_product_attention(q, keys, values)
        return self.head(y[:, -1]), keys, values


def own_inputs(new: int, have: int, batch: int) -> dict[str, Any]:
    """What it is called with."""
    kept = fxcost.spec(batch, have, 16)
    return {"ids": fxcost.spec(batch, new, dtype="int64"), "keys": kept, "values": kept}


def test_an_own_module_with_a_cache() -> None:
    """Steps, cache and bounds of a model that no library knows."""
    gen = fxcost.generation(Own(), prompt=10, new_tokens=5, inputs=own_inputs)
    assert gen.step(have=10).macs == 16 * 48 + 2 * 16 * 11 + 16 * 50
    assert gen.cache.bytes(context=10, batch=2) == 2 * 10 * 2 * 16 * 4
    work = gen.decode_work
    assert work.matmul_macs(3) + work.attention_macs(3, 7) == 3 * (16 * 48 + 2 * 16 * 8 + 16 * 50)
    bounds = gen.bounds("a100")
    read = 4 * (16 * 48 + 48 + 16 * 50 + 50 + 16)
    assert bounds.decode_time(10).weights_s == pytest.approx(read / 2039e9)


def test_as_written_is_what_transformers_itself_does() -> None:
    """The default cache is copied whole in each step, which a serving engine does not do."""
    model = tiny("llama")
    fused = fxcost.generation(model, prompt=40, new_tokens=2).step(have=40)
    written = fxcost.generation(
        model, prompt=40, new_tokens=2, attention="as written", cache="as written"
    ).step(have=40)  # fmt: skip
    assert written.macs == fused.macs
    kept = 2 * 2 * 40 * 2 * 16 * 2  # layers, keys and values, tokens, heads, size, bytes
    assert written.cost.bytes_written - fused.cost.bytes_written >= kept
    assert "aten.cat.default" in written.by_operator()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"model": nn.Linear(2, 2)}, "does not generate text"),
        ({"model": "hf:vit"}, "has no causal LM|does not generate text"),
        ({"prompt": 60, "new_tokens": 20}, "80 tokens are more than the 64 positions"),
        ({"prompt": 0}, "at least 1"),
        ({"attention": "flash"}, "choose from fused, as written"),
        ({"experts": "many"}, "give 'uniform'"),
        ({"kv": "int3"}, "no stored format 'int3'"),
        ({"weights": {"nothing.*": "int8"}}, "fits the name of no weight"),
        ({"weights": "int4:g7"}, "groups of 7 do not divide"),
    ],
)
def test_bad_input_is_one_clear_line(arguments: dict[str, Any], said: str) -> None:
    """What can't be served, or asked for."""
    given = {"model": tiny("gpt2"), "prompt": 8, "new_tokens": 2, **arguments}
    with pytest.raises(fxcost.FxcostError, match=said):
        fxcost.generation(given.pop("model"), **given).weights  # noqa: B018 - asked for
