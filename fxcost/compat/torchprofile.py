"""`from torchprofile import profile_macs` (0.1.0)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from ..analyze import analyze
from .common import refuse


def profile_macs(
    model: nn.Module,
    args: Any = (),
    kwargs: Mapping[str, Any] | None = None,
    reduction: Callable[[Any], Any] | None = sum,
) -> int:
    """MACs as torchprofile counts them, in the mode that the model is in.

    Raises:
        ConventionError: `kwargs` are given, which the tool does not take either, or another reduction than `sum`.
    """
    refuse("torchprofile", kwargs=kwargs, reduction=reduction is not sum)
    return analyze(model, list(args) if isinstance(args, tuple) else args).count("torchprofile")
