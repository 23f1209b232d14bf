"""Model libraries that models can be named from: how each builds a model, and what it feeds it by default.

One file per library; `SOURCES` lists them by the prefix of their specs. A source is a function of a name and of
keyword arguments; it raises :class:`~fxcost.errors.ModelLoadError` where there is no such model.

In: text ("timm:resnet50", "net.py:Net", "1,3,224,224"). Out: a `Source`, which builds the model and its default inputs.
May use `model`.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import ModelLoadError
from . import hf, timm, torchvision
from .base import Source, no_inputs, no_such_model

SOURCES: Mapping[str, Callable[[str, dict[str, Any]], Source]] = {
    "torchvision": torchvision.source,
    "timm": timm.source,
    "hf": hf.source,
}

NAMES: Mapping[str, Callable[[], list[str]]] = {
    "torchvision": torchvision.names,
    "timm": timm.names,
    "hf": hf.model_types,
}
"""What gives the names of all models of a library that has a list of them."""

__all__ = ["NAMES", "SOURCES", "Source", "as_spec", "matching", "no_inputs"]


def matching(spec: str) -> list[str]:
    """The specs that a spec with wildcards stands for (`timm:resnet*`); itself if it has none, or names a file.

    Raises:
        ModelLoadError: no model of the library matches, or the library isn't installed.
    """
    prefix, _, pattern = spec.partition(":")
    if prefix not in NAMES or not any(sign in pattern for sign in "*?["):
        return [spec]
    found = fnmatch.filter(NAMES[prefix](), pattern)
    if not found:
        raise no_such_model(prefix, pattern, NAMES[prefix]())
    return [f"{prefix}:{name}" for name in found]


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
