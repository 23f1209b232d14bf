"""The model libraries of the sweep: their models' names, and how to build and feed each.

torchvision, timm and transformers are built just as the command line builds them; the others are here only.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import zoo_diffusers

from fxcost.inputs import spec
from fxcost.load import build
from fxcost.load import load as load_spec
from fxcost.shapes import Inputs, with_data
from fxcost.sources import hf

__all__ = ["LIBRARIES", "load", "names", "with_data"]

Made = tuple[torch.nn.Module, Callable[[], Inputs]]
"""A model, and what gives its inputs."""


def _torchvision() -> list[str]:
    import torchvision

    names = torchvision.models.list_models()
    return names + [f"{name} quantize=True" for name in names if name.startswith("quantized_")]


def _timm() -> list[str]:
    import timm

    return timm.list_models()


_HALF_ROTARY = "{'rope_theta':1e4,'rope_type':'default','partial_rotary_factor':0.5,'mrope_section':[8,12,12]}"
_EXPERTS = "n_routed_experts=64 n_shared_experts=2 num_experts_per_tok=6 n_group=1 topk_group=1"
NEED_ARGUMENTS = {
    **dict.fromkeys(("autoformer", "informer", "time_series_transformer"), "prediction_length=24"),
    **dict.fromkeys(("hunyuan_v1_dense", "hunyuan_v1_moe", "ministral"), "head_dim=128"),
    **dict.fromkeys(("glm4v", "glm46v", "glmga", "glm_image"), f"text_config={{'rope_parameters':{_HALF_ROTARY}}}"),
    **dict.fromkeys(("glm4v_text", "glm_image_text"), f"rope_parameters={_HALF_ROTARY}"),
    "aya_vision": "vision_config={'num_attention_heads':16}",
    **dict.fromkeys(("blip-2", "instructblip"), "image_token_index=5"),
    "bamba": "attn_layer_indices=[9,18,27]",
    "deepseek_v2": _EXPERTS,
    "dots1": _EXPERTS,
    "esm": "vocab_size=33 mask_token_id=32 pad_token_id=1",
    "glm4v_moe": "text_config={'head_dim':128}",
    "glm4v_moe_text": "num_attention_heads=32",
    "granitemoehybrid": "layer_types=['linear_attention','full_attention'] num_hidden_layers=2",
    "lfm2_moe": "layer_types=['conv','conv','full_attention'] num_hidden_layers=3",
    "nemotron": "num_key_value_heads=8",
    "timm_backbone": "backbone='resnet50'",
    "xmod": "default_language='en_XX'",
}
"""Model types of transformers whose default configuration lacks an entry, or has one that does not fit the others."""


def _hf() -> list[str]:
    """Every model type, with the arguments that its default configuration can't do without."""
    return [f"{name} {NEED_ARGUMENTS[name]}" if name in NEED_ARGUMENTS else name for name in hf.model_types()]


def _by_spec(library: str, name: str, real: bool) -> Made:
    """Also with arguments: `quantized_resnet18 quantize=True`, whose integer weights exist only on the CPU."""
    name, *pairs = name.split(" ")
    arguments = {key: ast.literal_eval(value) for key, _, value in (pair.partition("=") for pair in pairs)}
    quantized = "quantize" in arguments
    loaded = load_spec(f"{library}:{name}", arguments, real=real or quantized)
    if quantized:
        return loaded.model, lambda: with_data(loaded.default_inputs())
    return loaded.model, loaded.default_inputs


# ---------------------------------------------------------------------------------- open_clip, segmentation, torchaudio


def _open_clip() -> list[str]:
    import open_clip

    return sorted(open_clip.list_models())


def _make_open_clip(name: str, real: bool) -> Made:
    import open_clip

    make = partial(open_clip.create_model, name, pretrained=None, pretrained_hf=False, load_weights=False)
    model: Any = build(name, make, real=real).eval()
    size = model.visual.image_size
    height, width = (size, size) if isinstance(size, int) else size
    length = getattr(model, "context_length", None) or getattr(model.text, "context_length", 77)
    text = torch.arange(1, length + 1).reshape(1, length)
    return model, lambda: Inputs((spec(1, 3, height, width), text))


ENCODERS = {"": ("resnet34", "mobilenet_v2", "efficientnet-b0"), "DPT": ("tu-vit_base_patch16_224.augreg_in21k",)}


def _segmentation() -> list[str]:
    """Every architecture, with three encoders of different kinds."""
    import segmentation_models_pytorch as smp

    decoders = [cls.__name__ for cls in smp._MODEL_ARCHITECTURES]
    return [f"{d} {e}" for d in decoders for e in ENCODERS.get(d, ENCODERS[""])]


def _make_segmentation(name: str, real: bool) -> Made:
    import segmentation_models_pytorch as smp

    decoder, encoder = name.split(" ")
    make = partial(getattr(smp, decoder), encoder_name=encoder, encoder_weights=None)
    size = 224 if decoder == "DPT" else 256
    return build(name, make, real=real).eval(), lambda: Inputs((spec(1, 3, size, size),))


_SECOND = spec(1, 16_000)
_AUDIO: dict[str, Inputs] = {
    "conv_tasnet_base": Inputs((spec(1, 1, 16_000),)),
    "emformer_rnnt_base 4097": Inputs(
        (spec(1, 128, 80), torch.tensor([128]), torch.zeros(1, 20, dtype=torch.int32), torch.tensor([20]))
    ),
    "hdemucs_low": Inputs((spec(1, 2, 44_100),)),
    "hdemucs_medium": Inputs((spec(1, 2, 44_100),)),
    "hdemucs_high": Inputs((spec(1, 2, 44_100),)),
    "hubert_base": Inputs((_SECOND,)),
    "hubert_large": Inputs((_SECOND,)),
    "hubert_xlarge": Inputs((_SECOND,)),
    "squim_objective_base": Inputs((_SECOND,)),
    "squim_subjective_base": Inputs((_SECOND, _SECOND)),
    "wav2vec2_base": Inputs((_SECOND,)),
    "wav2vec2_large": Inputs((_SECOND,)),
    "wav2vec2_large_lv60k": Inputs((_SECOND,)),
    "wav2vec2_xlsr_300m": Inputs((_SECOND,)),
    "wav2vec2_xlsr_1b": Inputs((_SECOND,)),
    "wav2vec2_xlsr_2b": Inputs((_SECOND,)),
    "wavlm_base": Inputs((_SECOND,)),
    "wavlm_large": Inputs((_SECOND,)),
    "Wav2Letter": Inputs((spec(1, 1, 16_000),)),
    "DeepSpeech 80": Inputs((spec(1, 1, 100, 80),)),
    "Conformer 80 4 128 4 31": Inputs((spec(1, 100, 80), torch.tensor([100]))),
    "Tacotron2": Inputs(
        (torch.zeros(1, 20, dtype=torch.int64), torch.tensor([20]), spec(1, 80, 50), torch.tensor([50]))
    ),
}
"""torchaudio's builders, with positional arguments where they need some, and one second of sound."""


def _make_audio(name: str, real: bool) -> Made:
    import torchaudio

    builder, *arguments = name.split(" ")
    values = [["drums", "bass", "other", "vocals"]] if "hdemucs" in name else [int(a) for a in arguments]
    make = partial(getattr(torchaudio.models, builder), *values)
    return build(name, make, real=real).eval(), lambda: _AUDIO[name]


LIBRARIES: dict[str, tuple[Callable[[], list[str]], Callable[[str, bool], Made]]] = {
    "torchvision": (_torchvision, partial(_by_spec, "torchvision")),
    "timm": (_timm, partial(_by_spec, "timm")),
    "hf": (_hf, partial(_by_spec, "hf")),
    "diffusers": (zoo_diffusers.names, zoo_diffusers.make),
    "torchaudio": (lambda: list(_AUDIO), _make_audio),
    "open_clip": (_open_clip, _make_open_clip),
    "smp": (_segmentation, _make_segmentation),
}


def names(library: str) -> list[str]:
    """Names of all models of a library."""
    return LIBRARIES[library][0]()


def load(library: str, name: str, *, real: bool = False) -> Made:
    """Build a model in eval mode: on meta but for small tensors, or with `real` entirely on the CPU."""
    return LIBRARIES[library][1](name, real)
