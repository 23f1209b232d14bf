"""From what the user names to a model that this room may change: built for it, or copied without its weights.

A copy shares nothing with the user's model: large tensors become meta ones, the rest is copied. What transformers'
models are called with (the name of their cache, whether they take `logits_to_keep`) is read off their signature.
"""

from __future__ import annotations

import copy
import inspect
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError, shown
from ..records.tree import held_tensors
from ..sources import hf
from ..sources.load import build
from .attention import use_fused

LARGE = 2**16
"""Tensors of more elements are copied as meta tensors."""
_CACHES = ("cache", "past_key_values", "cache_params", "state")
"""What models of transformers call their cache, the newest name first."""


@dataclass(frozen=True, eq=False)
class Served:
    """A model of transformers that generates text, as this room's own.

    `cache_name` is the argument that takes the cache, `encoder` whether it is an encoder-decoder, `fused` whether its
    attention runs as serving engines run it, `longest` how many positions it has (None: no limit), `notes` what was
    taken for granted.
    """

    model: nn.Module
    cache_name: str
    names: frozenset[str]
    encoder: bool
    fused: bool
    longest: int | None
    notes: tuple[str, ...] = ()
    before: str = "eager"
    """The attention that the model had."""

    def as_written(self, attention: str, why: str) -> Served:
        """The same model with an attention of transformers."""
        model: Any = self.model
        model.set_attn_implementation(attention)
        return replace(self, fused=False, notes=(*self.notes, why))

    @property
    def config(self) -> Any:
        """The configuration."""
        return self.model.config


def served(model: Any, *, fused: bool, longest: int, dtype: torch.dtype | None = None, arguments: Any = None) -> Served:
    """A model of transformers as this room's own.

    Args:
        model: an `nn.Module` of transformers, or `hf:TYPE`, `hf:CLASS`, `hf:FOLDER`.
        fused: whether attention shall run as in serving engines.
        longest: tokens that a request has at most; a default configuration is made to take them.
        dtype: of the weights; by default that of the configuration, or else bfloat16.
        arguments: entries of the configuration, for a name.

    Raises:
        InputError: it does not generate text, or has no room for so many tokens.
        ModelLoadError: there is no such model.
    """
    notes: list[str] = []
    if isinstance(model, str):
        own = _named(model, longest, dtype, dict(arguments or {}), notes)
    elif isinstance(model, nn.Module):
        own = without_weights(model)
        if dtype is not None:
            own = own.to(dtype)
    else:
        raise InputError(f"generation takes a model or a name such as 'hf:llama', not {type(model).__name__}")
    own = own.eval()
    generates: Any = getattr(own, "can_generate", lambda: False)
    names = frozenset(inspect.signature(own.forward).parameters)
    cache_name = next((name for name in _CACHES if name in names), None)
    if cache_name is None or not hasattr(own, "config") or not generates():
        raise InputError(
            f"{type(own).__name__} does not generate text: it takes no cache, or has no head. Give a causal LM, such "
            "as hf:llama, or a model of your own with inputs="
        )
    limit = _longest(own)
    if limit is not None and longest > limit:
        raise InputError(
            f"{longest:,} tokens are more than the {limit:,} positions that {type(own).__name__} is configured for "
            "(max_position_embeddings)"
        )
    before = getattr(own.config, "_attn_implementation", None) or "eager"
    is_fused = fused and use_fused(own)
    if fused and not is_fused:
        notes.append(f"{type(own).__name__} has an attention of its own, which is analysed as it is written")
    return Served(
        own,
        cache_name,
        names,
        bool(getattr(own.config, "is_encoder_decoder", False)),
        is_fused,
        limit,
        tuple(notes),
        before,
    )


def _named(
    name: str, longest: int, dtype: torch.dtype | None, arguments: dict[str, Any], notes: list[str]
) -> nn.Module:
    prefix, _, rest = name.partition(":")
    if prefix != "hf" or not rest:
        raise InputError(
            f"{shown(name)} names no model of transformers; give hf:TYPE, hf:CLASS or hf:FOLDER, or a module"
        )
    config, is_default = hf.configuration(rest, arguments)
    text = text_config(config)
    limit = getattr(text, "max_position_embeddings", None)
    if is_default and isinstance(limit, int) and limit < longest and "max_position_embeddings" not in arguments:
        notes.append(f"max_position_embeddings, {limit:,} in the default configuration, is raised to {longest:,}")
        text.max_position_embeddings = longest
    set_dtype(config, dtype or getattr(config, "dtype", None) or getattr(text, "dtype", None) or torch.bfloat16)
    return build(name, lambda: hf.generating(rest, config))


def set_dtype(config: Any, dtype: torch.dtype) -> None:
    """Give a configuration and all its parts a dtype."""
    parts = [config, *(getattr(config, key, None) for key in getattr(config, "sub_configs", {}))]
    for part in parts:
        if part is not None:
            part.dtype = dtype


def text_config(config: Any) -> Any:
    """The part of a configuration that is about the text that is generated."""
    find = getattr(config, "get_text_config", None)
    return config if find is None else find(decoder=True)


def _longest(model: nn.Module) -> int | None:
    text = text_config(model.config)
    names = ("max_position_embeddings", "max_target_positions", "n_positions", "max_seq_len", "n_ctx")
    limits = [getattr(text, name, None) for name in names]
    return next((n for n in limits if isinstance(n, int) and n > 0), None)


def without_weights(model: nn.Module, most: int = LARGE) -> nn.Module:
    """A deep copy of a model in which tensors of more than `most` elements are on meta; the model is left as it is."""
    memo: dict[int, Any] = {}
    for tensor in held_tensors(model):
        if tensor.numel() > most or tensor.is_meta:
            memo[id(tensor)] = _on_meta(tensor)
    try:
        made: nn.Module = copy.deepcopy(model, memo)
    except Exception as error:  # a model's own code
        raise InputError(f"{type(model).__name__} can't be copied: {type(error).__name__}: {error}") from error
    return made


def _on_meta(tensor: Tensor) -> Tensor:
    made = torch.empty_strided(tuple(tensor.shape), tensor.stride(), dtype=tensor.dtype, device="meta")
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(made, requires_grad=tensor.requires_grad)
    return made


@lru_cache(maxsize=1)
def _output_names() -> tuple[str, ...]:
    return (*_CACHES, "past_key_values")


def cache_in(output: Any) -> Any:
    """The cache that a model returned; None if there is none."""
    for name in _output_names():
        found = getattr(output, name, None)
        if found is not None:
            return found
    return None
