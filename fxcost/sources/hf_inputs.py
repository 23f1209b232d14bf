"""Default inputs of transformers' models, by the names of forward's arguments and what the configuration says.

The model's main input, those that have no default, and what belongs to them. Text next to images is fed to models that
take both side by side (CLIP), not to those that splice images into the text by placeholder tokens (LLaVA): these get
text alone. Values that a model reads (token ids, grids, masks) are real.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from ..errors import InputError
from ..inputs import InputSpec, spec
from ..shapes import Inputs

TEXT_LENGTH = 128
"""Tokens of a text, where the model takes as many."""
AUDIO_SAMPLES = 16_000
"""Samples of a waveform: one second."""
AUDIO_FRAMES = 128
"""Frames of a spectrogram, where the configuration doesn't say."""
GRID = 24
"""Patches per side of an image that is given as a row of patches."""
STEPS = 20
"""Steps of a trajectory (decision transformers)."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """For which model inputs are made: its configuration, the arguments of its forward, the number of samples."""

    config: Any
    batch: int
    arguments: frozenset[str]

    def look_up(self, *names: str, default: Any = None) -> Any:
        """The first of `names` that the configuration, or one inside it, has a value for."""
        inner = [getattr(self.config, key, None) for key in getattr(self.config, "sub_configs", {})]
        for place in (self.config, *inner):
            for name in names:
                value = getattr(place, name, None)
                if value is not None:
                    return value
        return default

    @property
    def as_patches(self) -> bool:
        """True for models whose images come as rows of flattened patches."""
        return not self.arguments.isdisjoint({"grid_thw", "image_grid_thw", "spatial_shapes", "pixel_position_ids"})


def default_inputs(model: torch.nn.Module, batch: int) -> Inputs:
    """The main input, those without a default, text beside images where both are taken, and what goes with them.

    Raises:
        InputError: an input that must be given is of a kind that has no default.
    """
    parameters = inspect.signature(model.forward).parameters
    wanted = Wanted(model.config, batch, frozenset(parameters))
    needed = [p.name for p in parameters.values() if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    names = [n for n in _names(model, wanted, needed) if n in parameters]
    unknown = [n for n in names if n not in MAKERS]
    if unknown:
        known = f" (arguments: {', '.join(parameters)})"
        raise InputError(
            f"{type(model).__name__} has no default for {', '.join(unknown)}; give --input NAME=SHAPE{known}"
        )
    special = BY_TYPE.get(wanted.config.model_type, {})
    return Inputs((), {name: special.get(name, MAKERS[name])(wanted) for name in names})


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


# ---------------------------------------------------------------------------------------------------------------- text


def _text(wanted: Wanted) -> torch.Tensor:
    """Token ids (batch, length): real ones, as models look for padding and end tokens among them."""
    limit = wanted.look_up("max_position_embeddings", "max_target_positions", default=TEXT_LENGTH)
    length = min(TEXT_LENGTH, limit) if limit > 0 else TEXT_LENGTH
    vocabulary = wanted.look_up("vocab_size", default=1000)
    ids: torch.Tensor = torch.arange(10, 10 + length) % vocabulary
    return ids.repeat(wanted.batch, 1)


def _codes(wanted: Wanted) -> torch.Tensor:
    """Text and codes of sound side by side: (batch, length, 1 + codebooks)."""
    codebooks = wanted.look_up("num_codebooks", default=8)
    codes: torch.Tensor = _text(wanted)[:, :, None].repeat(1, 1, 1 + codebooks)
    return codes % int(wanted.look_up("codebook_vocab_size", default=1000))


def _embeddings(wanted: Wanted) -> InputSpec:
    """(batch, length, features) in the place of embedded tokens."""
    length = wanted.look_up("num_query_tokens", default=TEXT_LENGTH)
    return spec(wanted.batch, length, wanted.look_up("hidden_size", "d_model", "dim", default=768))


# -------------------------------------------------------------------------------------------------------------- images


def _size(wanted: Wanted) -> tuple[int, int]:
    size = wanted.look_up("image_size", "max_img_size", default=224)
    if isinstance(size, dict):
        size = (size["height"], size["width"])
    return (size, size) if isinstance(size, int) else (size[0], size[-1])


def _channels(wanted: Wanted) -> int:
    channels: int = wanted.look_up("num_channels", "in_channels", "in_chans", default=3)
    return channels


def _image(wanted: Wanted) -> InputSpec:
    """(batch, channels, height, width), with frames as second dimension for video models, or rows of patches."""
    if wanted.as_patches:
        return _patches(wanted)
    frames = wanted.look_up("num_frames", "num_image_with_embedding")
    leading = (wanted.batch, frames) if isinstance(frames, int) else (wanted.batch,)
    return spec(*leading, _channels(wanted), *_size(wanted))


def _video(wanted: Wanted) -> InputSpec:
    """(batch, frames, channels, height, width)."""
    frames = wanted.look_up("num_frames", "frames_per_clip", default=16)
    size = wanted.look_up("crop_size")
    height, width = (size, size) if isinstance(size, int) else _size(wanted)
    return spec(wanted.batch, frames, _channels(wanted), height, width)


def _patches(wanted: Wanted) -> InputSpec:
    """Flattened patches: (batch · patches, features) beside a grid, else (batch, patches, features)."""
    patch = wanted.look_up("patch_size", default=14)
    side = patch if isinstance(patch, int) else patch[-1]
    features = _channels(wanted) * side * side * wanted.look_up("temporal_patch_size", default=1)
    if not wanted.arguments.isdisjoint({"grid_thw", "image_grid_thw"}):
        return spec(wanted.batch * GRID * GRID, features)
    return spec(wanted.batch, GRID * GRID, features)


def _hidden(wanted: Wanted) -> InputSpec:
    return _patches(wanted) if wanted.as_patches else _embeddings(wanted)


def _several_images(count: int) -> Callable[[Wanted], InputSpec]:
    """(batch, images, channels, height, width)."""
    return lambda wanted: spec(wanted.batch, count, _channels(wanted), *_size(wanted))


def _task(wanted: Wanted) -> torch.Tensor:
    """Token ids of a task's name (batch, length)."""
    return torch.arange(1, 1 + wanted.look_up("task_seq_len", default=77)).repeat(wanted.batch, 1)


def _positions(wanted: Wanted) -> torch.Tensor:
    """Column and row of every patch (batch, patches, 2)."""
    rows, columns = torch.meshgrid(torch.arange(GRID), torch.arange(GRID), indexing="ij")
    return torch.stack((columns, rows), -1).reshape(1, GRID * GRID, 2).repeat(wanted.batch, 1, 1)


def _flattened_patches(wanted: Wanted) -> InputSpec:
    """Row, column and pixels of each patch (batch, patches, features), as Pix2Struct takes them."""
    side = wanted.look_up("patch_size", default=16)
    return spec(wanted.batch, wanted.look_up("seq_len", default=2048), 2 + _channels(wanted) * side * side)


# --------------------------------------------------------------------------------------------------------------- sound


def _waveform(wanted: Wanted) -> InputSpec:
    """(batch, samples); (batch, channels, samples) for codecs; (batch, frames, mel bins) for spectrograms."""
    bins, length = wanted.look_up("num_mel_bins"), wanted.look_up("max_length")
    if bins and length and wanted.look_up("patch_size"):
        return spec(wanted.batch, length, bins)
    if wanted.look_up("audio_channels", "codebook_size", "codebook_dim", "downsampling_ratios", "upsampling_ratios"):
        return spec(wanted.batch, wanted.look_up("audio_channels", default=1), AUDIO_SAMPLES)
    return spec(wanted.batch, AUDIO_SAMPLES)


def _features(wanted: Wanted) -> InputSpec:
    """A spectrogram: (batch, mel bins, frames) as Whisper takes it, else (batch, frames, features)."""
    names = ("num_mel_bins", "input_feat_per_channel", "feature_projection_input_dim", "feature_size", "input_dim")
    bins = wanted.look_up(*names, default=80)
    positions = wanted.look_up("max_source_positions")
    if positions and wanted.look_up("num_mel_bins"):
        return spec(wanted.batch, bins, 2 * positions)
    bins *= wanted.look_up("num_stacked_frames", default=1)
    if hasattr(wanted.config, "conditioning_encoder_config") or hasattr(wanted.config, "decoder_config"):
        return spec(wanted.batch, bins, AUDIO_FRAMES)
    return spec(wanted.batch, AUDIO_FRAMES, bins)


def _features_mask(wanted: Wanted) -> torch.Tensor:
    features = _features(wanted)
    frames = features.shape[2] if wanted.look_up("max_source_positions") else features.shape[1]
    return torch.ones(wanted.batch, frames, dtype=torch.int64)


def _spectrogram(wanted: Wanted) -> InputSpec:
    """(batch, frames, mel bins)."""
    bins = wanted.look_up("model_in_dim", "num_mel_bins", "num_mel_channels", default=80)
    return spec(wanted.batch, AUDIO_FRAMES, bins)


# ---------------------------------------------------------------------------------------- time series and trajectories


def _history(wanted: Wanted) -> int:
    """Length of a time series' past: its context and the lags before it."""
    length: int = wanted.look_up("context_length", default=TEXT_LENGTH)
    lags = wanted.look_up("lags_sequence")
    return length + max(lags) if lags else length


def _series(wanted: Wanted) -> InputSpec:
    """Past values of a time series: (batch, length) or (batch, length, channels)."""
    channels = wanted.look_up("num_input_channels", "input_size", default=1)
    if channels == 1 and not wanted.look_up("num_input_channels"):
        return spec(wanted.batch, _history(wanted))
    return spec(wanted.batch, _history(wanted), channels)


def _time_features(wanted: Wanted) -> InputSpec:
    return spec(wanted.batch, _history(wanted), wanted.look_up("num_time_features", default=0))


def _trajectory(name: str) -> Callable[[Wanted], InputSpec]:
    """(batch, steps, features) of a decision transformer."""
    return lambda wanted: spec(wanted.batch, STEPS, wanted.look_up(name, default=1) if name else 1)


def _ones(maker: Callable[[Wanted], Any], *dims: int) -> Callable[[Wanted], torch.Tensor]:
    """A mask of ones over some dimensions of another input."""
    return lambda wanted: torch.ones([maker(wanted).shape[d] for d in dims], dtype=torch.int64)


def _mono(wanted: Wanted) -> InputSpec:
    """A waveform with a dimension for its one channel (batch, 1, samples)."""
    return spec(wanted.batch, 1, AUDIO_SAMPLES)


def _transposed(make: Callable[[Wanted], InputSpec]) -> Callable[[Wanted], InputSpec]:
    """Another input with its last two dimensions swapped."""
    return lambda wanted: spec(*(make(wanted).shape[i] for i in (0, 2, 1)))


MAKERS: dict[str, Callable[[Wanted], Any]] = {
    "input_ids": _text,
    "decoder_input_ids": _text,
    "inputs_embeds": _embeddings,
    "query_embeds": _embeddings,
    "attention_mask": _ones(_text, 0, 1),
    "bbox": lambda wanted: torch.zeros(*_text(wanted).shape, 4, dtype=torch.int64),
    "pixel_values": _image,
    "pixel_values_videos": _video,
    "hidden_states": _hidden,
    "grid_thw": lambda wanted: torch.tensor([[1, GRID, GRID]] * wanted.batch),
    "image_grid_thw": lambda wanted: torch.tensor([[1, GRID, GRID]] * wanted.batch),
    "spatial_shapes": lambda wanted: torch.tensor([[GRID, GRID]] * wanted.batch),
    "pixel_attention_mask": _ones(_patches, 0, 1),
    "pixel_position_ids": _positions,
    "flattened_patches": _flattened_patches,
    "task_inputs": _task,
    "qformer_input_ids": _text,
    "inputs": _waveform,
    "input_values": _waveform,
    "input_features": _features,
    "input_features_mask": _features_mask,
    "visual_feats": lambda wanted: spec(wanted.batch, 36, wanted.look_up("visual_feat_dim", default=2048)),
    "visual_pos": lambda wanted: spec(wanted.batch, 36, wanted.look_up("visual_pos_dim", default=4)),
    "latents": _transposed(_embeddings),
    "spectrogram": _spectrogram,
    "audio_mel": _spectrogram,
    "audio_mel_mask": lambda wanted: torch.zeros(wanted.batch, AUDIO_FRAMES, dtype=torch.bool),
    "decoder_input_values": _spectrogram,
    "past_values": _series,
    "past_time_features": _time_features,
    "past_observed_mask": lambda wanted: torch.ones(_series(wanted).shape),
    "states": _trajectory("state_dim"),
    "actions": _trajectory("act_dim"),
    "rewards": _trajectory(""),
    "returns_to_go": _trajectory(""),
    "timesteps": lambda wanted: torch.arange(STEPS).repeat(wanted.batch, 1),
}
"""Inputs that have a default, by the name of forward's argument."""

MAIN = ("input_ids", "pixel_values", "input_features", "input_values", "hidden_states", "inputs_embeds")

BY_TYPE: dict[str, dict[str, Callable[[Wanted], Any]]] = {
    "canary": {"input_features": lambda wanted: spec(wanted.batch, AUDIO_FRAMES, 128)},
    "clap": {"input_features": lambda wanted: spec(wanted.batch, 1, 1_001, 64)},
    "clap_audio_model": {"input_features": lambda wanted: spec(wanted.batch, 1, 1_001, 64)},
    "depth_pro": {"pixel_values": lambda wanted: spec(wanted.batch, 3, 1_536, 1_536)},
    "dia": {"decoder_input_ids": lambda wanted: _text(wanted)[:, :, None].repeat(1, 1, 9)},
    "gemma3n_audio": {"audio_mel": lambda wanted: spec(wanted.batch, AUDIO_FRAMES, 128)},
    "gemma4_audio": {"input_features": lambda wanted: spec(wanted.batch, AUDIO_FRAMES, 128)},
    "efficientloftr": {"pixel_values": _several_images(2)},
    "lightglue": {"pixel_values": _several_images(2)},
    "superglue": {"pixel_values": _several_images(2)},
    "idefics": {"pixel_values": _several_images(1)},
    "instructblipvideo": {"pixel_values": _several_images(4)},
    "kimi_k25_vision": {"pixel_values": lambda wanted: spec(wanted.batch * GRID * GRID, 3, 14, 14)},
    "kyutai_speech_to_text": {"input_ids": _codes},
    "pe_audio": {"input_values": _mono},
    "pe_audio_encoder": {"input_values": _mono},
    "pe_audio_video": {"input_values": _mono},
    "pe_audio_video_encoder": {"input_values": _mono},
    "pe_video": {"pixel_values_videos": lambda wanted: spec(wanted.batch, 16, 3, 336, 336)},
    "pe_video_encoder": {"pixel_values_videos": lambda wanted: spec(wanted.batch, 16, 3, 336, 336)},
    "vibevoice_acoustic_tokenizer_decoder": {"hidden_states": _transposed(_embeddings)},
    "voxtral_realtime": {"input_features": _transposed(_features)},
    "voxtral_realtime_encoder": {"input_features": _transposed(_features)},
}
"""Model types that take an input of an unusual layout, which nothing in their configuration tells."""

TOGETHER = {
    "states": ("actions", "rewards", "returns_to_go", "timesteps"),
    "input_features": ("input_features_mask",),
    "input_ids": ("visual_feats", "visual_pos"),
    "pixel_values": ("spatial_shapes", "pixel_position_ids", "qformer_input_ids"),
}
"""Arguments that go with another, where the model has them."""
