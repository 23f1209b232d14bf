"""Caches that are no layers of transformers: tuples of tensors, states of other classes, what own modules keep.

Two prompts of different lengths say which dimension of which tensor is the context: the one that differs as the lengths
do. A cache of any length is then the second one with that dimension changed, and each count of tokens in it.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from .caches import CacheLayer


class Grown:
    """A cache seen after two prompts of one request, of `short` and of `long` tokens.

    Raises:
        InputError: the two are not of one structure.
    """

    def __init__(self, one: Any, other: Any, short: int, long: int) -> None:
        self._other, self._long = other, long
        first, second = _tensors(one), _tensors(other)
        if len(first) != len(second) or any(a.dim() != b.dim() for a, b in zip(first, second, strict=True)):
            raise InputError(f"the cache ({type(other).__name__}) of a longer prompt has another structure")
        self._dims = {id(b): _context(a, b, short, long) for a, b in zip(first, second, strict=True)}
        self.layers = tuple(self._layer(i, tensor) for i, tensor in enumerate(second))

    def _layer(self, i: int, tensor: Tensor) -> CacheLayer:
        size, dim = tensor.numel() * tensor.element_size(), self._dims[id(tensor)]
        shape = tuple(n for k, n in enumerate(tensor.shape) if k and k != dim)
        name = str(tensor.dtype).removeprefix("torch.")
        if dim is None:
            return CacheLayer(index=i, kind="state", shapes=(shape,), dtype=name, bytes_per_token=0, fixed_bytes=size)
        return CacheLayer(index=i, kind="full", shapes=(shape,), dtype=name, bytes_per_token=size // self._long)

    def at(self, have: int, batch: int) -> Any:
        """The cache of `batch` requests that have `have` tokens each."""
        memo = {id(t): self._sized(t, have, batch) for t in _tensors(self._other)}
        made = copy.deepcopy(self._other, memo)
        for holder, key, value in _numbers(made):
            if value == self._long:
                holder[key] = have
        return made

    def _sized(self, tensor: Tensor, have: int, batch: int) -> Tensor:
        shape = list(tensor.shape)
        dim = self._dims[id(tensor)]
        if dim is not None:
            shape[dim] = have
        if shape and shape[0] == 1 and dim != 0:
            shape[0] = batch
        return torch.empty(shape, dtype=tensor.dtype, device="meta")


def _context(one: Tensor, other: Tensor, short: int, long: int) -> int | None:
    """The dimension of the context; None if there is none."""
    for dim, (a, b) in enumerate(zip(one.shape, other.shape, strict=True)):
        if a != b and b - a == long - short:
            return dim
    return None


def _tensors(value: Any, seen: set[int] | None = None) -> list[Tensor]:
    """All tensors that an object holds, in lists, dicts and attributes, each once."""
    seen = set() if seen is None else seen
    if id(value) in seen:
        return []
    seen.add(id(value))
    if isinstance(value, Tensor):
        return [value]
    return [t for inner in _inside(value) for t in _tensors(inner, seen)]


def _inside(value: Any) -> list[Any]:
    if isinstance(value, (list, tuple)):
        return list(value)
    if isinstance(value, dict):
        return list(value.values())
    module = type(value).__module__.partition(".")[0]
    if hasattr(value, "__dict__") and not isinstance(value, type) and module != "torch" and not callable(value):
        return [v for name, v in vars(value).items() if "config" not in name]
    return []


def _numbers(value: Any, seen: set[int] | None = None) -> list[tuple[Any, Any, int]]:
    """Where an object holds whole numbers: a dict, the key, the number."""
    seen = set() if seen is None else seen
    if id(value) in seen or isinstance(value, (Tensor, str)):
        return []
    seen.add(id(value))
    holder = value if isinstance(value, dict) else getattr(value, "__dict__", None)
    found = [(holder, k, v) for k, v in holder.items() if type(v) is int] if isinstance(holder, dict) else []
    return found + [n for inner in _inside(value) for n in _numbers(inner, seen)]
