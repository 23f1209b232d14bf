"""Small configurations of causal LMs of transformers: few layers, and few of what repeats."""

from __future__ import annotations

import runpy
from functools import cache
from pathlib import Path
from typing import Any

import torch
import transformers

LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers")
"""What the number of layers is called."""
WINDOWS = {"sliding_window": 0, "attention_chunk_size": 1}
"""What the size of a window is called, and how much more than asked for it gets: contexts are multiples of chunks."""
_ZOO = Path(__file__).parents[2] / "benchmarks" / "zoo_hf.py"


def causal_types() -> list[str]:
    """Every model type that transformers has a causal LM for."""
    return sorted(_causal()._model_mapping)


def _causal() -> Any:
    return transformers.models.auto.modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING


@cache
def published() -> dict[str, dict[str, Any]]:
    """Entries that published checkpoints set, for types whose default configuration can't do without (zoo_hf.py)."""
    found: dict[str, dict[str, Any]] = runpy.run_path(str(_ZOO))["ARGUMENTS"]
    return {**found, "blt": {}}  # the zoo has no cache in one pass


def config_of(kind: str, layers: int | None, window: int | None) -> Any:
    """The configuration of a type with so many layers, or a few more so that every kind of layer is there."""
    given = published().get(kind, {})
    config = transformers.CONFIG_MAPPING[kind](**given)
    text = config.get_text_config(decoder=True) if hasattr(config, "get_text_config") else config
    if layers is not None:
        kinds = list(getattr(text, "layer_types", None) or ())
        layers = max([layers, *(1 + kinds.index(one) for one in set(kinds))])
        names = [name for name in LAYERS if isinstance(getattr(text, name, None), int)]
        fewer = {name: min(layers, getattr(text, name)) for name in names}
        try:
            if text is not config:
                raise TypeError("its parts are configured by themselves")
            text = config = type(config)(**{**given, **fewer})
        except Exception:  # what a class derives from the number of layers is written out here
            for name, number in fewer.items():
                setattr(text, name, number)
        for name in ("layer_types", "mlp_layer_types"):
            if len(getattr(text, name, None) or ()) > layers:
                setattr(text, name, list(getattr(text, name))[:layers])
    for name, more in WINDOWS.items():
        if window is not None and isinstance(getattr(text, name, None), int):
            setattr(text, name, window + more)
    return config


def model_of(kind: str, layers: int | None = 2, window: int | None = None) -> torch.nn.Module:
    """The causal LM of a type, on meta, in bfloat16."""
    config = config_of(kind, layers, window)
    with torch.device("meta"):
        made: torch.nn.Module = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    return made.eval()


def tiny(kind: str) -> torch.nn.Module:
    """One of a few families in sizes that a hand count can follow, on meta, in bfloat16."""
    base = {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "vocab_size": 100}
    gqa = {**base, "num_key_value_heads": 2}
    made: dict[str, Any] = {
        "llama": lambda: transformers.LlamaConfig(**gqa, num_hidden_layers=2),
        "gemma3": lambda: transformers.Gemma3TextConfig(
            **gqa, num_hidden_layers=4, head_dim=16, sliding_window=8,
            layer_types=["sliding_attention"] * 3 + ["full_attention"],
        ),
        "gpt_oss": lambda: transformers.GptOssConfig(
            **{**gqa, "intermediate_size": 64}, num_hidden_layers=2, head_dim=16, sliding_window=8,
            num_local_experts=4, num_experts_per_tok=2,
        ),
        "mixtral": lambda: transformers.MixtralConfig(
            **gqa, num_hidden_layers=2, num_local_experts=8, num_experts_per_tok=2
        ),
        "deepseek": lambda: transformers.DeepseekV3Config(
            **base, num_key_value_heads=4, moe_intermediate_size=32, num_hidden_layers=2, n_routed_experts=8, n_group=2,
            topk_group=1, num_experts_per_tok=2, first_k_dense_replace=1, kv_lora_rank=16, q_lora_rank=24,
            qk_rope_head_dim=8, qk_nope_head_dim=16, v_head_dim=16,
        ),
        "falcon_h1": lambda: transformers.FalconH1Config(
            **gqa, num_hidden_layers=2, mamba_d_ssm=64, mamba_n_heads=4, mamba_d_head=16, mamba_d_state=8
        ),
        "llama4": lambda: transformers.Llama4TextConfig(
            **gqa, intermediate_size_mlp=96, num_hidden_layers=4, head_dim=16, attention_chunk_size=8,
            num_local_experts=4, num_experts_per_tok=1,
        ),
        "gpt2": lambda: transformers.GPT2Config(n_embd=64, n_layer=2, n_head=4, vocab_size=100, n_positions=64),
    }  # fmt: skip
    config = made[kind]()
    mapping = _causal()
    classes = {"gemma3": transformers.Gemma3ForCausalLM, "llama4": transformers.Llama4ForCausalLM}
    with torch.device("meta"):
        model: torch.nn.Module = (
            (classes.get(kind) or mapping[type(config)])._from_config(config, dtype=torch.bfloat16).eval()
        )
    return model
