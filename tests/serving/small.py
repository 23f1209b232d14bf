"""Small configurations of causal LMs of transformers: few layers, and few of what repeats."""

from __future__ import annotations

from typing import Any

import torch
import transformers

LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers")
"""What the number of layers is called."""


def causal_types() -> list[str]:
    """Every model type that transformers has a causal LM for."""
    mapping = transformers.models.auto.modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING
    return sorted(mapping._model_mapping)


def config_of(kind: str, layers: int | None = 2) -> Any:
    """The default configuration of a type with so many layers, where its class takes that."""
    made = transformers.CONFIG_MAPPING[kind]
    default = made()
    text = default.get_text_config(decoder=True) if hasattr(default, "get_text_config") else default
    name = next((n for n in LAYERS if isinstance(getattr(text, n, None), int)), None)
    if layers is None or name is None or text is not default:
        return default
    try:
        config = made(**{name: layers})
    except Exception:
        return default
    kinds = getattr(config, "layer_types", None)
    if isinstance(kinds, list) and len(kinds) > layers:
        config.layer_types = kinds[:layers]
    return config


def model_of(kind: str, layers: int | None = 2) -> torch.nn.Module:
    """The causal LM of a type, on meta, in bfloat16."""
    config = config_of(kind, layers)
    model_class = transformers.models.auto.modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    with torch.device("meta"):
        model: torch.nn.Module = model_class._from_config(config, dtype=torch.bfloat16).eval()
    return model
