"""`hf:TYPE_OR_FOLDER`: models of transformers, built from a configuration.

`hf:llama` is the default configuration of a model type; `hf:folder` and `hf:config.json` are a configuration on
disk, as a model's page on the hub offers for download. Nothing is ever downloaded here.

Default inputs are those of the model's main modality. Text next to images is fed to models that take both side by
side (CLIP), not to those that splice images into the text by placeholder tokens (LLaVA): these get text alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ..errors import InputError, ModelLoadError
from ..inputs import InputSpec, spec
from ..shapes import Inputs
from .base import Source, library, no_such_model

TEXT_LENGTH = 128
"""Tokens of a text, where the model takes as many."""
AUDIO_SAMPLES = 16_000
"""Samples of a waveform: one second."""
AUDIO_FRAMES = 100
"""Frames of a spectrogram, where the configuration doesn't say."""


def source(name: str, arguments: dict[str, Any]) -> Source:
    """A configuration by model type or from disk; `arguments` override its entries.

    Raises:
        ModelLoadError: transformers isn't installed, or there is no such type, folder or file.
    """
    transformers = library("transformers")
    transformers.logging.set_verbosity_error()
    config = _config(transformers, name, arguments)
    return Source(partial(_build, transformers, name, config), _inputs)


def _config(transformers: Any, name: str, arguments: dict[str, Any]) -> Any:
    path = Path(name).expanduser()
    if path.is_file() or (path / "config.json").is_file():
        read = partial(transformers.AutoConfig.from_pretrained, str(path), local_files_only=True)
    elif name in transformers.CONFIG_MAPPING:
        read = transformers.CONFIG_MAPPING[name]
    else:
        raise _no_config(transformers, name, path)
    try:
        known = read()
        unknown = [key for key in arguments if not hasattr(known, key)]  # transformers takes any name without a word
        if not unknown:
            return read(**arguments) if arguments else known
    except Exception as error:  # whatever a configuration's own class makes of it
        raise ModelLoadError(f"cannot make a configuration from hf:{name}: {error}") from error
    near = get_close_matches(unknown[0], known.to_dict(), n=3)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise ModelLoadError(f"the configuration of hf:{name} has no {unknown[0]!r}{hint}")


def _no_config(transformers: Any, name: str, path: Path) -> ModelLoadError:
    """What to say where `name` is neither a configuration on disk nor a model type."""
    if path.is_dir():
        return ModelLoadError(f"the folder {name} has no config.json")
    if "/" in name and not name.startswith(("/", ".", "~")):
        return ModelLoadError(
            f"{name!r} is no folder; if it is a model's name on the Hugging Face hub, download its config.json first "
            "(fxcost never downloads) and give its folder: hf:path/to/folder"
        )
    return no_such_model("hf", name, transformers.CONFIG_MAPPING, "give a model type (hf:bert) or a folder")


def _build(transformers: Any, name: str, config: Any) -> Any:
    """The architecture that the configuration names, else the bare model of its type."""
    for architecture in getattr(config, "architectures", None) or ():
        model_class = getattr(transformers, architecture, None)
        if model_class is not None:
            return model_class._from_config(config)  # what AutoModel.from_config calls: sets dtype and attention
    for classes in _tables(transformers):
        if type(config) in classes:
            found = classes[type(config)]
            return (found[0] if isinstance(found, tuple) else found)._from_config(config)
    raise ModelLoadError(f"hf:{name}: transformers has no model for {type(config).__name__} alone")


def _tables(transformers: Any) -> list[Any]:
    """Which model classes go with a configuration: the bare model's table first, then those of its tasks."""
    mapping = transformers.models.auto.modeling_auto
    names = (t for t in dir(mapping) if t.endswith("_MAPPING") and t.startswith("MODEL_"))
    return [getattr(mapping, name) for name in sorted(names, key=len)]


def model_types() -> list[str]:
    """Every model type that there is a model for, sorted; other types configure a part of a model."""
    transformers = library("transformers")
    return sorted({kind for table in _tables(transformers) for kind in table._model_mapping})


def _inputs(model: torch.nn.Module, batch: int) -> Inputs:
    """The main input, those without a default, and text beside images where both are taken.

    Raises:
        InputError: an input that must be given is of a kind that has no default.
    """
    parameters = inspect.signature(model.forward).parameters
    config: Any = model.config
    wanted = [getattr(model, "main_input_name", "input_ids")]
    wanted += [p.name for p in parameters.values() if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    if getattr(config, "is_encoder_decoder", False):
        wanted.append("decoder_input_ids")
    if "pixel_values" in parameters and "input_ids" in wanted and not _has_image_tokens(config):
        wanted.append("pixel_values")
    if "pixel_values" in wanted and _needs_text_too(model):
        wanted.append("input_ids")
    names = [n for n in dict.fromkeys(wanted) if n in parameters]
    unknown = [n for n in names if n not in MAKERS]
    if unknown:
        known = f" (arguments: {', '.join(parameters)})"
        raise InputError(
            f"{type(model).__name__} has no default for {', '.join(unknown)}; give --input NAME=SHAPE{known}"
        )
    return Inputs((), {name: MAKERS[name](config, batch) for name in names})


def _has_image_tokens(config: Any) -> bool:
    """True for models that put images in the place of tokens: an image alone must then match the text."""
    return any("image_token" in key for key in config.to_dict())


def _needs_text_too(model: torch.nn.Module) -> bool:
    config: Any = model.config
    takes_text = "input_ids" in inspect.signature(model.forward).parameters
    return takes_text and not _has_image_tokens(config) and hasattr(config, "text_config")


def _look_up(config: Any, *names: str, default: Any = None) -> Any:
    """The first of `names` that the configuration, or one inside it, has a value for."""
    inner = [getattr(config, key, None) for key in getattr(config, "sub_configs", {})]
    for place in (config, *inner):
        for name in names:
            value = getattr(place, name, None)
            if value is not None:
                return value
    return default


def _text(config: Any, batch: int) -> torch.Tensor:
    """Token ids (batch, length): real ones, as models look for padding and end tokens among them."""
    limit = _look_up(config, "max_position_embeddings", "max_target_positions", default=TEXT_LENGTH)
    length = min(TEXT_LENGTH, limit) if limit > 0 else TEXT_LENGTH
    vocabulary = _look_up(config, "vocab_size", default=1000)
    ids: torch.Tensor = torch.arange(10, 10 + length) % vocabulary
    return ids.repeat(batch, 1)


def _image(config: Any, batch: int) -> InputSpec:
    """(batch, channels, height, width), or with frames as second dimension for video models."""
    size = _look_up(config, "image_size", default=224)
    if isinstance(size, dict):
        size = (size["height"], size["width"])
    height, width = (size, size) if isinstance(size, int) else (size[0], size[-1])
    frames = _look_up(config, "num_frames")
    leading = (batch, frames) if isinstance(frames, int) else (batch,)
    return spec(*leading, _look_up(config, "num_channels", "in_channels", default=3), height, width)


def _waveform(config: Any, batch: int) -> InputSpec:
    """(batch, samples); (batch, frames, mel bins) for spectrogram transformers."""
    bins, length = _look_up(config, "num_mel_bins"), _look_up(config, "max_length")
    if bins and length and _look_up(config, "patch_size"):
        return spec(batch, length, bins)
    return spec(batch, AUDIO_SAMPLES)


def _features(config: Any, batch: int) -> InputSpec:
    """A spectrogram: (batch, mel bins, frames) as Whisper takes it, else (batch, frames, features)."""
    bins = _look_up(config, "num_mel_bins", "input_feat_per_channel", "feature_projection_input_dim", default=80)
    positions = _look_up(config, "max_source_positions")
    if positions and _look_up(config, "num_mel_bins"):
        return spec(batch, bins, 2 * positions)
    return spec(batch, AUDIO_FRAMES, bins)


def _series(config: Any, batch: int) -> InputSpec:
    """Past values of a time series: (batch, context length, channels)."""
    length = _look_up(config, "context_length", default=TEXT_LENGTH)
    return spec(batch, length, _look_up(config, "num_input_channels", "input_size", default=1))


MAKERS: dict[str, Callable[[Any, int], Any]] = {
    "input_ids": _text,
    "decoder_input_ids": _text,
    "pixel_values": _image,
    "input_values": _waveform,
    "input_features": _features,
    "past_values": _series,
    "bbox": lambda config, batch: torch.zeros(*_text(config, batch).shape, 4, dtype=torch.int64),
    "attention_mask": lambda config, batch: torch.ones_like(_text(config, batch)),
}
"""Inputs that have a default, by the name of forward's argument."""
