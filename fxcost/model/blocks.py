"""The blocks of a model, and modules by patterns of their names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from torch import nn

from ..errors import ShardingError, nearest, shown
from ..records.tree import named_modules, table

LISTS = (nn.ModuleList, nn.Sequential, nn.ModuleDict)
_LAYERS = (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)


def blocks_of(model: nn.Module, wanted: tuple[Any, ...]) -> list[nn.Module]:
    """The modules whose parameters are gathered at once, beside the root."""
    if wanted:
        modules = dict(named_modules(model))
        for name in wanted:
            if isinstance(name, str) and not any(matches(name, fqn) for fqn in modules):
                near = nearest(name, modules)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise ShardingError(f"blocks names {shown(name)}, and the model has no such module{hint}")
        chosen = [
            module
            for fqn, module in modules.items()
            if any(matches(b, fqn) if isinstance(b, str) else isinstance(module, b) for b in wanted)
        ]
        return list(reversed(chosen))  # inner ones first
    return list(members(model))


def members(module: nn.Module) -> Iterator[nn.Module]:
    """Members of the outermost lists that are more than one layer of PyTorch's."""
    for child in table(module, "_modules").values():
        if child is None:
            continue
        of_torch = type(child).__module__.startswith("torch.nn.") and not isinstance(child, (*LISTS, *_LAYERS))
        if isinstance(module, LISTS) and not isinstance(child, LISTS) and not of_torch and _has_any(child):
            yield child
        else:
            yield from members(child)


def _has_any(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None


def matches(pattern: str, name: str) -> bool:
    """True if a name is one that a pattern means, in which `*` stands for one step."""
    return re.fullmatch(re.escape(pattern).replace(r"\*", r"[^.]+"), name) is not None
