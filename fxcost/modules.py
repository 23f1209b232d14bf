"""What is known of modules: which stay whole, what decides their behaviour, where in them code is running."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from types import BuiltinFunctionType, MethodDescriptorType, TracebackType
from typing import Any

import torch
from torch import nn

from .recorder import Segment
from .records import ModuleRecord, ParameterRecord

_HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
)
_BOOKKEEPING = frozenset(nn.Module().__dict__) - {"training"}
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.DataParallel, nn.ParameterList, nn.ParameterDict)
_PURE_MODULES = ("torch.nn.functional", "torch._C._nn", "torch._C._fft", "torch._C._linalg", "torch._C._special")


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


def configuration(module: nn.Module) -> Any:
    """What decides how a module of PyTorch's own behaves, besides its tensors' specs: hashable, equal for equal ones.

    None if that can't be told: a class of the user's, a hook, a parametrization, an attribute that can't be hashed.
    """
    parts: list[Any] = []
    for inner in module.modules():
        state, cls = inner.__dict__, type(inner)
        if not cls.__module__.startswith("torch.nn.modules.") or any(state[h] for h in _HOOKS):
            return None
        parts.append(cls)
        parts.append(tuple(inner._modules))
        parts.append(tuple([k for k, v in inner._parameters.items() if v is not None]))
        for name, value in state.items():
            if name in _BOOKKEEPING or name.startswith("_flat_weight"):
                continue
            if name == "forward" or (isinstance(value, list) and value and not isinstance(value[0], (int, str, list))):
                return None
            parts.append((name, type(value), repr(value) if isinstance(value, list) else value))
    key = tuple(parts)
    try:
        hash(key)
    except TypeError:
        return None
    return key


@functools.lru_cache(maxsize=4096)
def function_is_pure(function: Callable[..., Any]) -> bool:
    """True for PyTorch's and Python's own functions: what they do follows from their arguments."""
    if isinstance(function, (BuiltinFunctionType, MethodDescriptorType, torch._ops.OpOverload)):
        return True
    module = getattr(function, "__module__", None) or ""
    return module == "torch" or module in _PURE_MODULES or module.startswith(("torch.functional", "torch._tensor"))


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


def module_records(root: nn.Module) -> tuple[ModuleRecord, ...]:
    """One record per module object, in the order of `named_modules`; further names of it are its aliases."""
    names: dict[int, list[str]] = {}
    found: list[nn.Module] = []
    for name, module in root.named_modules(remove_duplicate=False):
        if id(module) not in names:
            found.append(module)
        names.setdefault(id(module), []).append(name)
    return tuple(
        ModuleRecord(
            name=names[id(m)][0],
            type_name=type(m).__name__,
            qualified_type=f"{type(m).__module__}.{type(m).__qualname__}",
            aliases=tuple(names[id(m)][1:]),
            training=m.training,
            parameters=tuple(_own_tensors(m, names[id(m)][0])),
        )
        for m in found
    )


def _own_tensors(module: nn.Module, prefix: str) -> Iterator[str]:
    for name, tensor in (*module._parameters.items(), *module._buffers.items()):
        if tensor is not None:
            yield f"{prefix}.{name}" if prefix else name


def parameter_records(root: nn.Module, spec: Callable[[torch.Tensor], Any]) -> tuple[ParameterRecord, ...]:
    """One record per parameter or buffer object, with all names under which it is found."""
    names: dict[int, list[str]] = {}
    found: list[tuple[torch.Tensor, bool]] = []
    parameters = root.named_parameters(remove_duplicate=False)
    buffers = root.named_buffers(remove_duplicate=False)
    for is_buffer, tensors in ((False, parameters), (True, buffers)):
        for name, tensor in tensors:
            if nn.parameter.is_lazy(tensor):
                continue
            if id(tensor) not in names:
                found.append((tensor, is_buffer))
            names.setdefault(id(tensor), []).append(name)
    return tuple(
        ParameterRecord(tuple(names[id(t)]), spec(t), is_buffer, t.requires_grad and not is_buffer)
        for t, is_buffer in found
    )


def signature_source(model: Any) -> Callable[..., Any]:
    """What holds the signature of a call: a module's forward, or the callable itself."""
    return model.forward if isinstance(model, nn.Module) else model


def argument_names(model: Any) -> list[str]:
    """Names of the parameters that a model's call takes; none where a signature can't be had."""
    try:
        return list(inspect.signature(signature_source(model)).parameters)
    except (TypeError, ValueError):
        return []
