"""The names of a model's parts: of its modules, and of those that its code takes from outside.

A model that is no module (a function, an object, a method of one) has its parts in a holder. What a module's code
reaches besides the module is named by the variable where it is found, and stands in the module's tree once it is known
to take part: while the model runs, nothing may be added to it.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ..records.tree import held_tensors, named_modules, table
from .isolate import MetaCopier


@dataclass(frozen=True, slots=True)
class Parts:
    """The copy of a model: its `root`, and by names what stands outside of it.

    `certain` are the names of those that belong to the model however it runs.
    """

    root: nn.Module
    outside: Mapping[str, nn.Module | Tensor]
    certain: frozenset[str] = frozenset()

    def named_modules(self) -> Iterator[tuple[str, nn.Module]]:
        """All modules, each by its first name."""
        yield from named_modules(self.root)
        for name, part in self.outside.items():
            if isinstance(part, nn.Module):
                yield from ((f"{name}.{inner}" if inner else name, module) for inner, module in named_modules(part))

    def tensors(self) -> Iterator[Tensor]:
        """Parameters and buffers of all modules, and what else stands outside."""
        yield from held_tensors(self.root)
        for part in self.outside.values():
            yield from held_tensors(part) if isinstance(part, nn.Module) else (part,)

    def together(self) -> nn.Module:
        """The root and what stands outside as one module, by whose names all are found."""
        if not self.outside:
            return self.root
        whole = nn.Module()
        whole.__dict__.update(object.__getattribute__(self.root, "__dict__"))
        for name in ("_parameters", "_buffers", "_modules"):
            whole.__dict__[name] = dict(table(self.root, name))
        Parts(whole, self.outside, frozenset(self.outside)).attach()
        return whole

    def attach(self, mentioned: Iterable[str] = ()) -> None:
        """Put what took part under the root: what is certain, and what a name in `mentioned` stands in."""
        used = set(self.certain)
        for name in mentioned:
            used.update(part for part in self.outside if name == part or name.startswith(f"{part}."))
        for name, part in self.outside.items():
            if name in used:
                _put(self.root, name.split("."), part)


def parts_of(copier: MetaCopier, model: Any) -> Parts:
    """The parts of what `copier` has copied; `model` is the original."""
    owner = owner_of(model)
    root = copier.value(owner) if isinstance(owner, nn.Module) else nn.Module()
    copies = {id(copy): (part, copy) for part in copier.reach.parts if (copy := copier.value(part.value)) is not root}
    inner = _within(root).union(*(_within(copy) for _, copy in copies.values() if isinstance(copy, nn.Module)))
    outside: dict[str, nn.Module | Tensor] = {}
    certain = set()
    for key, (part, copy) in copies.items():
        named = isinstance(copy, nn.Module) or copy.requires_grad or len(part.path) == 1
        if key not in inner and named:
            name = _free([step.replace(".", "_") or "_" for step in part.path], root, outside)
            outside[name] = copy
            certain.update([name] if part.certain else [])
    if root is not copier.value(owner):  # a holder
        root.training = any(part.training for part in outside.values() if isinstance(part, nn.Module)) or not outside
    return Parts(root, outside, frozenset(certain))


def name_of(model: Any) -> str:
    """What a callable that is no module is called."""
    return str(getattr(model, "__name__", type(model).__name__))


def owner_of(model: Any) -> Any:
    """What a callable belongs to: the module of a method, what a partial calls; else itself."""
    while isinstance(model, (types.MethodType, functools.partial)):
        model = model.__self__ if isinstance(model, types.MethodType) else model.func
    return model


def _within(module: nn.Module) -> set[int]:
    inner = {id(m) for _, m in named_modules(module)} - {id(module)}
    return inner | {id(t) for t in held_tensors(module)}


def _free(path: list[str], root: nn.Module, outside: Mapping[str, Any]) -> str:
    """A name that nothing has yet, and that stands neither above nor below another."""
    held = object.__getattribute__(root, "__dict__")
    tables = [held, *(table(root, name) for name in ("_parameters", "_buffers", "_modules"))]
    first, i = path[0], 0
    while True:
        name = ".".join(path)
        near = any(other == name or other.startswith(f"{name}.") or name.startswith(f"{other}.") for other in outside)
        if not near and not any(path[0] in names for names in tables):
            return name
        i += 1
        path = [f"{first}_{i}", *path[1:]]


def _put(root: nn.Module, path: list[str], part: nn.Module | Tensor) -> None:
    *around, name = path
    for step in around:
        root = root._modules.setdefault(step, nn.Module())  # type: ignore[assignment]
    if isinstance(part, nn.Module):
        root._modules[name] = part
    elif part.requires_grad and part.is_leaf:
        root._parameters[name] = part  # type: ignore[assignment]  # a leaf that trains, whatever its class
    else:
        root._buffers[name] = part
