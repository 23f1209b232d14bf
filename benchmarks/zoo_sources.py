"""The model libraries of the sweep: their models' names, and how to build and feed each.

torchvision, timm and transformers are built just as the command line builds them; the others are here only.
transformers, diffusers and open_clip have files of their own.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from functools import partial

import torch
import zoo_diffusers
import zoo_hf
import zoo_open_clip

from fxcost.model.inputs import spec
from fxcost.sources.load import build
from fxcost.sources.load import load as load_spec
from fxcost.sources.shapes import Inputs, with_data

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


def _by_spec(library: str, name: str, real: bool) -> Made:
    """Also with arguments: `quantized_resnet18 quantize=True`, whose integer weights exist only on the CPU."""
    name, *pairs = name.split(" ")
    arguments = {key: ast.literal_eval(value) for key, _, value in (pair.partition("=") for pair in pairs)}
    quantized = "quantize" in arguments
    loaded = load_spec(f"{library}:{name}", arguments, real=real or quantized)
    if quantized:
        return loaded.model, lambda: with_data(loaded.default_inputs())
    return loaded.model, loaded.default_inputs


# --------------------------------------------------------------------------------------------- segmentation, torchaudio

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
    "hf": (zoo_hf.names, zoo_hf.make),
    "diffusers": (zoo_diffusers.names, zoo_diffusers.make),
    "torchaudio": (lambda: list(_AUDIO), _make_audio),
    "open_clip": (zoo_open_clip.names, zoo_open_clip.make),
    "smp": (_segmentation, _make_segmentation),
}


def names(library: str) -> list[str]:
    """Names of all models of a library."""
    return LIBRARIES[library][0]()


def load(library: str, name: str, *, real: bool = False) -> Made:
    """Build a model in eval mode: on meta but for small tensors, or with `real` entirely on the CPU."""
    return LIBRARIES[library][1](name, real)


def small(library: str, name: str, *, real: bool = False) -> Made:
    """The same, a transformer with few and narrow layers where its configuration lets itself be made small."""
    if library == "hf":
        return zoo_hf.small(name, real)
    return load(library, name, real=real)
