"""Activation checkpointing around modules of a copy of the model, as one would write it around those of the model."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from torch.utils.checkpoint import checkpoint

from ..errors import InputError, nearest, shown
from .parts import Parts


def checkpoint_modules(parts: Parts, names: Iterable[str]) -> None:
    """Have the forward of each named module run under `torch.utils.checkpoint`, without reentrance.

    Raises:
        InputError: the model has no module of that name.
    """
    modules = dict(parts.named_modules())
    for name in names:
        if name not in modules:
            near = nearest(name, modules)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise InputError(f"the model has no module {shown(name)} to checkpoint{hint}")
        module = modules[name]
        module.__dict__["forward"] = partial(checkpoint, module.forward, use_reentrant=False)
