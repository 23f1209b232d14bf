"""Caches of any length at no cost: the cache that a short prompt left, made as long as is wanted.

The layers of transformers' caches are told apart by what they hold: keys and values that grow with the context
(`full`), the last ones of it (`sliding`), a latent and a rotated key in their place (`latent`), states of linear
attention and convolutions that do not grow (`state`). *In place* is how serving engines and static caches write: the
new tokens go into memory that is there. *As written* is transformers' default, which copies the whole cache.

Only sizes are changed: all tensors are on meta.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

KINDS = ("full", "sliding", "latent", "state", "cross")
"""What a layer of a cache can be; `cross` are keys and values of an encoder's output."""
_KEPT = ("keys", "values", "indexer_keys")
_STATES = ("conv_states", "recurrent_states")
_PLACES = "indexer_position_ids"
"""Places (kinds, batch, length) that one layer notes for an indexer; engines know them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheLayer:
    """What one layer keeps of each request: `kind`, shapes for one token (of states: the whole), bytes.

    `bytes_per_token` for each token of the context; of a sliding layer for the first `window` − 1 of them.
    `fixed_bytes` do not grow with the context.
    """

    index: int
    kind: str
    shapes: tuple[tuple[int, ...], ...]
    dtype: str
    bytes_per_token: int
    fixed_bytes: int = 0
    window: int = 0

    def bytes(self, context: int) -> int:
        """Bytes that one request of `context` tokens keeps here."""
        held = min(context, max(self.window - 1, 0)) if self.window else context
        return self.bytes_per_token * held + self.fixed_bytes


class _InPlace:
    """A layer that writes into memory that is there: mixed into the class of a layer of transformers."""

    fxcost_filled: int
    keys: Tensor
    values: Tensor

    def update(self, keys: Tensor, values: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Write the new tokens after those that are there; returns what there is."""
        start, stop = self.fxcost_filled, self.fxcost_filled + keys.shape[-2]
        self.fxcost_filled = stop
        if hasattr(self, "cumulative_length"):
            self.cumulative_length += keys.shape[-2]
        if stop > self.keys.shape[-2]:  # a model that adds tokens of its own, or writes a layer twice in a step
            self.keys = torch.cat((self.keys[..., :start, :], keys), -2)
            self.values = torch.cat((self.values[..., :start, :], values), -2)
            return self.keys, self.values
        self.keys[..., start:stop, :] = keys
        self.values[..., start:stop, :] = values
        return self.keys[..., :stop, :], self.values[..., :stop, :]

    def update_indexer(self, keys: Tensor) -> Tensor:
        """The same for the keys of a sparse attention's indexer (batch, length, size)."""
        memory: Tensor = self.indexer_keys  # type: ignore[attr-defined]
        stop = memory.shape[1]
        memory[:, stop - keys.shape[1] :] = keys
        return memory

    def get_seq_length(self) -> int:
        """Tokens that came before."""
        seen: int = getattr(self, "cumulative_length", self.fxcost_filled)
        return seen

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Keys that the next query of this length sees at most, and the place of the first."""
        return self.fxcost_filled + query_length, self.get_seq_length() - self.fxcost_filled


@lru_cache(maxsize=64)
def _in_place(kind: Any) -> type:
    return type(f"InPlace{kind.__name__}", (_InPlace, kind), {})


def halves(cache: Any) -> tuple[Any, Any]:
    """The cache of the decoder's own tokens, and that of the encoder's output (None where there is none)."""
    own = getattr(cache, "self_attention_cache", None)
    return (cache, None) if own is None else (own, cache.cross_attention_cache)


def has_layers(cache: Any) -> bool:
    """True for a cache of layers, as transformers' are."""
    own = halves(cache)[0]
    return isinstance(getattr(own, "layers", None), list) and bool(own.layers)


def strange(cache: Any) -> str:
    """The class of a layer that keeps more than is known here, so that it can't be lengthened; "" if there is none."""
    known = {*_KEPT, *_STATES, _PLACES}
    for layer in halves(cache)[0].layers:
        for name, held in vars(layer).items():
            tensors = held.values() if isinstance(held, dict) else (held,)
            if name not in known and any(isinstance(t, Tensor) and t.dim() for t in tensors):
                return type(layer).__name__
    return ""


def described(cache: Any, latent: frozenset[int] = frozenset()) -> tuple[CacheLayer, ...]:
    """What each layer of a cache keeps, for one request. `latent` are the layers whose keys are latents."""
    own, cross = halves(cache)
    found = [layer for i, held in enumerate(own.layers) for layer in _described(i, held, i in latent)]
    for i, held in enumerate(cross.layers if cross is not None else ()):
        tensors = [t for t in (held.keys, held.values) if isinstance(t, Tensor)]
        found.append(_state(i, "cross", tensors))
    return tuple(found)


def _described(i: int, layer: Any, latent: bool) -> Iterator[CacheLayer]:
    kept = [t for t in _held(layer) if t.numel()]
    if kept:
        shapes = tuple((*t.shape[1:-2], t.shape[-1]) for t in kept)
        size = sum(t.numel() // (t.shape[0] * t.shape[-2]) * t.element_size() for t in kept)
        window = int(getattr(layer, "sliding_window", None) or 0)
        kind = "latent" if latent else "sliding" if window else "full"
        yield CacheLayer(index=i, kind=kind, shapes=shapes, dtype=_name(kept[0]), bytes_per_token=size, window=window)
    states = list(_states(layer))
    if states:
        yield _state(i, "state", states)


def _state(i: int, kind: str, tensors: Sequence[Tensor]) -> CacheLayer:
    size = sum(t.numel() // t.shape[0] * t.element_size() for t in tensors)
    shapes = tuple(tuple(t.shape[1:]) for t in tensors)
    return CacheLayer(index=i, kind=kind, shapes=shapes, dtype=_name(tensors[0]), bytes_per_token=0, fixed_bytes=size)


def _name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _held(layer: Any) -> Iterator[Tensor]:
    for name in _KEPT:
        tensor = getattr(layer, name, None)
        if isinstance(tensor, Tensor):
            yield tensor


def _states(layer: Any) -> Iterator[Tensor]:
    for name in _STATES:
        held = getattr(layer, name, None)
        for tensor in held.values() if isinstance(held, dict) else ():
            if isinstance(tensor, Tensor):
                yield tensor


def lengthened(cache: Any, *, have: int, new: int, batch: int, in_place: bool) -> Any:
    """A cache that holds `have` tokens of `batch` requests, with room for `new` more if it is written in place.

    Args:
        cache: that of a prompt of one request.
        have: tokens that are there; with 0 the states of linear attention are fresh.
        new: tokens of the step that it is for.
        batch: requests.
        in_place: whether new tokens are written into memory that is there.
    """
    own, cross = halves(cache)
    made = copy.copy(own)
    made.layers = [_lengthened(layer, have, new, batch, in_place) for layer in own.layers]
    if cross is None:
        return made
    across = copy.copy(cross)
    across.layers = [_widened(layer, batch) for layer in cross.layers]
    both = copy.copy(cache)
    both.self_attention_cache, both.cross_attention_cache = made, across
    both.is_updated = dict(cache.is_updated)
    return both


def _lengthened(layer: Any, have: int, new: int, batch: int, in_place: bool) -> Any:
    written = in_place and isinstance(getattr(layer, "keys", None), Tensor)
    kind: Any = _in_place(_class_of(layer)) if written else type(layer)
    made: Any = kind.__new__(kind)
    made.__dict__.update(layer.__dict__)
    window = int(getattr(layer, "sliding_window", None) or 0)
    held = min(have, max(window - 1, 0)) if window else have
    if isinstance(getattr(layer, "keys", None), Tensor):
        room = held + new if in_place else held
        for name in ("keys", "values"):
            setattr(made, name, _resized(getattr(layer, name), batch, room, -2))
        if isinstance(getattr(layer, "indexer_keys", None), Tensor):
            made.indexer_keys = _resized(layer.indexer_keys, batch, room, 1)
        if isinstance(getattr(layer, _PLACES, None), Tensor):
            kinds = getattr(layer, _PLACES).shape[0]
            setattr(made, _PLACES, torch.empty((kinds, batch, held), dtype=torch.int64, device="meta"))
        if hasattr(layer, "cumulative_length"):
            made.cumulative_length = have
        if in_place:
            made.fxcost_filled = held
    for name in _STATES:
        states = getattr(layer, name, None)
        if not isinstance(states, dict):
            continue
        if have:
            setattr(made, name, {i: None if t is None else _wider(t, batch) for i, t in states.items()})
        else:
            setattr(made, name, dict.fromkeys(states))
            setattr(made, f"is_{name}_initialized", dict.fromkeys(states, False))
            made.has_previous_state = dict.fromkeys(states, False)
    return made


def _class_of(layer: Any) -> Any:
    return type(layer)


def _widened(layer: Any, batch: int) -> Any:
    made = copy.copy(layer)
    for name in ("keys", "values"):
        if isinstance(getattr(layer, name, None), Tensor):
            setattr(made, name, _wider(getattr(layer, name), batch))
    return made


def _wider(tensor: Tensor, batch: int) -> Tensor:
    return torch.empty((batch * tensor.shape[0], *tensor.shape[1:]), dtype=tensor.dtype, device="meta")


def _resized(tensor: Tensor, batch: int, length: int, dim: int) -> Tensor:
    shape = [batch * tensor.shape[0], *tensor.shape[1:]]
    shape[dim] = length
    return torch.empty(shape, dtype=tensor.dtype, device="meta")


def tensors_of(cache: Any) -> list[Tensor]:
    """Every tensor that a cache of layers holds."""
    own, cross = halves(cache)
    layers = [*own.layers, *(cross.layers if cross is not None else ())]
    return [t for layer in layers for t in (*_held(layer), *_states(layer))]
