"""The model libraries of the sweep: their models' names, and how to build and feed each.

torchvision, timm and transformers are built just as the command line builds them; the others are here only.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch.utils import _pytree as pytree

from fxcost.inputs import InputSpec, spec
from fxcost.load import build
from fxcost.load import load as load_spec
from fxcost.shapes import Inputs
from fxcost.sources import hf

Made = tuple[torch.nn.Module, Callable[[], Inputs]]
"""A model, and what gives its inputs."""


def _torchvision() -> list[str]:
    import torchvision

    names = torchvision.models.list_models()
    return names + [f"{name} quantize=True" for name in names if name.startswith("quantized_")]


def _timm() -> list[str]:
    import timm

    return timm.list_models()


NEED_ARGUMENTS = dict.fromkeys(("autoformer", "informer", "time_series_transformer"), "prediction_length=24")
"""Model types of transformers whose configuration has an entry without a default."""


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


# ----------------------------------------------------------------------------------------------------------- diffusers


def _diffusers() -> list[str]:
    """Every model class; those that can't be made from a default configuration fail as "build"."""
    import diffusers

    found = [n for n in dir(diffusers) if inspect.isclass(getattr(diffusers, n, None))]
    models = [n for n in found if issubclass(getattr(diffusers, n), diffusers.ModelMixin)]
    return [n for n in models if n != "ModelMixin"]


def _make_diffusers(name: str, real: bool) -> Made:
    import diffusers

    model = build(name, partial(getattr(diffusers, name)), real=real).eval()
    return model, lambda: _diffusion_inputs(model)


def _diffusion_inputs(model: Any) -> Inputs:
    """Latents of the configured size, a text of 77 tokens, a time: by the names of forward's arguments."""
    config: Mapping[str, Any] = model.config
    parameters = inspect.signature(model.forward).parameters
    needed = [p.name for p in parameters.values() if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    asked = ["timestep", "encoder_hidden_states", "pooled_projections", "img_ids", "txt_ids"]
    asked += ["encoder_attention_mask"] if "Kandinsky3" in type(model).__name__ else []
    asked += ["guidance"] if config.get("guidance_embeds") else []
    asked += ["added_cond_kwargs"] if "PixArt" in type(model).__name__ else []
    names = [n for n in parameters if n in needed or (n in asked and "AutoencoderKL" not in type(model).__name__)]
    return Inputs((), {n: _diffusion_input(n, config, type(model).__name__) for n in names})


def _diffusion_input(name: str, config: Mapping[str, Any], kind: str) -> Any:
    def first(*keys: str, default: Any) -> Any:
        return next((config[k] for k in keys if config.get(k) is not None), default)

    channels = first("in_channels", "latent_channels", default=3)
    size = first("sample_size", default=64)
    height, width = (size, size) if isinstance(size, int) else (size[0], size[-1])
    width_of_text = first(
        "cross_attention_dim", "joint_attention_dim", "caption_channels", "text_embed_dim", "text_dim",
        "caption_projection_dim", "encoder_hid_dim", "cap_feat_dim", default=768,
    )  # fmt: skip
    text = max(width_of_text) if isinstance(width_of_text, (tuple, list)) else width_of_text
    in_rows = any(word in kind for word in ("Flux", "QwenImage", "Bria", "LTX", "Chroma", "LongCat", "Ovis"))
    latents = {"1D": (1, channels, 256), "3D": (1, channels, 4, height, width)}
    video = any(word in kind for word in ("3D", "Video", "Wan", "Mochi", "CogVideo", "Cosmos", "QwenImage", "VidTok"))
    sound = any(word in kind for word in ("1D", "Audio", "Oobleck", "SAME"))
    if "SpatioTemporal" in kind:  # frames before channels
        image: tuple[int, ...] = (1, 4, channels, height, width)
    elif in_rows and "Autoencoder" not in kind:
        image = (1, 256, channels)
    else:
        image = latents["3D" if video else "1D"] if video or sound else (1, channels, height, width)
    if "Autoencoder" in kind and video:
        image = (1, channels, 5, 64, 64)
    if "Autoencoder" in kind and sound:
        image = (1, first("audio_channels", "in_channels", default=1), 32_768)
    axes = len(config.get("axes_dims_rope") or (16, 56, 56))
    makers: dict[str, Any] = {
        "sample": spec(*image),
        "hidden_states": spec(*image),
        "x": spec(*image),
        "timestep": torch.tensor([1]),
        "timesteps": torch.tensor([1]),
        "encoder_hidden_states": spec(1, 77, text),
        "pooled_projections": spec(1, first("pooled_projection_dim", default=768)),
        "guidance": torch.tensor([1.0]),
        "img_ids": torch.zeros(256, axes),
        "txt_ids": torch.zeros(77, axes),
        "controlnet_cond": spec(1, first("conditioning_channels", default=3), 8 * height, 8 * width),
        "added_time_ids": torch.zeros(1, 3),
        "encoder_attention_mask": torch.ones(1, 77, dtype=torch.int64),
        "added_cond_kwargs": {"resolution": spec(1, 2), "aspect_ratio": spec(1, 1)},
        "original_size": torch.tensor([[1024.0, 1024.0]]),
        "target_size": torch.tensor([[1024.0, 1024.0]]),
        "crop_coords": torch.tensor([[0.0, 0.0]]),
    }
    if name not in makers:
        raise ValueError(f"no default for the argument {name!r}")
    return makers[name]


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
    "diffusers": (_diffusers, _make_diffusers),
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


def with_data(inputs: Inputs) -> Inputs:
    """Noise in the place of inputs that are given by shape."""
    fill = lambda x: torch.rand(x.shape, dtype=x.dtype or torch.float32)  # noqa: E731
    args, kwargs = pytree.tree_map_only(InputSpec, fill, (inputs.args, dict(inputs.kwargs)))
    return Inputs(args, kwargs)
