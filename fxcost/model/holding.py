"""What objects hold, and what classes and variables are the user's: asked without running code of the user's.

`isinstance` asks an object for its `__class__`, which may be code; :func:`is_a` asks for its type alone.
"""

from __future__ import annotations

import functools
import sys
import threading
import types
import weakref
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import fx, nn

from .code import Reads, is_the_users

NOTHING = frozenset(
    {
        int,
        float,
        complex,
        bool,
        str,
        bytes,
        type(None),
        type(...),
        type(NotImplemented),
        range,
        slice,
        torch.dtype,
        torch.device,
        torch.Size,
        torch.layout,
        torch.memory_format,
        torch._ops.OpOverload,
        torch._ops.OpOverloadPacket,
        types.CodeType,
        types.FrameType,
        types.GeneratorType,
        types.GenericAlias,
        types.UnionType,
        types.MethodDescriptorType,
        types.WrapperDescriptorType,
        types.GetSetDescriptorType,
        types.MemberDescriptorType,
        types.ClassMethodDescriptorType,
    }
)
"""Types whose values hold nothing that a run could change or call."""
NEVER_RUN = frozenset(
    {
        "__init_subclass__",
        "__class_getitem__",
        "__set_name__",
        "__subclasshook__",
        "__repr__",
        "__str__",
        "__del__",
        "__dir__",
        "__sizeof__",
        "__reduce__",
        "__reduce_ex__",
        "__getstate__",
        "__setstate__",
        "__copy__",
        "__deepcopy__",
        "__annotate__",
        "__annotate_func__",
    }
)
"""Methods of classes that no run of a model calls."""
SEQUENCES = (list, tuple, set, frozenset, deque)
_HOLDERS = frozenset({"builtins", "collections", "types", "argparse", "_thread", "weakref"})
"""Modules of Python's whose objects may hold what a user has put there."""
_OPAQUE = ("torch.fx", "torch.jit", "torch._dynamo", "torch._inductor", "torch._C")


def is_a(value: Any, kind: type | tuple[type, ...]) -> bool:
    """`isinstance` by the type of a value alone."""
    return issubclass(type(value), kind)


def is_users_class(cls: type) -> bool:
    """True for a class of the user's or of a library of his; and for those that PyTorch makes of a graph of his."""
    module = sys.modules.get(cls.__module__)
    if module is None or is_the_users(vars(module)):
        return cls.__module__ != "builtins"
    return cls is not fx.GraphModule and issubclass(cls, fx.GraphModule)


def may_hold(cls: type) -> bool:
    """True for objects of the user's classes, for containers, and for PyTorch's objects made in Python."""
    where = cls.__module__
    holds = where in _HOLDERS or (where.startswith("torch.") and not where.startswith(_OPAQUE))
    return holds or is_users_class(cls)


def may_matter(value: Any) -> bool:
    """False for what most variables are: plain values, and functions and classes of PyTorch's."""
    kind = type(value)
    if kind is types.FunctionType:
        return value.__closure__ is not None or is_the_users(value.__globals__)
    return kind not in NOTHING and (not issubclass(kind, type) or is_users_class(value))


def contents(value: Any) -> Iterator[tuple[str, Any]]:
    """What an object holds, by keys, positions or attributes; keys that are objects themselves are there too."""
    if is_a(value, dict):
        if not NOTHING.issuperset(map(type, dict.keys(value))):
            yield from (("key", key) for key in list(dict.keys(value)))
        if not NOTHING.issuperset(map(type, dict.values(value))):
            yield from ((str(key), item) for key, item in list(dict.items(value)))
    if is_a(value, defaultdict):
        yield "default_factory", value.default_factory
    for kind in SEQUENCES:
        if is_a(value, kind) and not NOTHING.issuperset(map(type, kind.__iter__(value))):
            yield from ((str(i), item) for i, item in enumerate(list(kind.__iter__(value))))
    yield from list(attributes(value).items())
    if type(value).__module__ != "builtins":
        yield from slots(value).items()


def attributes(value: Any) -> dict[str, Any]:
    """What an object has in its `__dict__`."""
    ask: Any = threading.local.__getattribute__ if is_a(value, threading.local) else object.__getattribute__
    try:
        held: dict[str, Any] = ask(value, "__dict__")
    except (AttributeError, TypeError):
        return {}
    return held if is_a(held, dict) else {}


def slots(value: Any) -> dict[str, Any]:
    """What an object has in slots."""
    found: dict[str, Any] = {}
    for cls in type(value).__mro__:
        for name in vars(cls) if "__slots__" in vars(cls) else ():
            if type(vars(cls)[name]) is types.MemberDescriptorType:
                try:
                    found[name] = vars(cls)[name].__get__(value)
                except AttributeError:
                    continue
    return found


def defaults(function: types.FunctionType) -> Iterable[tuple[str, Any]]:
    """The defaults of a function's arguments, by their names."""
    code, positional = function.__code__, function.__defaults__ or ()
    names = code.co_varnames[code.co_argcount - len(positional) : code.co_argcount]
    return (*zip(names, positional, strict=True), *(function.__kwdefaults__ or {}).items())


def called_by_bases(cls: type) -> frozenset[str]:
    """Names that a base of PyTorch's or Python's defines, and may call; `nn.Module` calls few of its own."""
    bases = [b for b in cls.__mro__ if b is not nn.Module and b is not object and not is_users_class(b)]
    return frozenset(name for base in bases for name in base.__dict__)


def resolved(scope: dict[str, Any], chain: Iterable[str]) -> Any:
    """What a variable and names of modules in modules stand for; None if it is not found so."""
    value: Any = None
    for i, name in enumerate(chain):
        value = scope.get(name) if i == 0 else vars(value).get(name) if is_a(value, types.ModuleType) else None
    return value


def imported(names: Iterable[str], scope: dict[str, Any]) -> Iterator[list[types.ModuleType]]:
    """Modules of the user's that code imports by these names, absolute ones or relative to its own place.

    Each with the packages around it, the outermost first: an import statement may return any of them.
    """
    package = str(scope.get("__package__") or "")
    places = [package.rsplit(".", i)[0] for i in range(package.count(".") + 1)] if package else []
    for name in names:
        for full in (name, *(f"{place}.{name}".rstrip(".") for place in places)):
            parts = full.split(".")
            found: list[Any] = [sys.modules.get(".".join(parts[: i + 1])) for i in range(len(parts))]
            if all(is_a(module, types.ModuleType) and is_the_users(vars(module)) for module in found):
                yield found


_OLD_TYPES = frozenset(f"{kind}Tensor" for kind in ("Float", "Double", "Half", "Long", "Int", "Short", "Byte", "Bool"))


def asks_types(found: Reads) -> bool:
    """True for code that may ask whether a tensor is a `torch.FloatTensor`."""
    return ("isinstance",) in found.variables and not _OLD_TYPES.isdisjoint(found.attributes)


def names_autocast(found: Reads, scope: dict[str, Any]) -> bool:
    """True for code that may enter `torch.autocast`, by whatever name it has there."""
    globals_: Iterator[Any] = (scope.get(chain[0]) for chain in found.variables)
    return "autocast" in found.attributes or any(is_a(v, type) and issubclass(v, torch.autocast) for v in globals_)


def places_of(root: nn.Module) -> dict[int, str]:
    """Of tensors that a model's lists and objects hold, by their ids: the attribute of a module that leads there."""
    found: dict[int, str] = {}
    seen: set[int] = set()
    for name, module in root.named_modules():
        for key, value in vars(module).items():
            todo = [] if key in _TABLES else [value]
            while todo:
                held = todo.pop()
                if type(held) in NOTHING or id(held) in seen:
                    continue
                seen.add(id(held))
                if is_a(held, torch.Tensor):
                    found[id(held)] = f"{name}.{key}".strip(".")
                else:
                    todo.extend(_held(held))
    return found


def _held(value: Any) -> list[Any]:
    if is_a(value, nn.Module):
        return list(value.parameters())
    if is_a(value, functools.partial):
        return [value.func, *value.args, *value.keywords.values()]
    if is_a(value, types.MethodType):
        return [value.__self__]
    if is_a(value, weakref.ref):
        return [value()]
    return [item for _, item in contents(value)] if may_hold(type(value)) else []


_TABLES = frozenset(vars(nn.Module()))
