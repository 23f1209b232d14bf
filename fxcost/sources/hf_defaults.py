"""Default inputs of transformers' models: which arguments are given, and model types that take something unusual.

The model's main input, those that have no default, and what belongs to them. Text next to images is fed to models that
take both side by side (CLIP); of those that put images in the place of tokens, those listed in `BY_TYPE` with
:func:`_spliced` (LLaVA, Qwen2-VL) get both, the others text alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch

from ..errors import InputError
from ..model.inputs import InputSpec, spec
from .hf_inputs import (
    AUDIO_FRAMES,
    GRID,
    MAKERS,
    TEXT_LENGTH,
    Wanted,
    codes,
    embeddings,
    features,
    mono,
    ones,
    several_images,
    text,
    transposed,
)
from .shapes import Inputs


def default_inputs(model: torch.nn.Module, batch: int) -> Inputs:
    """The main input, those without a default, text beside images where both are taken, and what goes with them.

    Raises:
        InputError: an input that must be given is of a kind that has no default.
    """
    parameters = inspect.signature(model.forward).parameters
    wanted = Wanted(model.config, batch, frozenset(parameters))
    needed = [p.name for p in parameters.values() if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    special = BY_TYPE.get(wanted.config.model_type, {})
    makers = {**MAKERS, **special}
    names = [n for n in dict.fromkeys([*_names(model, wanted, needed), *special]) if n in parameters]
    unknown = [n for n in names if n not in makers]
    if unknown:
        known = f" (arguments: {', '.join(parameters)})"
        raise InputError(
            f"{type(model).__name__} has no default for {', '.join(unknown)}; give --input NAME=SHAPE{known}"
        )
    made = {name: make(wanted) for name in names if (make := makers[name]) is not None}
    return Inputs((), {name: value for name, value in made.items() if value is not None})


def _names(model: torch.nn.Module, wanted: Wanted, needed: list[str]) -> list[str]:
    """Which arguments get a value, in order."""
    main = getattr(model, "main_input_name", "input_ids")
    main = main if isinstance(main, str) else main[0]
    if main not in wanted.arguments and not needed:  # a part of a model that inherits the whole one's main input
        main = next((n for n in MAIN if n in wanted.arguments), main)
    names = [main, *needed]
    if getattr(wanted.config, "is_encoder_decoder", False):
        names.append("decoder_input_ids")
    if "input_ids" in names and not _has_placeholders(wanted.config):
        names += ["pixel_values", "input_features", "bbox"]
    if "pixel_values" in names and _needs_text_too(wanted):
        names.append("input_ids")
    for name in [*names]:
        names += TOGETHER.get(name, ())
    return list(dict.fromkeys(names))


def _has_placeholders(config: Any) -> bool:
    """True for models that put images or sounds in the place of tokens: an image alone must then match the text."""
    inner = [getattr(config, key, None) for key in getattr(config, "sub_configs", {})]
    keys = [key for place in (config, *inner) if place is not None for key in place.to_dict()]
    return any(f"{kind}_token" in key for key in keys for kind in ("image", "audio", "video"))


def _needs_text_too(wanted: Wanted) -> bool:
    takes_text = "input_ids" in wanted.arguments
    return takes_text and not _has_placeholders(wanted.config) and hasattr(wanted.config, "text_config")


MAIN = ("input_ids", "pixel_values", "input_features", "input_values", "hidden_states", "inputs_embeds")

Makers = Mapping[str, Callable[[Wanted], Any] | None]
_PATCHES = GRID * GRID
_FRAMES = 4
"""Frames of a video that a model takes as several images."""


def _both(maker: Callable[[Wanted], Any]) -> Callable[[Wanted], Any]:
    """Two for each sample."""
    return lambda wanted: maker(wanted).repeat(2, 1)


def _codebooks(wanted: Wanted) -> torch.Tensor:
    """Codes of sound: a row for each codebook of each sample (batch · codebooks, length)."""
    return text(wanted).repeat(wanted.look_up("num_codebooks"), 1)


def _half(wanted: Wanted) -> InputSpec:
    """An image of which two, one above the other, have the configured size."""
    height, width = wanted.look_up("image_size")
    return spec(wanted.batch, 3, height // 2, width)


def _first_tokens(count: str) -> Callable[[Wanted], torch.Tensor]:
    """True where an image's `count` tokens stand: at the start of the text."""
    return lambda wanted: (torch.arange(text(wanted).shape[1]) < wanted.look_up(count)).repeat(wanted.batch, 1)


def _spliced(
    count: Callable[[Wanted], int], *others: str, fits: Callable[[Wanted], bool] = lambda wanted: True
) -> Makers:
    """An image beside a text that begins with the `count` tokens in whose place it is put.

    Text alone where the parts of a configuration do not fit each other, as they do in some default ones.
    """

    def ids(wanted: Wanted) -> torch.Tensor:
        token = wanted.look_up("image_token_id", "image_token_index", "video_token_id")
        if token is None or not fits(wanted):
            return text(wanted)
        return torch.cat((torch.full((wanted.batch, count(wanted)), token), text(wanted)), 1)

    def kinds(wanted: Wanted) -> torch.Tensor | None:
        """1 where an image's token stands, 0 in the text."""
        length = ids(wanted).shape[1]
        images = length - text(wanted).shape[1]
        return (torch.arange(length) < images).long().repeat(wanted.batch, 1) if images else None

    def beside(name: str) -> Callable[[Wanted], Any]:
        return lambda wanted: MAKERS[name](wanted) if fits(wanted) else None

    return {"input_ids": ids, "mm_token_type_ids": kinds, **{name: beside(name) for name in ("pixel_values", *others)}}


def _patch_tokens(wanted: Wanted) -> int:
    """One token for each patch of the image."""
    vision = getattr(wanted.config, "vlm_config", wanted.config).vision_config
    return int((vision.image_size // vision.patch_size) ** 2)


def _pools(wanted: Wanted) -> bool:
    """True if the patches are at least as many as the tokens that they are pooled to."""
    return _patch_tokens(wanted) >= int(wanted.config.mm_tokens_per_image)


def _same_width(wanted: Wanted, name: str) -> bool:
    """True if the vision part's output is as wide as the text's hidden states."""
    return bool(getattr(wanted.config.vision_config, name) == wanted.config.text_config.hidden_size)


def _merged_tokens(wanted: Wanted) -> int:
    """One token for each square of patches that are merged."""
    return int(_PATCHES // wanted.config.vision_config.spatial_merge_size**2)


def _shared_keys(wanted: Wanted) -> dict[str, tuple[InputSpec, InputSpec]]:
    """Keys and values (batch, heads, length, size) of the large model that a drafting one reads, by kind of layer."""
    text_config = wanted.config.get_text_config()
    kinds = dict(zip(text_config.layer_types, text_config.per_layer_config, strict=True))
    shapes = {k: (wanted.batch, c.num_key_value_heads, TEXT_LENGTH, c.head_dim) for k, c in kinds.items()}
    return {kind: (spec(*shape), spec(*shape)) for kind, shape in shapes.items()}


_CAMERA = {
    "pixel_values": lambda wanted: spec(
        1, 3, wanted.config.patch_size, wanted.config.patch_size * _PATCHES * wanted.batch
    ),
    "target_sizes": lambda wanted: torch.tensor([[GRID, GRID]] * wanted.batch),
}
_DRAFTING = {
    "input_ids": None,
    "inputs_embeds": lambda wanted: spec(wanted.batch, 1, 2 * wanted.config.backbone_hidden_size),
    "shared_kv_states": _shared_keys,
}
_STACKED = {"input_features": lambda wanted: spec(wanted.batch, AUDIO_FRAMES, wanted.look_up("input_dim") or 320)}
_VIDEO_336 = {"pixel_values_videos": lambda wanted: spec(wanted.batch, 16, 3, 336, 336)}

BY_TYPE: Mapping[str, Makers] = {
    "blip-2": _spliced(lambda wanted: int(wanted.config.num_query_tokens)),
    "blip_2_qformer": {
        "encoder_hidden_states": lambda wanted: spec(wanted.batch, 257, wanted.look_up("encoder_hidden_size"))
    },
    "canary": {"input_features": lambda wanted: spec(wanted.batch, AUDIO_FRAMES, 128)},
    "clap": {"input_features": lambda wanted: spec(wanted.batch, 1, 1_001, 64)},
    "clap_audio_model": {"input_features": lambda wanted: spec(wanted.batch, 1, 1_001, 64)},
    "depth_pro": {"pixel_values": lambda wanted: spec(wanted.batch, 3, 1_536, 1_536)},
    "dia": {"decoder_input_ids": lambda wanted: text(wanted)[:, :, None].repeat(1, 1, 9)},
    "evolla": {"protein_input_ids": text, "protein_attention_mask": ones(text, 0, 1)},
    "gemma3": _spliced(lambda wanted: int(wanted.config.mm_tokens_per_image), fits=_pools),
    "gemma3n_audio": {"audio_mel": lambda wanted: spec(wanted.batch, AUDIO_FRAMES, 128)},
    "gemma4_audio": {"input_features": lambda wanted: spec(wanted.batch, AUDIO_FRAMES, 128)},
    "gemma4_assistant": _DRAFTING,
    "gemma4_unified_assistant": _DRAFTING,
    "efficientloftr": {"pixel_values": several_images(2)},
    "lightglue": {"pixel_values": several_images(2)},
    "superglue": {"pixel_values": several_images(2)},
    "granite_speech5_ctc": _STACKED,
    "granite_speech5_encoder": _STACKED,
    "higgs_audio_v2_tokenizer": {"input_values": lambda wanted: spec(wanted.batch, 1, 24_000)},
    "idefics": {
        "pixel_values": several_images(1),
        "image_attention_mask": lambda wanted: torch.ones(*text(wanted).shape, 1, dtype=torch.int64),
    },
    "inkling2_vision": {"pixel_values": lambda wanted: spec(wanted.batch * _PATCHES, 40, 40, 3)},
    "instructblip": {"qformer_input_ids": text, **_spliced(lambda wanted: int(wanted.config.num_query_tokens))},
    "instructblipvideo": {
        "qformer_input_ids": text,
        **_spliced(lambda wanted: _FRAMES * int(wanted.config.num_query_tokens)),
        "pixel_values": several_images(_FRAMES),
    },
    "kimi_k25_vision": {"pixel_values": lambda wanted: spec(wanted.batch * GRID * GRID, 3, 14, 14)},
    "internvl": _spliced(lambda wanted: int(wanted.config.image_seq_length)),
    "jev": {
        "marks": lambda wanted: torch.tensor([[10, 20]] * wanted.batch),
        "num_options": lambda wanted: torch.tensor([[2, 2]] * wanted.batch),
        "question_type_ids": lambda wanted: torch.tensor([[0, 0]] * wanted.batch),
    },
    "kosmos-2": {"image_embeds_position_mask": _first_tokens("latent_query_num")},
    "kyutai_speech_to_text": {"input_ids": codes},
    "llava": _spliced(_patch_tokens),
    "minicpm_ocr_vision": _CAMERA,
    "minicpmv4_7_vision": _CAMERA,
    "molmo2": {"pixel_values": None},
    "muse_glimmer_assistant": {
        "noise_embeds": lambda wanted: spec(wanted.batch, wanted.config.block_size, wanted.config.hidden_size),
        "context_hidden_states": lambda wanted: spec(
            wanted.batch, TEXT_LENGTH, wanted.config.hidden_size * len(wanted.config.target_layer_ids)
        ),
    },
    "muse_glimmer_vision": {"pixel_values": lambda wanted: spec(wanted.batch * _PATCHES, 2 * 3 * 14 * 14)},
    "muse_spark_audio": {"input_values": lambda wanted: spec(wanted.batch, 8 * 1_920)},
    "muse_spark_vision": {"pixel_values": lambda wanted: spec(wanted.batch * _PATCHES, 2 * 3 * 14 * 14)},
    "musicgen": {"decoder_input_ids": _codebooks},
    "musicgen_melody": {
        "decoder_input_ids": _codebooks,
        "input_features": lambda wanted: spec(wanted.batch, AUDIO_FRAMES, wanted.config.num_chroma),
    },
    "neucodec": {"input_features_mask": None},
    "omdet-turbo": {
        "classes_input_ids": _both(text),
        "classes_attention_mask": _both(ones(text, 0, 1)),
        "tasks_input_ids": text,
        "tasks_attention_mask": ones(text, 0, 1),
        "classes_structure": lambda wanted: torch.tensor([2] * wanted.batch),
    },
    "omniasr_audio": {"input_values": mono},
    "omniasr_ctc": {"input_values": mono},
    "paligemma": _spliced(_patch_tokens, fits=lambda wanted: _same_width(wanted, "projection_dim")),
    "pe_audio": {"input_values": mono},
    "pe_audio_encoder": {"input_values": mono},
    "pe_audio_video": {"input_values": mono, "input_ids": text, **_VIDEO_336},
    "pe_audio_video_encoder": {"input_values": mono, **_VIDEO_336},
    "pe_video": _VIDEO_336,
    "pe_video_encoder": _VIDEO_336,
    "perceiver": {"inputs": lambda wanted: spec(wanted.batch, 2_048, wanted.config.d_model)},
    "pop2piano": {
        "input_ids": None,
        "input_features": lambda wanted: spec(wanted.batch, AUDIO_FRAMES, wanted.config.d_model),
    },
    "pi0": {
        "action_embeds": lambda wanted: spec(
            wanted.batch, 1 + wanted.config.chunk_size, wanted.config.dit_config.hidden_size
        ),
        **_spliced(_patch_tokens),
        "pixel_values": several_images(1),
        "pixel_attention_mask": lambda wanted: torch.ones(wanted.batch, 1, dtype=torch.bool),
    },
    "qwen2_5_vl": _spliced(
        _merged_tokens, "image_grid_thw", fits=lambda wanted: _same_width(wanted, "out_hidden_size")
    ),
    "qwen2_vl": _spliced(_merged_tokens, "image_grid_thw", fits=lambda wanted: _same_width(wanted, "hidden_size")),
    "qwen3_asr_encoder": {
        "input_features": lambda wanted: spec(wanted.batch, wanted.look_up("num_mel_bins"), 200),
        "input_features_mask": lambda wanted: torch.ones(wanted.batch, 200, dtype=torch.int64),
    },
    "rf_detr": {"pixel_values": lambda wanted: spec(wanted.batch, 3, 560, 560)},
    "seggpt": dict.fromkeys(("pixel_values", "prompt_pixel_values", "prompt_masks"), _half),
    "speecht5": dict.fromkeys(("input_values", "decoder_input_values"), embeddings),
    "timesfm": {
        "past_values_padding": lambda wanted: torch.zeros(
            wanted.batch, wanted.config.context_length, dtype=torch.int64
        ),
        "freq": lambda wanted: torch.zeros(wanted.batch, 1, dtype=torch.int64),
    },
    "vibevoice_acoustic_tokenizer_decoder": {"hidden_states": transposed(embeddings)},
    "vibevoice_acoustic_tokenizer_encoder": {"hidden_states": mono},
    "video_llama_3_vision": {"merge_sizes": lambda wanted: torch.tensor([1] * wanted.batch)},
    "vipllava": _spliced(_patch_tokens),
    "voxtral_realtime": {
        "input_features": lambda wanted: spec(wanted.batch, wanted.look_up("num_mel_bins"), 8 * TEXT_LENGTH)
    },
    "voxtral_realtime_encoder": {"input_features": transposed(features)},
    "xcodec2": {"input_features": lambda wanted: spec(wanted.batch, 50, 160), "input_features_mask": None},
}
"""Model types that take an input of an unusual layout, which nothing in their configuration tells, one that is not
needed by its signature alone, or not one that others take (None)."""

TOGETHER = {
    "states": ("actions", "rewards", "returns_to_go", "timesteps"),
    "input_features": ("input_features_mask",),
    "input_ids": ("visual_feats", "visual_pos"),
    "pixel_values": ("spatial_shapes", "pixel_position_ids", "qformer_input_ids"),
}
"""Arguments that go with another, where the model has them."""
