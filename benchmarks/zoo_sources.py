"""The model libraries of the sweep: their models' names, and how to build and feed each.

torchvision, timm and transformers are built just as the command line builds them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from fxcost.load import build
from fxcost.load import load as load_spec
from fxcost.shapes import Inputs
from fxcost.sources import hf

Made = tuple[torch.nn.Module, Callable[[], Inputs]]
"""A model, and what gives its inputs."""


def _torchvision() -> list[str]:
    import torchvision

    return torchvision.models.list_models()


def _timm() -> list[str]:
    import timm

    return timm.list_models()


def _hf() -> list[str]:
    return hf.model_types()


def _by_spec(library: str, name: str) -> Made:
    loaded = load_spec(f"{library}:{name}")
    return loaded.model, loaded.default_inputs


LIBRARIES: dict[str, tuple[Callable[[], list[str]], Callable[[str], Made]]] = {
    "torchvision": (_torchvision, partial(_by_spec, "torchvision")),
    "timm": (_timm, partial(_by_spec, "timm")),
    "hf": (_hf, partial(_by_spec, "hf")),
}


def names(library: str) -> list[str]:
    """Names of all models of a library, sorted."""
    return LIBRARIES[library][0]()


def load(library: str, name: str) -> Made:
    """Build a model, in eval mode and without weights."""
    return LIBRARIES[library][1](name)
