"""What is known of modules: which stay whole, what they are called, where in them code is running."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import BuiltinFunctionType, MappingProxyType, MethodDescriptorType, TracebackType, WrapperDescriptorType
from typing import Any

import torch
from torch import nn

from ..errors import InputError
from ..meta.segments import Segment
from ..records.recording import ModuleRecord, ParameterRecord
from ..records.tree import named_modules, table

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.DataParallel, nn.ParameterList, nn.ParameterDict)
_NOT_PYTHON = (BuiltinFunctionType, MethodDescriptorType, WrapperDescriptorType, torch._ops.OpOverload)
_LIBRARY = ("torch.nn.functional", "torch._C._nn", "torch._C._fft", "torch._C._linalg", "torch._C._special")


def is_leaf(module: nn.Module, name: str, leaf_modules: tuple[Any, ...] = ()) -> bool:
    """True for modules that become one node: PyTorch's own but its containers, and what the user names.

    `leaf_modules` holds module classes and FQNs.
    """
    if leaf_modules and any(
        name == leaf if isinstance(leaf, str) else isinstance(module, leaf) for leaf in leaf_modules
    ):
        return True
    own = type(module).__module__
    return own.startswith(("torch.nn.", "torch.ao.nn.")) and not isinstance(module, _CONTAINERS)


@functools.lru_cache(maxsize=4096)
def is_library_function(function: Callable[..., Any]) -> bool:
    """True for PyTorch's and Python's own functions, False for those of the user's that stay whole in a graph."""
    if isinstance(function, _NOT_PYTHON):
        return True
    module = getattr(function, "__module__", None) or ""
    return module == "torch" or module in _LIBRARY or module.startswith(("torch.functional", "torch._tensor"))


class InnerScopes:
    """While active, tells `segment.scope` which module inside a leaf module is running."""

    def __init__(self, module: nn.Module, segment: Segment) -> None:
        self._segment = segment
        self._inner = [(n, m) for n, m in named_modules(module) if n and not isinstance(m, torch.jit.ScriptModule)]
        self._before = [m.__dict__.get("forward") for _, m in self._inner]

    def __enter__(self) -> None:
        for name, module in self._inner:
            module.__dict__["forward"] = self._scoped(name, module.forward)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for (_, module), before in zip(self._inner, self._before, strict=True):
            del module.__dict__["forward"]
            if before is not None:
                module.__dict__["forward"] = before

    def _scoped(self, name: str, forward: Callable[..., Any]) -> Callable[..., Any]:
        segment = self._segment

        @functools.wraps(forward)
        def run(*args: Any, **kwargs: Any) -> Any:
            before, segment.scope, start = segment.scope, name, len(segment.operations)
            try:
                out = forward(*args, **kwargs)
            finally:
                segment.scope = before
            segment.note(name, True, args, kwargs, out, start)
            return out

        return run


@dataclass(frozen=True, slots=True)
class Inventory:
    """What a model is made of, with all names under which each module, parameter and buffer is found, in order."""

    modules: tuple[tuple[nn.Module, tuple[str, ...]], ...]
    parameters: tuple[tuple[torch.Tensor, tuple[str, ...]], ...]
    buffers: tuple[tuple[torch.Tensor, tuple[str, ...]], ...]

    def names(self, held: Callable[[torch.Tensor], torch.Tensor] = lambda tensor: tensor) -> dict[int, str]:
        """The first name of each tensor, by the id of what is held of it."""
        return {id(held(tensor)): names[0] for tensor, names in (*self.parameters, *self.buffers)}

    def tensors(self) -> dict[str, torch.Tensor]:
        """Each tensor by its first name."""
        return {names[0]: tensor for tensor, names in (*self.parameters, *self.buffers)}


def inventory(root: nn.Module, outside: Mapping[str, Any] = MappingProxyType({})) -> Inventory:
    """Walk a model once, and what stands outside of it, by name. A module that contains itself is not entered again.

    Raises:
        InputError: something in a module's tables is no module or tensor, or its name is no name.
    """
    modules: dict[int, tuple[nn.Module, list[str]]] = {}
    parameters: dict[int, tuple[torch.Tensor, list[str]]] = {}
    buffers: dict[int, tuple[torch.Tensor, list[str]]] = {}
    for name, part in outside.items():
        if isinstance(part, torch.Tensor):
            (parameters if isinstance(part, nn.Parameter) else buffers)[id(part)] = part, [name]
    inner = [(name, part) for name, part in outside.items() if isinstance(part, nn.Module)]
    stack: list[tuple[str, nn.Module]] = [*reversed(inner), ("", root)]
    while stack:
        name, module = stack.pop()
        known = modules.get(id(module))
        if known is None:
            modules[id(module)] = module, [name]
        elif any(not above or name.startswith(f"{above}.") for above in known[1]):
            continue
        else:
            known[1].append(name)
        prefix = f"{name}." if name else ""
        for tensors, found in ((table(module, "_parameters"), parameters), (table(module, "_buffers"), buffers)):
            for key, tensor in tensors.items():
                if tensor is not None:
                    full = prefix + _checked(key, tensor, torch.Tensor, name)
                    found.setdefault(id(tensor), (tensor, []))[1].append(full)
        if children := table(module, "_modules"):
            named = [(prefix + _checked(key, child, nn.Module, name), child) for key, child in children.items()]
            stack.extend((key, child) for key, child in reversed(named) if child is not None)
    return Inventory(
        tuple([(module, tuple(names)) for module, names in modules.values()]),
        tuple([(tensor, tuple(names)) for tensor, names in parameters.values()]),
        tuple([(tensor, tuple(names)) for tensor, names in buffers.values()]),
    )


def _checked(name: Any, value: Any, kind: type, module: str) -> str:
    """A name in a module's tables, if it and what it stands for are such as `nn.Module` takes."""
    if type(name) is str and name and "." not in name and (value is None or isinstance(value, kind)):
        return name
    what = f"{name!r} is a {type(value).__name__}" if type(name) is str and name and "." not in name else repr(name)
    raise InputError(
        f"module {module!r} holds {what} where {kind.__name__.lower()}s stand: names are texts without dots, as "
        "add_module and register_parameter take them"
    )


def module_records(found: Inventory) -> tuple[ModuleRecord, ...]:
    """One record per module object, in the order of `named_modules`; further names of it are its aliases."""
    return tuple(
        [
            ModuleRecord(
                names[0],
                type(module).__name__,
                f"{type(module).__module__}.{type(module).__qualname__}",
                names[1:],
                _is_training(module),
                _own_tensors(module, f"{names[0]}." if names[0] else ""),
            )
            for module, names in found.modules
        ]
    )


def _is_training(module: nn.Module) -> bool:
    if isinstance(module, torch.jit.ScriptModule):
        return getattr(module, "training", False)  # a frozen one has none
    return bool(object.__getattribute__(module, "__dict__").get("training", False))


def _own_tensors(module: nn.Module, prefix: str) -> tuple[str, ...]:
    parameters, buffers = table(module, "_parameters"), table(module, "_buffers")
    if not parameters and not buffers:
        return ()
    return tuple([prefix + name for name, tensor in (*parameters.items(), *buffers.items()) if tensor is not None])


def parameter_records(found: Inventory, spec: Callable[[torch.Tensor], Any]) -> tuple[ParameterRecord, ...]:
    """One record per parameter or buffer object, with all names under which it is found; parameters first."""
    parameters = {id(tensor) for tensor, _ in found.parameters}
    buffers = {id(tensor): names for tensor, names in found.buffers}
    records = [
        ParameterRecord(names + buffers.get(id(p), ()), spec(p), False, p.requires_grad, _parts(p, spec))
        for p, names in found.parameters
        if type(p) is nn.Parameter or not nn.parameter.is_lazy(p)
    ]
    records += [
        ParameterRecord(names, spec(b), True, False, _parts(b, spec))
        for b, names in found.buffers
        if id(b) not in parameters and not nn.parameter.is_lazy(b)
    ]
    return tuple(records)


def _parts(tensor: torch.Tensor, spec: Callable[[torch.Tensor], Any]) -> tuple[Any, ...]:
    kind = type(tensor)
    plain = kind is torch.Tensor or kind is nn.Parameter or tensor.is_nested or not hasattr(kind, "__tensor_flatten__")
    return () if plain else tuple(map(spec, tensors_within(tensor)))


def tensors_within(tensor: Any) -> Iterator[torch.Tensor]:
    """The plain tensors that a tensor subclass is made of, by PyTorch's protocol for these; else itself."""
    if not hasattr(type(tensor), "__tensor_flatten__"):
        yield tensor
        return
    for name in tensor.__tensor_flatten__()[0]:
        if isinstance(part := getattr(tensor, name), torch.Tensor):  # a DTensor names its mesh too
            yield from tensors_within(part)


def signature_source(model: Any) -> Callable[..., Any]:
    """What holds the signature of a call: a module's forward, or the callable itself."""
    return model.forward if isinstance(model, nn.Module) else model


def argument_names(model: Any) -> list[str]:
    """Names of the parameters that a model's call takes; none where a signature can't be had."""
    try:
        return list(inspect.signature(signature_source(model)).parameters)
    except (TypeError, ValueError):
        return []
