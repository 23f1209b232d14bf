"""Model libraries that models can be named from: how each builds a model, and what it feeds it by default.

One file per library; `SOURCES` lists them by the prefix of their specs. A source is a function of a name and of
keyword arguments; it raises :class:`~fxcost.errors.ModelLoadError` where there is no such model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..errors import ModelLoadError
from . import hf, timm, torchvision
from .base import Source, no_inputs

SOURCES: Mapping[str, Callable[[str, dict[str, Any]], Source]] = {
    "torchvision": torchvision.source,
    "timm": timm.source,
    "hf": hf.source,
}

__all__ = ["SOURCES", "Source", "as_spec", "no_inputs"]


def as_spec(name: str) -> list[str]:
    """The specs that a bare model name could be meant for (`resnet50` → `torchvision:resnet50`, `timm:resnet50`)."""
    found = []
    for prefix, source in SOURCES.items():
        try:
            source(name, {})
        except ModelLoadError:
            continue
        found.append(f"{prefix}:{name}")
    return found
