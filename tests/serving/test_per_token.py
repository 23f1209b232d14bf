"""FLOPs by lengths of sequences: against analyses of the real step, hand counts, and what trainers' own tests print."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from torch import nn

import fxcost
from fxcost.serving.attention import registered, use_fused
from fxcost.serving.models import without_weights


def llama(**more: Any) -> torch.nn.Module:
    """A small Llama, on meta."""
    sizes = {
        "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "vocab_size": 64,
    }  # fmt: skip
    config = transformers.LlamaConfig(**{**sizes, **more})
    with torch.device("meta"):
        model: torch.nn.Module = transformers.LlamaForCausalLM._from_config(config, dtype=torch.bfloat16)
    return model


def gemma(window: int) -> torch.nn.Module:
    """Three sliding layers and a full one."""
    config = transformers.Gemma3TextConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2,
        head_dim=8, vocab_size=64, sliding_window=window,
        layer_types=["sliding_attention"] * 3 + ["full_attention"],
    )  # fmt: skip
    with torch.device("meta"):
        model: torch.nn.Module = transformers.Gemma3ForCausalLM._from_config(config, dtype=torch.bfloat16)
    return model


def step(model: torch.nn.Module, length: int) -> tuple[int, int]:
    """Forward and backward FLOPs of products, from an analysis of the step at this very length."""
    own = without_weights(model)
    use_fused(own)
    with registered():
        ids = {"input_ids": fxcost.spec(1, length, dtype="int64"), "use_cache": False}
        training = fxcost.analyze(own, ids, training=True).training
    assert training is not None
    return 2 * training.forward.masked_macs, 2 * training.backward.masked_macs


def test_a_packed_batch_is_the_sum_of_analyses_of_its_sequences() -> None:
    """At lengths below, at and above the window, none of them one that the formula was made from."""
    model = gemma(100)
    found = fxcost.per_token(model)(seq_lens=[50, 100, 333, 50])
    alone = [step(model, n) for n in (50, 100, 333, 50)]
    assert (found.forward, found.backward) == (sum(f for f, _ in alone), sum(b for _, b in alone))
    assert found.tokens == 533
    assert found.backward == 2 * found.forward


def test_the_hand_count_of_a_llama() -> None:
    """6 · weights in products a token, and three times four products over the causal pairs of each sequence."""
    model = llama()
    weights = sum(p.numel() for n, p in model.named_parameters() if p.dim() == 2 and "embed" not in n)
    pairs = sum(n * (n + 1) // 2 for n in (7, 40))
    expected = 6 * weights * 47 + 3 * 2 * 2 * (2 * 32) * pairs
    assert fxcost.per_token(model)(seq_lens=[7, 40]).total == expected


def test_what_is_frozen_takes_no_gradient_of_its_own() -> None:
    """Adapters on frozen projections: the backward pass is that of an analysis, and less than twice the forward."""

    class Adapted(nn.Module):
        def __init__(self, base: nn.Linear) -> None:
            super().__init__()
            self.base = base
            self.down, self.up = nn.Linear(base.in_features, 2, bias=False), nn.Linear(2, base.out_features, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.base(x) + self.up(self.down(x))
            return out

    model = llama()
    model.requires_grad_(False)
    with torch.device("meta"):
        for layer in model.model.layers:
            layer.self_attn.q_proj = Adapted(layer.self_attn.q_proj).to(torch.bfloat16)
    found = fxcost.per_token(model)(seq_lens=[77, 150])
    alone = [step(model, n) for n in (77, 150)]
    assert (found.forward, found.backward) == (sum(f for f, _ in alone), sum(b for _, b in alone))
    assert found.backward < 1.5 * found.forward


def test_an_own_model_needs_its_inputs() -> None:
    """A module that no library knows, causal attention in it, and what is said without inputs=."""

    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv, self.out = nn.Linear(16, 48), nn.Linear(16, 16)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            q, k, v = self.qkv(x).chunk(3, -1)
            y: torch.Tensor = self.out(nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True))
            return y

    found = fxcost.per_token(Own(), lambda n: [(1, n, 16)])(seq_lens=[10, 31])
    pairs = 10 * 11 // 2 + 31 * 32 // 2
    forward = 2 * (41 * (16 * 48 + 16 * 16) + 32 * pairs)
    assert found.forward == forward
    assert found.backward == 2 * forward - 2 * 41 * 16 * 48  # the input takes no gradient
    with pytest.raises(fxcost.InputError, match="needs inputs="):
        fxcost.per_token(Own())


def test_work_that_is_padded_is_no_formula() -> None:
    """A model that pads its sequences to a multiple: said, not fitted."""

    class Padded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.l = nn.Linear(8, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            missing = -x.shape[1] % 100
            y: torch.Tensor = self.l(nn.functional.pad(x, (0, 0, 0, missing)))
            return y

    with pytest.raises(fxcost.FormulaError, match="at a length of 320"):
        fxcost.per_token(Padded(), lambda n: [(1, n, 8)])


def test_mfu_is_flops_over_what_the_devices_could_have_done() -> None:
    """Exact, under a convention, and its errors."""
    found = fxcost.per_token(llama())
    flops = found(seq_lens=[128, 128]).total
    assert found.mfu(2.0, "NVIDIA H100 80GB HBM3", devices=4) == pytest.approx(flops / (2 * 4 * 989.5e12))
    palm = found.count("palm", [128, 128])
    assert found.mfu(1.0, "a100", "palm", seq_lens=[128, 128]) == pytest.approx(palm / 312e12)
    with pytest.raises(fxcost.InputError, match="time above 0"):
        found.mfu(0.0, "a100")
    with pytest.raises(fxcost.ConventionError, match="counts no training"):
        found.count("thop", [1])
    with pytest.raises(fxcost.InputError, match="lengths of sequences"):
        found([])


# verl's tests/utils/test_flops_counter.py, commit 7de1304f: configurations of nine model types, and what it expects for
# batches of [512, 1024, 2048] and [4096, 4096, 4096] tokens; of two more that read images of as many patches beside. Of
# its figures two types are missing, whose delta rule it reckons from entries of their configuration.
VERL: dict[str, tuple[Any, int, int]] = {
    "llama": (transformers.LlamaConfig(
        vocab_size=32000, hidden_size=4096, intermediate_size=11008, num_hidden_layers=32, num_attention_heads=32,
        num_key_value_heads=32), 149226491215872, 536372695793664),
    "qwen2": (transformers.Qwen2Config(
        vocab_size=152064, hidden_size=3584, intermediate_size=18944, num_hidden_layers=28, num_attention_heads=28,
        num_key_value_heads=4), 167073690943488, 591764889010176),
    "qwen3": (transformers.Qwen3Config(
        vocab_size=151936, hidden_size=4096, intermediate_size=12288, num_hidden_layers=36, num_attention_heads=32,
        num_key_value_heads=8, head_dim=128), 180997438046208, 648394032807936),
    "qwen3_moe": (transformers.Qwen3MoeConfig(
        hidden_size=2048, vocab_size=151936, num_hidden_layers=48, num_key_value_heads=4, num_attention_heads=32,
        head_dim=128, moe_intermediate_size=768, num_experts_per_tok=8, num_experts=128),
        78593069678592, 306570470621184),
    "deepseek_v3": (transformers.DeepseekV3Config(
        hidden_size=7168, vocab_size=129280, moe_intermediate_size=2048, num_hidden_layers=61, first_k_dense_replace=3,
        num_attention_heads=128, num_key_value_heads=128, n_routed_experts=256, num_experts_per_tok=8,
        n_shared_experts=1, kv_lora_rank=512, qk_rope_head_dim=64, v_head_dim=128, intermediate_size=18432,
        qk_nope_head_dim=128, q_lora_rank=1536), 848766538088448, 3145850406567936),
    "mistral": (transformers.MistralConfig(
        vocab_size=131072, hidden_size=5120, intermediate_size=32768, num_hidden_layers=40, num_attention_heads=32,
        num_key_value_heads=8, head_dim=128, sliding_window=None), 512303699066880, 1787393589903360),
    "gemma3_text": (transformers.Gemma3TextConfig(
        vocab_size=262208, hidden_size=3840, intermediate_size=15360, num_hidden_layers=48, num_attention_heads=16,
        num_key_value_heads=8, head_dim=256, sliding_window=1024), 279084659638272, 963929979224064),
    "gpt_oss": (transformers.GptOssConfig(
        vocab_size=201088, hidden_size=2880, num_hidden_layers=24, num_attention_heads=64, num_key_value_heads=8,
        head_dim=64, intermediate_size=2880, num_local_experts=32, num_experts_per_tok=4, sliding_window=128),
        91780464771072, 323953008574464),
    "apertus": (transformers.ApertusConfig(
        vocab_size=131072, hidden_size=4096, intermediate_size=21504, num_hidden_layers=32, num_attention_heads=32,
        num_key_value_heads=32), 194825353691136, 692711652851712),
}  # fmt: skip


VISION = {
    "deepstack_visual_indexes": [8, 16, 24], "num_heads": 16, "depth": 27, "hidden_size": 1152,
    "intermediate_size": 4304, "out_hidden_size": 4096, "spatial_merge_size": 2, "temporal_patch_size": 2,
    "in_channels": 3, "patch_size": 16,
}  # fmt: skip
VERL_VISION: dict[str, tuple[Any, int, int]] = {
    "qwen3_vl": (transformers.Qwen3VLConfig(vision_config=VISION, text_config={
        "vocab_size": 151936, "hidden_size": 4096, "intermediate_size": 12288, "num_hidden_layers": 36,
        "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128}), 192792370348032, 700575167545344),
    "qwen3_vl_moe": (transformers.Qwen3VLMoeConfig(vision_config=VISION, text_config={
        "vocab_size": 151936, "hidden_size": 2048, "num_hidden_layers": 48, "num_attention_heads": 32,
        "num_key_value_heads": 4, "head_dim": 128, "moe_intermediate_size": 768, "num_experts": 128,
        "num_experts_per_tok": 8}), 90388001980416, 358751605358592),
}  # fmt: skip


def counted(model: torch.nn.Module, inputs: dict[str, Any]) -> Any:
    """What trainers' formulas read of a model."""
    from fxcost.conventions.seen import Seen
    from fxcost.conventions.trainers import trained

    use_fused(model)
    with registered():
        return trained(Seen(fxcost.analyze(model, inputs, capture="concrete")))


@pytest.mark.zoo
@pytest.mark.parametrize("kind", VERL_VISION)
def test_verls_figures_with_images_to_the_digit(kind: str) -> None:
    """The text on tokens and the vision tower on patches, each by the same formula; its mergers see a quarter."""
    from fxcost.conventions.trainers import training_flops

    config, packed, full = VERL_VISION[kind]
    model_class = transformers.models.auto.modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING[type(config)]
    with torch.device("meta"):
        model = model_class._from_config(config, dtype=torch.bfloat16)
    text = counted(model, {"input_ids": fxcost.spec(1, 64, dtype="int64"), "use_cache": False})
    patches = {"hidden_states": fxcost.spec(64, 3 * 2 * 16 * 16), "grid_thw": torch.tensor([[1, 8, 8]])}
    vision = counted(model.model.visual, patches)
    for lengths, expected in (([512, 1024, 2048], packed), ([4096] * 3, full)):
        assert training_flops(text, "verl", lengths) + training_flops(vision, "verl", lengths) == expected


@pytest.mark.zoo
@pytest.mark.parametrize("kind", VERL)
def test_verls_own_test_figures_to_the_digit(kind: str) -> None:
    """Sizes are read off one analysis of the model, not off its configuration."""
    from fxcost.conventions.trainers import training_flops

    config, packed, full = VERL[kind]
    mapping = transformers.models.auto.modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING
    with torch.device("meta"):
        model = mapping[type(config)]._from_config(config, dtype=torch.bfloat16)
    seen = counted(model, {"input_ids": fxcost.spec(1, 64, dtype="int64"), "use_cache": False})
    assert training_flops(seen, "verl", [512, 1024, 2048]) == packed
    assert training_flops(seen, "verl", [4096] * 3) == full


@pytest.mark.zoo
def test_torchtitans_published_mfu() -> None:
    """Llama 3.1 8B on H100s, 8,192 tokens: 5,762 and 6,667 tokens/s a GPU are published as "33 % to 39 % MFU".

    Source: torchtitan, benchmarks/llama3_h100_202412_torchtitan.md.
    """
    model = llama(
        hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32, num_key_value_heads=8,
        vocab_size=128256, max_position_embeddings=8192,
    )  # fmt: skip
    found = fxcost.per_token(model)
    shares = [found.mfu(8192 / rate, "h100", "torchtitan", seq_lens=[8192]) for rate in (5762, 6667)]
    assert [round(100 * share) for share in shares] == [34, 39]


GOLDEN = {  # GFLOP a token at 4,096 tokens, of Llama 3 8B, by the tools' formulas from its configuration
    "maxtext": 51.4704, "torchtitan": 51.4720, "megatron": 48.2492, "palm": 54.6240, "nanogpt": 54.6240,
    "hf-trainer": 45.0295, "litgpt": 54.6240, "lingua": 48.7876, "verl": 51.4012, "6nd": 48.1816,
}  # fmt: skip


def test_trainers_conventions_on_llama_3_8b() -> None:
    """To four decimals, and reconciled with our own count term by term."""
    model = llama(
        hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32, num_key_value_heads=8,
        vocab_size=128256,
    )  # fmt: skip
    report = fxcost.analyze(model, {"input_ids": fxcost.spec(1, 4096, dtype="int64"), "use_cache": False})
    assert {name: round(report.count(name) / 4096 / 1e9, 4) for name in GOLDEN} == GOLDEN
    for found in report.reconcile(*GOLDEN):
        assert found.ours + sum(term.amount for term in found.terms) == found.theirs == report.count(found.convention)
    norms = report.count("torchtitan") - report.count("maxtext")
    assert norms == 6 * 4096 * 65 * 4096  # of 65 norms


def test_gpt2s_positions_are_no_parameters_to_nanogpt() -> None:
    """6 · 1,024 · 768 less than PaLM's count, a token; tied weights count once."""
    with torch.device("meta"):
        model = transformers.GPT2LMHeadModel._from_config(transformers.GPT2Config(n_layer=2), dtype=torch.bfloat16)
    report = fxcost.analyze(model, {"input_ids": fxcost.spec(1, 256, dtype="int64"), "use_cache": False})
    assert report.count("palm") - report.count("nanogpt") == 6 * 1024 * 768 * 256
    assert report.count("6nd") == 6 * report.params * 256
