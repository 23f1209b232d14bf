"""Inputs of transformers' models by the names of forward's arguments and what the configuration says.

Values that a model reads (token ids, grids, masks) are real. Which arguments a model is given, and model types that
take something unusual, are in hf_defaults.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from ..model.inputs import InputSpec, spec

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


# ---------------------------------------------------------------------------------------------------------------- text


def text(wanted: Wanted) -> torch.Tensor:
    """Token ids (batch, length): real ones, as models look for padding and end tokens among them."""
    limit = wanted.look_up("max_position_embeddings", "max_target_positions", default=TEXT_LENGTH)
    length = min(TEXT_LENGTH, limit) if limit > 0 else TEXT_LENGTH
    vocabulary = wanted.look_up("vocab_size", default=1000)
    ids: torch.Tensor = torch.arange(10, 10 + length) % vocabulary
    return ids.repeat(wanted.batch, 1)


def codes(wanted: Wanted) -> torch.Tensor:
    """Text and codes of sound side by side: (batch, length, 1 + codebooks)."""
    codebooks = wanted.look_up("num_codebooks", default=8)
    codes: torch.Tensor = text(wanted)[:, :, None].repeat(1, 1, 1 + codebooks)
    return codes % int(wanted.look_up("codebook_vocab_size", default=1000))


def embeddings(wanted: Wanted) -> InputSpec:
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
        return patches(wanted)
    frames = wanted.look_up("num_frames", "num_image_with_embedding")
    leading = (wanted.batch, frames) if isinstance(frames, int) else (wanted.batch,)
    return spec(*leading, _channels(wanted), *_size(wanted))


def _video(wanted: Wanted) -> InputSpec:
    """(batch, frames, channels, height, width)."""
    frames = wanted.look_up("num_frames", "frames_per_clip", default=16)
    size = wanted.look_up("crop_size")
    height, width = (size, size) if isinstance(size, int) else _size(wanted)
    return spec(wanted.batch, frames, _channels(wanted), height, width)


def patches(wanted: Wanted) -> InputSpec:
    """Flattened patches: (batch · patches, features) beside a grid, else (batch, patches, features)."""
    patch = wanted.look_up("patch_size", default=14)
    side = patch if isinstance(patch, int) else patch[-1]
    features = _channels(wanted) * side * side * wanted.look_up("temporal_patch_size", default=1)
    if not wanted.arguments.isdisjoint({"grid_thw", "image_grid_thw"}):
        return spec(wanted.batch * GRID * GRID, features)
    return spec(wanted.batch, GRID * GRID, features)


def _hidden(wanted: Wanted) -> InputSpec:
    return patches(wanted) if wanted.as_patches else embeddings(wanted)


def several_images(count: int) -> Callable[[Wanted], InputSpec]:
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


def mono(wanted: Wanted) -> InputSpec:
    """A waveform with a dimension for its one channel (batch, 1, samples)."""
    return spec(wanted.batch, 1, AUDIO_SAMPLES)


def _waveform(wanted: Wanted) -> InputSpec:
    """(batch, samples); (batch, channels, samples) for codecs; (batch, frames, mel bins) for spectrograms."""
    bins, length = wanted.look_up("num_mel_bins"), wanted.look_up("max_length")
    if bins and length and wanted.look_up("patch_size"):
        return spec(wanted.batch, length, bins)
    if wanted.look_up("audio_channels", "codebook_size", "codebook_dim", "downsampling_ratios", "upsampling_ratios"):
        return spec(wanted.batch, wanted.look_up("audio_channels", default=1), AUDIO_SAMPLES)
    return spec(wanted.batch, AUDIO_SAMPLES)


def features(wanted: Wanted) -> InputSpec:
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
    shape = features(wanted).shape
    frames = shape[2] if wanted.look_up("max_source_positions") else shape[1]
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


def ones(maker: Callable[[Wanted], Any], *dims: int) -> Callable[[Wanted], torch.Tensor]:
    """A mask of ones over some dimensions of another input."""
    return lambda wanted: torch.ones([maker(wanted).shape[d] for d in dims], dtype=torch.int64)


def transposed(make: Callable[[Wanted], InputSpec]) -> Callable[[Wanted], InputSpec]:
    """Another input with its last two dimensions swapped."""
    return lambda wanted: spec(*(make(wanted).shape[i] for i in (0, 2, 1)))


MAKERS: dict[str, Callable[[Wanted], Any]] = {
    "input_ids": text,
    "decoder_input_ids": text,
    "inputs_embeds": embeddings,
    "query_embeds": embeddings,
    "attention_mask": ones(text, 0, 1),
    "bbox": lambda wanted: torch.zeros(*text(wanted).shape, 4, dtype=torch.int64),
    "pixel_values": _image,
    "pixel_values_videos": _video,
    "hidden_states": _hidden,
    "grid_thw": lambda wanted: torch.tensor([[1, GRID, GRID]] * wanted.batch),
    "image_grid_thw": lambda wanted: torch.tensor([[1, GRID, GRID]] * wanted.batch),
    "spatial_shapes": lambda wanted: torch.tensor([[GRID, GRID]] * wanted.batch),
    "pixel_attention_mask": ones(patches, 0, 1),
    "pixel_position_ids": _positions,
    "flattened_patches": _flattened_patches,
    "task_inputs": _task,
    "qformer_input_ids": text,
    "inputs": _waveform,
    "input_values": _waveform,
    "input_features": features,
    "input_features_mask": _features_mask,
    "visual_feats": lambda wanted: spec(wanted.batch, 36, wanted.look_up("visual_feat_dim", default=2048)),
    "visual_pos": lambda wanted: spec(wanted.batch, 36, wanted.look_up("visual_pos_dim", default=4)),
    "latents": transposed(embeddings),
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
