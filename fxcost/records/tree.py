"""The modules of a model by name, as `nn.Module.named_modules` has them, whatever the model's own classes do.

Modules are told apart by identity, not by their own `==` and `hash`, and no code of theirs runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn


def table(module: nn.Module, name: str) -> Mapping[str, Any]:
    """One of a module's tables, such as `_modules`; empty if it was made without `nn.Module.__init__`."""
    if isinstance(module, torch.jit.ScriptModule):  # its tables are views of what C++ holds
        return getattr(module, name)  # type: ignore[no-any-return]
    return object.__getattribute__(module, "__dict__").get(name) or {}


def named_modules(root: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Each module once, by its first name, the root ("") first and each before its children."""
    seen: set[int] = set()
    todo: list[tuple[str, nn.Module]] = [("", root)]
    while todo:
        name, module = todo.pop()
        if id(module) in seen:
            continue
        seen.add(id(module))
        yield name, module
        children = [(f"{name}.{local}" if name else local, child) for local, child in table(module, "_modules").items()]
        todo.extend((name, child) for name, child in reversed(children) if child is not None)


def held_tensors(root: nn.Module) -> Iterator[Tensor]:
    """Parameters and buffers of all modules; a tensor that stands in two places comes twice."""
    for _, module in named_modules(root):
        for name in ("_parameters", "_buffers"):
            yield from (tensor for tensor in table(module, name).values() if tensor is not None)
