"""A real copy of the user's model, and real inputs, so that it can be run without being touched.

A run changes things: batch norm's statistics, caches, gradients, counters in modules. All of that happens to a copy,
whose tensors are clones on the device where it is to run; tied weights stay tied and views stay views.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError, MeasureError
from ..records.tree import held_tensors
from .inputs import Arguments, make_arguments, objects_by_name, tensors_in, weights_dtype
from .isolate import MetaCopier
from .parts import owner_of, parts_of
from .reach import Reach


class RealCopier(MetaCopier):
    """Copies objects with every tensor replaced by a clone, on the device where it is or on another."""

    def __init__(self, place: torch.device | None, reach: Reach | None = None) -> None:
        super().__init__(None, reach)
        self.place = place

    def _lazy(self, tensor: Tensor, kind: Any) -> Tensor:
        return kind(device=self.place or tensor.device, dtype=tensor.dtype)  # type: ignore[no-any-return]

    def _moved(self, tensor: Tensor) -> Tensor:
        return tensor.detach().to(self.place or tensor.device, copy=True)

    def _is_at_home(self, tensor: Tensor) -> bool:
        return not tensor.is_meta

    def _computed(self, meta: Tensor) -> Tensor:
        return meta.detach().requires_grad_().clone()

    def _meta(self, tensor: Tensor) -> Tensor:
        if tensor.is_meta:
            raise MeasureError(
                f"a tensor of shape {tuple(tensor.shape)} is on meta: it holds no data to run on. Build the model with "
                "real weights (not under torch.device('meta')), or give it some: model.to_empty(device='cpu')"
            )
        if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_nested:
            return tensor.detach().clone() if self.place is None else self._moved(tensor)
        old, place = tensor.untyped_storage(), self.place or tensor.device
        storage = self._storages.get(old._cdata)
        if storage is None:
            storage = torch.UntypedStorage(old.nbytes(), device=place)
            storage.copy_(old)
            self._storages[old._cdata] = storage
            self._alive.append(old)
        empty = torch.empty(0, dtype=tensor.dtype, device=place)
        return empty.set_(storage, tensor.storage_offset(), tensor.shape, tensor.stride())


class RealModel:
    """A copy of a model that runs, with arguments for it."""

    def __init__(self, model: Any, inputs: Any, kwargs: Mapping[str, Any] | None, place: torch.device) -> None:
        if not callable(model):
            raise InputError(f"a {type(model).__name__} is no model: give an nn.Module, a GraphModule or a function")
        _check_real(model)
        named = dict(kwargs or {})
        copier = RealCopier(place, Reach(model, objects_by_name(model, inputs, named)))
        self.place = place
        self.run = copier.model(model)
        self._parts = parts_of(copier, model)
        given = make_arguments(inputs, named, copier, weights_dtype(self._parts.tensors(), None))
        generator = torch.Generator().manual_seed(0)
        self.arguments = Arguments(_filled(given.args, place, generator), _filled(given.kwargs, place, generator))

    def __call__(self) -> Any:
        """Run it once."""
        return self.run(*self.arguments.args, **self.arguments.kwargs)

    @property
    def owner(self) -> nn.Module:
        """The modules and tensors that a graph of the model names."""
        return self._parts.together()

    @property
    def modules(self) -> list[nn.Module]:
        """Its modules: all below the model, and those that its code takes from outside."""
        return [module for _, module in self._parts.named_modules() if type(module) is not nn.Module]  # no holder

    @property
    def parameters(self) -> list[Tensor]:
        """Its parameters, and other tensors that train."""
        return [tensor for tensor in self._parts.tensors() if tensor.requires_grad or isinstance(tensor, nn.Parameter)]

    @property
    def batch(self) -> int | None:
        """The size of the first dimension of the first input; None if no input has one."""
        return next((tensor.shape[0] for tensor in self.arguments.tensors() if tensor.dim()), None)


def home(model: Any, inputs: Any = ()) -> torch.device:
    """Where a model is: the device of its first parameter or buffer, else of its first input, else the CPU.

    meta is no place to run at: what is there is left out.
    """
    owner = owner_of(model)
    held = held_tensors(owner) if isinstance(owner, nn.Module) else ()
    places = (tensor.device for tensor in (*held, *tensors_in(inputs)) if not tensor.is_meta)
    return next(places, torch.device("cpu"))


def _check_real(model: Any) -> None:
    """Say which parameter is on meta, by its name."""
    if not isinstance(model, nn.Module):
        return
    named = [(n, t) for n, t in (*model.named_parameters(), *model.named_buffers()) if t.is_meta]
    if named:
        name, tensor = named[0]
        more = f" (and {len(named) - 1} more)" if len(named) > 1 else ""
        raise MeasureError(
            f"{name}, of shape {tuple(tensor.shape)}, is on meta{more}: it holds no data to run on. Build the model "
            "with real weights (not under torch.device('meta')), or give it some: model.to_empty(device='cpu')"
        )


def _filled(value: Any, place: torch.device, generator: torch.Generator) -> Any:
    """The same nest, inputs given by shape alone (on meta) filled: floats at random, integers 0, booleans True."""
    if isinstance(value, Tensor):
        return _drawn(value, generator).to(place) if value.is_meta else value
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_filled(v, place, generator) for v in value))
    if isinstance(value, (tuple, list)):
        return type(value)(_filled(v, place, generator) for v in value)
    if isinstance(value, dict):
        return {k: _filled(v, place, generator) for k, v in value.items()}
    return value


def _drawn(meta: Tensor, generator: torch.Generator) -> Tensor:
    if meta.dtype.is_floating_point or meta.dtype.is_complex:
        drawn = torch.complex64 if meta.dtype.is_complex else torch.float32
        return torch.randn(meta.shape, dtype=drawn, generator=generator).to(meta.dtype)
    return torch.full(meta.shape, meta.dtype is torch.bool, dtype=meta.dtype)


@contextmanager
def same_random_numbers(place: torch.device) -> Iterator[None]:
    """Random generators are as before afterwards: PyTorch's on the CPU and on `place`, Python's, NumPy's if loaded."""
    numpy = sys.modules.get("numpy")
    states = random.getstate(), numpy.random.get_state() if numpy else None
    try:
        with torch.random.fork_rng(devices=[place] if place.type == "cuda" else []):
            yield
    finally:
        random.setstate(states[0])
        if numpy:
            numpy.random.set_state(states[1])
