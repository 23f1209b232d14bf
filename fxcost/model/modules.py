"""What is known of modules: which stay whole, what they are called, where in them code is running."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import BuiltinFunctionType, MethodDescriptorType, TracebackType, WrapperDescriptorType
from typing import Any

import torch
from torch import nn

from ..meta.segments import Segment
from ..records.recording import ModuleRecord, ParameterRecord

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
        self._inner = [(n, m) for n, m in module.named_modules() if n and not isinstance(m, torch.jit.ScriptModule)]
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

    def names(self) -> dict[int, str]:
        """The first name of each tensor, by its id."""
        return {id(tensor): names[0] for tensor, names in (*self.parameters, *self.buffers)}

    def tensors(self) -> dict[str, torch.Tensor]:
        """Each tensor by its first name."""
        return {names[0]: tensor for tensor, names in (*self.parameters, *self.buffers)}


def inventory(root: nn.Module) -> Inventory:
    """Walk a model once. A module that contains itself is not entered again."""
    modules: dict[int, tuple[nn.Module, list[str]]] = {}
    parameters: dict[int, tuple[torch.Tensor, list[str]]] = {}
    buffers: dict[int, tuple[torch.Tensor, list[str]]] = {}
    stack: list[tuple[str, nn.Module]] = [("", root)]
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
        _note_names(module._parameters, prefix, parameters)
        _note_names(module._buffers, prefix, buffers)
        if module._modules:
            children = [(prefix + key, child) for key, child in module._modules.items() if child is not None]
            stack.extend(reversed(children))
    return Inventory(
        tuple([(module, tuple(names)) for module, names in modules.values()]),
        tuple([(tensor, tuple(names)) for tensor, names in parameters.values()]),
        tuple([(tensor, tuple(names)) for tensor, names in buffers.values()]),
    )


def _note_names(
    tensors: Mapping[str, torch.Tensor | None], prefix: str, found: dict[int, tuple[torch.Tensor, list[str]]]
) -> None:
    for name, tensor in tensors.items():
        if tensor is None:
            continue
        known = found.get(id(tensor))
        if known is None:
            found[id(tensor)] = tensor, [prefix + name]
        else:
            known[1].append(prefix + name)


def module_records(found: Inventory) -> tuple[ModuleRecord, ...]:
    """One record per module object, in the order of `named_modules`; further names of it are its aliases."""
    return tuple(
        [
            ModuleRecord(
                names[0],
                type(module).__name__,
                f"{type(module).__module__}.{type(module).__qualname__}",
                names[1:],
                getattr(module, "training", False),  # a frozen ScriptModule has none
                _own_tensors(module, f"{names[0]}." if names[0] else ""),
            )
            for module, names in found.modules
        ]
    )


def _own_tensors(module: nn.Module, prefix: str) -> tuple[str, ...]:
    parameters, buffers = module._parameters, module._buffers
    if not parameters and not buffers:
        return ()
    return tuple([prefix + name for name, tensor in (*parameters.items(), *buffers.items()) if tensor is not None])


def parameter_records(found: Inventory, spec: Callable[[torch.Tensor], Any]) -> tuple[ParameterRecord, ...]:
    """One record per parameter or buffer object, with all names under which it is found; parameters first."""
    parameters = {id(tensor) for tensor, _ in found.parameters}
    buffers = {id(tensor): names for tensor, names in found.buffers}
    records = [
        ParameterRecord(names + buffers.get(id(p), ()), spec(p), False, p.requires_grad)
        for p, names in found.parameters
        if type(p) is nn.Parameter or not nn.parameter.is_lazy(p)
    ]
    records += [
        ParameterRecord(names, spec(b), True, False)
        for b, names in found.buffers
        if id(b) not in parameters and not nn.parameter.is_lazy(b)
    ]
    return tuple(records)


def signature_source(model: Any) -> Callable[..., Any]:
    """What holds the signature of a call: a module's forward, or the callable itself."""
    return model.forward if isinstance(model, nn.Module) else model


def argument_names(model: Any) -> list[str]:
    """Names of the parameters that a model's call takes; none where a signature can't be had."""
    try:
        return list(inspect.signature(signature_source(model)).parameters)
    except (TypeError, ValueError):
        return []
