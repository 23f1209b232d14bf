"""Rules by name, for operators that exist only once their library (or a part of PyTorch) is imported."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from . import attention, audio, communication, loss, vision
from .registry import OpKey, Rule

LATE_RULES: Mapping[str, Rule] = {
    **vision.LATE_RULES,
    **audio.LATE_RULES,
    **loss.LATE_RULES,
    **attention.LATE_RULES,
    **communication.LATE_RULES,
}
"""Rules by qualified name."""


def registered() -> tuple[str, ...]:
    """Names in `LATE_RULES` whose operators exist by now."""
    return tuple(name for name in LATE_RULES if torch._C._jit_get_schemas_for_operator(name))


def late_rules(names: tuple[str, ...]) -> dict[OpKey, Rule]:
    """The rules of operators that exist, by operator."""
    found: dict[OpKey, Rule] = {}
    for name in names:
        namespace, _, operator = name.partition("::")
        found[getattr(getattr(torch.ops, namespace), operator)] = LATE_RULES[name]
    return found
