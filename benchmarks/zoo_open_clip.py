"""open_clip in the sweep: every configuration, on an image and a text of the lengths that it says.

Where the text is encoded by a model of transformers, open_clip asks the hub for that model's configuration; `TEXT` has
what the hub would answer, so that nothing is downloaded.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from fxcost.model.inputs import spec
from fxcost.sources.load import build
from fxcost.sources.shapes import Inputs

Made = tuple[torch.nn.Module, Callable[[], Inputs]]
DEFAULT_LENGTH = 77
"""Tokens of a text, where a configuration doesn't say."""


def names() -> list[str]:
    """Every configuration."""
    import open_clip

    return sorted(open_clip.list_models())


def make(name: str, real: bool) -> Made:
    """A model and its inputs."""
    import open_clip

    text = open_clip.get_model_config(name)["text_cfg"]
    length = text.get("context_length", DEFAULT_LENGTH)
    ids = torch.arange(10, 10 + length).reshape(1, length)

    with TemporaryDirectory() as folder:

        def construct() -> Any:
            changed = {"text_cfg": _from_disk(text, Path(folder))} if "hf_model_name" in text else {}
            return open_clip.create_model(name, load_weights=False, pretrained_hf=False, **changed)

        model: Any = build(name, construct, real=real).eval()
    size = model.visual.image_size
    height, width = (size, size) if isinstance(size, int) else size
    return model, lambda: Inputs((spec(1, 3, height, width), ids))


def _from_disk(text: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """A text tower whose configuration is read from `folder`, where it is written."""
    (folder / "config.json").write_text(json.dumps(TEXT[text["hf_model_name"]]))
    return {**text, "hf_model_name": str(folder), "hf_model_pretrained": False}


_ROBERTA = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "max_position_embeddings": 514}
_ROBERTA |= {"type_vocab_size": 1, "layer_norm_eps": 1e-5}
_LARGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
_MT5 = {"model_type": "mt5", "vocab_size": 250_112, "feed_forward_proj": "gated-gelu", "d_kv": 64}
_NLLB = {"model_type": "m2m_100", "vocab_size": 256_206, "d_model": 1024, "max_position_embeddings": 1024}


def _nllb(layers: int, width: int) -> dict[str, Any]:
    sizes = {"layers": layers, "ffn_dim": width}
    return {**_NLLB, **{f"{part}_{key}": n for part in ("encoder", "decoder") for key, n in sizes.items()}}


TEXT: Mapping[str, Mapping[str, Any]] = {
    "roberta-base": {"model_type": "roberta", "vocab_size": 50_265, **_ROBERTA},
    "xlm-roberta-base": {"model_type": "xlm-roberta", "vocab_size": 250_002, **_ROBERTA},
    "xlm-roberta-large": {"model_type": "xlm-roberta", "vocab_size": 250_002, **_ROBERTA, **_LARGE},
    "google/mt5-base": {**_MT5, "d_model": 768, "d_ff": 2048, "num_layers": 12, "num_heads": 12},
    "google/mt5-xl": {**_MT5, "d_model": 2048, "d_ff": 5120, "num_layers": 24, "num_heads": 32},
    "facebook/nllb-200-distilled-600M": _nllb(12, 4096),
    "facebook/nllb-200-distilled-1.3B": _nllb(24, 8192),
}
"""Configurations of text encoders, by their names on the hub."""
