"""`timm:NAME`: every model of timm, without weights."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from ..errors import ModelLoadError
from ..model.inputs import spec
from .base import Source, library, no_such_model
from .shapes import Inputs


def names() -> list[str]:
    """Every architecture of timm, without tags.

    Raises:
        ModelLoadError: timm isn't installed.
    """
    found: list[str] = library("timm").list_models()
    return found


def source(name: str, arguments: dict[str, Any]) -> Source:
    """A model of timm by its name, with or without a tag (`resnet50`, `resnet50.a1_in1k`).

    Raises:
        ModelLoadError: timm isn't installed, or has no such model.
    """
    timm = library("timm")
    if name.startswith(("hf-hub:", "hf_hub:")):
        raise ModelLoadError(f"timm:{name} would be downloaded, which fxcost never does; give the model's timm name")
    if not timm.is_model(name.partition(".")[0]):
        raise no_such_model("timm", name, timm.list_models())
    return Source(partial(timm.create_model, name, **{"pretrained": False, **arguments}), partial(_inputs, arguments))


def _inputs(arguments: dict[str, Any], model: torch.nn.Module, batch: int) -> Inputs:
    """One image of the size in the model's `pretrained_cfg`, unless `img_size` or `in_chans` said otherwise."""
    config: Any = getattr(model, "pretrained_cfg", None) or {}
    channels, height, width = config.get("input_size") or (3, 224, 224)
    size = arguments.get("img_size", (height, width))
    height, width = (size, size) if isinstance(size, int) else size
    shape = (batch, arguments.get("in_chans", channels), height, width)
    return Inputs((spec(*shape),))
