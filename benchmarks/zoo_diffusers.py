"""diffusers in the sweep: every model class, what it is built with where its defaults don't do, and what it is fed.

Most classes are fed by the names of forward's arguments and their configuration (:func:`_by_name`). The tables of
zoo_diffusers_transformers.py and zoo_diffusers_others.py have those that need more: arguments of the class, or inputs
whose layout nothing in the configuration tells; sizes are those of the class's documentation, or small ones.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from zoo_diffusers_case import CORNER, SIZE, TIME, Case, ones
from zoo_diffusers_others import OTHERS
from zoo_diffusers_transformers import TRANSFORMERS

from fxcost.model.inputs import spec
from fxcost.sources.load import build
from fxcost.sources.shapes import Inputs

Made = tuple[torch.nn.Module, Callable[[], Inputs]]
CASES: Mapping[str, Case] = {**TRANSFORMERS, **OTHERS}


def names() -> list[str]:
    """Every model class."""
    import diffusers

    found = [n for n in dir(diffusers) if inspect.isclass(getattr(diffusers, n, None))]
    models = [n for n in found if issubclass(getattr(diffusers, n), diffusers.ModelMixin)]
    return [n for n in models if n != "ModelMixin"]


def make(name: str, real: bool) -> Made:
    """A model and its inputs."""
    import diffusers

    case = CASES.get(name, Case())

    def construct() -> Any:
        model = getattr(diffusers, name)(**(case.config() if callable(case.config) else case.config))
        if callable(case.prepare):
            case.prepare(model)
        elif case.prepare:
            getattr(model, case.prepare)()
        return model

    model = build(name, construct, real=real).eval()
    return model, partial(_inputs, model, case)


def _inputs(model: Any, case: Case) -> Inputs:
    made = {} if case.complete else _by_name(model, case.inputs)
    given = {name: value(model) if callable(value) else value for name, value in case.inputs.items()}
    return Inputs((), {**made, **given})


def _by_name(model: Any, known: Mapping[str, Any]) -> dict[str, Any]:
    """Latents of the configured size, a text of 77 tokens, a time: by the names of forward's arguments."""
    config: Mapping[str, Any] = getattr(model, "config", {})
    kind = type(model).__name__
    parameters = inspect.signature(model.forward).parameters
    needed = [p.name for p in parameters.values() if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    asked = ["timestep", "encoder_hidden_states", "pooled_projections", "img_ids", "txt_ids"]
    asked += ["encoder_attention_mask"] if "Kandinsky3" in kind else []
    asked += ["guidance"] if config.get("guidance_embeds") else []
    asked += ["added_cond_kwargs"] if "PixArt" in kind else []
    wanted = [n for n in parameters if n in needed or (n in asked and "AutoencoderKL" not in kind)]
    return {n: _input(n, config, kind) for n in wanted if n not in known}


def _input(name: str, config: Mapping[str, Any], kind: str) -> Any:
    def first(*keys: str, default: Any) -> Any:
        return next((config[k] for k in keys if config.get(k) is not None), default)

    width_of_text = first(
        "cross_attention_dim", "joint_attention_dim", "caption_channels", "text_embed_dim", "text_dim",
        "caption_projection_dim", "encoder_hid_dim", "cap_feat_dim", default=768,
    )  # fmt: skip
    text = max(width_of_text) if isinstance(width_of_text, (tuple, list)) else width_of_text
    axes = len(config.get("axes_dims_rope") or (16, 56, 56))
    image = _latents(first, kind)
    makers: dict[str, Any] = {
        "sample": spec(*image),
        "hidden_states": spec(*image),
        "x": spec(*image),
        "timestep": TIME,
        "timesteps": TIME,
        "encoder_hidden_states": spec(1, 77, text),
        "pooled_projections": spec(1, first("pooled_projection_dim", default=768)),
        "guidance": torch.tensor([1.0]),
        "img_ids": torch.zeros(256, axes),
        "txt_ids": torch.zeros(77, axes),
        "controlnet_cond": spec(1, first("conditioning_channels", default=3), *(8 * n for n in image[-2:])),
        "added_time_ids": torch.zeros(1, 3),
        "encoder_attention_mask": ones(1, 77),
        "added_cond_kwargs": {"resolution": spec(1, 2), "aspect_ratio": spec(1, 1)},
        "original_size": SIZE,
        "target_size": SIZE,
        "crop_coords": CORNER,
    }
    if name not in makers:
        raise ValueError(f"no default for the argument {name!r}")
    return makers[name]


def _latents(first: Callable[..., Any], kind: str) -> tuple[int, ...]:
    """Shape of what is denoised or encoded: image, video, sound, or patches in a row."""
    channels = first("in_channels", "latent_channels", default=3)
    size = first("sample_size", default=64)
    height, width = (size, size) if isinstance(size, int) else (size[0], size[-1])
    video = any(word in kind for word in ("3D", "Video", "Wan", "Mochi", "CogVideo", "Cosmos", "QwenImage", "VidTok"))
    sound = any(word in kind for word in ("1D", "Audio", "Oobleck", "SAME"))
    if "SpatioTemporal" in kind:  # frames before channels
        return (1, 4, channels, height, width)
    if "Autoencoder" in kind:
        if sound:
            return (1, first("audio_channels", "in_channels", default=1), 32_768)
        return (1, channels, 5, 64, 64) if video else (1, channels, height, width)
    if any(word in kind for word in ("Flux", "QwenImage", "Bria", "LTX", "Chroma", "LongCat", "Ovis")):
        return (1, 256, channels)
    if video:
        return (1, channels, 4, height, width)
    return (1, channels, 256) if sound else (1, channels, height, width)
