"""A model's modules as data, and from them a skeleton: modules of the same classes, without weights and code to run.

Some readers of a report look at the modules themselves (other tools count by a module's class and attributes). A
skeleton has all that they ask for: the tree, each module's class and plain attributes, parameters and buffers on meta.

A class that is loaded in this process is taken as it is, but never called; one that is not is replaced by a class of
its name below the class of PyTorch's that it extends.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ReportFileError, shown
from .ranges import Position
from .recording import ParameterRecord, TensorSpec
from .tree import named_modules, table

_BOOKKEEPING = frozenset(nn.Module().__dict__) - {"training"}
_OWN = _BOOKKEEPING | frozenset(dir(nn.Module))
"""Names of what every module has: no attribute of a skeleton may take their place."""
_LONGEST = 1000
"""Characters that a plain attribute may have as text; whatever is longer is data, not configuration."""


@dataclass(frozen=True, slots=True)
class HeldTensor:
    """A tensor that a module holds as a plain attribute."""

    spec: TensorSpec
    requires_grad: bool


@dataclass(frozen=True, slots=True)
class ModuleKind:
    """What equal modules share: class and bases as paths, and plain attributes."""

    path: str
    bases: tuple[str, ...]
    attributes: tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True)
class ModuleBone:
    """One module: its kind, and by local names its parameters, buffers (numbers of records; None for none) and
    children (numbers of bones)."""

    kind: ModuleKind
    parameters: tuple[tuple[str, Position | None], ...]
    buffers: tuple[tuple[str, Position | None], ...]
    children: tuple[tuple[str, Position], ...]


def bones(root: nn.Module, parameters: Iterable[ParameterRecord]) -> tuple[ModuleBone, ...]:
    """A model as data, the root first. `parameters` are the records of its parameters and buffers."""
    records = {name: i for i, record in enumerate(parameters) for name in record.names}
    modules = tuple(named_modules(root))
    numbers = {id(module): i for i, (_, module) in enumerate(modules)}
    paths: dict[type, tuple[str, tuple[str, ...]]] = {}
    return tuple(
        ModuleBone(
            _kind(module, paths),
            tuple(_numbered(table(module, "_parameters"), name, records)),
            tuple(_numbered(table(module, "_buffers"), name, records)),
            tuple([(local, numbers[id(child)]) for local, child in children(module)]),
        )
        for name, module in modules
    )


def children(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """The children of a module by their local names."""
    return [(name, child) for name, child in table(module, "_modules").items() if isinstance(child, nn.Module)]


def _numbered(
    tensors: Mapping[str, Tensor | None], prefix: str, records: Mapping[str, int]
) -> Iterator[tuple[str, int | None]]:
    for name, tensor in tensors.items():
        number = records.get(f"{prefix}.{name}".lstrip("."))
        if tensor is None or number is not None:
            yield name, number if tensor is not None else None


def _kind(module: nn.Module, paths: dict[type, tuple[str, tuple[str, ...]]]) -> ModuleKind:
    """`paths` are those of classes that were met already."""
    kind: Any = type(module)
    if kind not in paths:
        paths[kind] = _class_paths(kind)
    return ModuleKind(*paths[kind], tuple(_attributes(module)))


def _class_paths(kind: Any) -> tuple[str, tuple[str, ...]]:
    """The path of a class, and those of its nearest ancestors in PyTorch, `nn.Module` itself left out."""
    nearest: list[type] = []
    for base in kind.__mro__[1:]:
        known = base.__module__.startswith("torch.") and issubclass(base, nn.Module) and base is not nn.Module
        if known and not any(issubclass(found, base) for found in nearest):
            nearest.append(base)
    return _path(kind), tuple(map(_path, nearest))


def _path(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def _attributes(module: nn.Module) -> Iterator[tuple[str, Any]]:
    held = object.__getattribute__(module, "__dict__")
    for name, value in held.items():
        if name in _OWN:
            continue
        if isinstance(value, Tensor):
            yield name, _held(value)
        elif _is_plain(value):
            yield name, value
    for name in ("weight", "bias"):  # of a parametrized or quantized module, computed when it is asked for
        if name not in table(module, "_parameters") and name not in held and hasattr(type(module), name):
            computed = _computed(module, name)
            if isinstance(computed, Tensor):
                yield name, _held(computed)


def _computed(module: nn.Module, name: str) -> Any:
    try:
        with torch.no_grad():
            return getattr(module, name)
    except Exception:
        return None  # a property of the user's that does not work here; whoever asks for it will see


def _held(tensor: Tensor) -> HeldTensor:
    return HeldTensor(TensorSpec(tuple(tensor.shape), tensor.dtype), tensor.requires_grad)


def _is_plain(value: Any, room: int = _LONGEST) -> bool:
    """True for small plain data: what configures a module."""
    if isinstance(value, str):
        return len(value) < room
    if value is None or isinstance(value, (bool, int, float, torch.dtype)):
        return True
    return isinstance(value, (tuple, list)) and len(value) < 100 and all(_is_plain(v, room // 10) for v in value)


def skeleton(bones: Iterable[ModuleBone], parameters: Iterable[ParameterRecord]) -> nn.Module:
    """Modules as `bones` describe them; the first is the root.

    Raises:
        ReportFileError: there are none, they do not fit together, or PyTorch can't make them.
    """
    bones, parameters = tuple(bones), tuple(parameters)
    for fault in _faults(bones, len(parameters)):
        raise ReportFileError(fault)
    try:
        return _assembled(bones, parameters)
    except (RuntimeError, TypeError, ValueError) as error:
        raise ReportFileError(f"PyTorch can't make the modules or parameters: {shown(str(error))}") from error


def _faults(bones: tuple[ModuleBone, ...], parameters: int) -> Iterator[str]:
    """What is wrong with bones, in words."""
    if not bones:
        yield "there are no modules"
    for bone in bones:
        if any(n is not None and n >= parameters for _, n in (*bone.parameters, *bone.buffers)):
            yield f"a {shown(bone.kind.path)} has a parameter that is not there"
        if any(n >= len(bones) for _, n in bone.children):
            yield f"a {shown(bone.kind.path)} has a child that is not there"
    for kind in {id(bone.kind): bone.kind for bone in bones}.values():
        for name in sorted(_OWN & {name for name, _ in kind.attributes}):
            yield f"the attribute {name!r} of a {shown(kind.path)} would hide the modules' own"


def _assembled(bones: tuple[ModuleBone, ...], parameters: tuple[ParameterRecord, ...]) -> nn.Module:
    tensors = [_tensor(record) for record in parameters]
    classes: dict[Any, type[nn.Module]] = {}
    modules = [_module(bone.kind, classes) for bone in bones]
    for module, bone in zip(modules, bones, strict=True):
        module._parameters.update({name: _at(tensors, i) for name, i in bone.parameters})
        module._buffers.update({name: _at(tensors, i) for name, i in bone.buffers})
        module._modules.update({name: modules[i] for name, i in bone.children})
    return modules[0]


def _at(tensors: list[Any], number: int | None) -> Any:
    return None if number is None else tensors[number]


def _tensor(record: ParameterRecord) -> Tensor:
    empty = _empty(record.spec)
    return empty if record.is_buffer else nn.Parameter(empty, requires_grad=record.trainable)


def _empty(spec: TensorSpec) -> Tensor:
    return torch.empty(spec.shape, dtype=spec.dtype, device="meta")


def _module(kind: ModuleKind, classes: dict[Any, type[nn.Module]]) -> nn.Module:
    """`classes` are those that were found already."""
    held = {name: value for name, value in kind.attributes if isinstance(value, HeldTensor)}
    key = kind.path, kind.bases, frozenset(held)
    if key not in classes:
        classes[key] = _class_of(*key)
    module: nn.Module = object.__new__(classes[key])
    module.__dict__.update(nn.Module().__dict__)  # no code of the class runs
    module.__dict__.update({name: value for name, value in kind.attributes if name not in held})
    for name, value in held.items():
        module.__dict__[name] = _empty(value.spec).requires_grad_(value.requires_grad)
    return module


def _class_of(path: str, bases: tuple[str, ...], held: frozenset[str]) -> type[nn.Module]:
    """The class of a module: a loaded one that does not compute what the module is to hold, or a new one."""
    loaded = _loaded(path)
    if loaded is not None and not any(isinstance(getattr(loaded, name, None), property) for name in held):
        return loaded
    module, _, name = path.partition(":")
    parents = tuple(parent for base in bases if (parent := _loaded(base)) is not None) or (nn.Module,)
    return type(name.rpartition(".")[2], parents, {"__module__": module, "__qualname__": name})


def _loaded(path: str) -> type[nn.Module] | None:
    module, _, name = path.partition(":")
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    ready = isinstance(found, type) and issubclass(found, nn.Module) and not issubclass(found, torch.jit.ScriptModule)
    return found if ready else None
