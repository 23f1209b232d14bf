"""`torchvision:NAME`: every builder of torchvision, without weights."""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any

import torch

from ..model.inputs import spec
from .base import Source, library, no_such_model
from .shapes import Inputs


def names() -> list[str]:
    """Every registered builder of torchvision.

    Raises:
        ModelLoadError: torchvision isn't installed.
    """
    found: list[str] = library("torchvision.models").list_models()
    return found


def source(name: str, arguments: dict[str, Any]) -> Source:
    """A builder of `torchvision.models` by its registered name.

    Raises:
        ModelLoadError: torchvision isn't installed, or has no such model.
    """
    models = library("torchvision.models")
    known = models.list_models()
    if name.lower() not in known:
        raise no_such_model("torchvision", name, known)
    builder = models.get_model_builder(name)
    # A detector's backbone would be downloaded by default.
    none = {k: None for k in ("weights", "weights_backbone") if k in inspect.signature(builder).parameters}
    return Source(partial(builder, **{**none, **arguments}), partial(_inputs, name.lower(), builder.__module__))


def _inputs(name: str, module: str, model: torch.nn.Module, batch: int) -> Inputs:
    """Inputs as the model's weights were evaluated on: torchvision's own transforms say so.

    Segmentation 520×520; video 16 frames; optical flow two images of 520×960; detection one image of 800×1066,
    which is what the usual 480×640 becomes.
    """
    family = module.removeprefix("torchvision.models.").partition(".")[0]
    if family == "detection":
        return Inputs(([spec(3, 800, 1066)] * batch,))
    if family == "optical_flow":
        return Inputs((spec(batch, 3, 520, 960),) * 2)
    if family == "segmentation":
        return Inputs((spec(batch, 3, 520, 520),))
    frames = (16,) if family == "video" else ()
    # A vision transformer knows the size it was built for, which need not be its best weights'.
    built_for = getattr(model, "image_size", None)
    height, width = (built_for, built_for) if isinstance(built_for, int) else _crop_size(name)
    return Inputs((spec(batch, 3, *frames, height, width),))


def _crop_size(name: str) -> tuple[int, int]:
    """Height and width that the default weights of a model were evaluated on; 224×224 if there are none."""
    try:
        weights = library("torchvision.models").get_model_weights(name).DEFAULT
    except (ValueError, AttributeError):  # a builder that someone registered without weights
        return 224, 224
    size = getattr(weights.transforms, "keywords", {}).get("crop_size", 224)
    return (size, size) if isinstance(size, int) else (size[0], size[-1])
