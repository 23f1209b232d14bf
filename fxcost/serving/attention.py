"""How transformers' models come to run attention as serving engines do: one operator a call, no mask, no repeated keys.

transformers lets anybody register an attention by a name (`AttentionInterface`), and hands it the query, the keys and
values as they are in the cache, the window, sinks and soft cap of the layer. Ours calls `fxcost::masked_attention`.
It is registered while an analysis of this room runs, and taken out when the last one ends.

What is private of transformers here: `AttentionInterface._global_mapping`, `AttentionMaskInterface._global_mapping`
(there is no public way to take a name out again).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..meta.masked import masked_attention

NAME = "fxcost_fused"
"""Under which transformers knows our attention."""

_lock = threading.Lock()
_users = 0
_step = threading.local()


def _mask(*, attention_mask: Tensor | None = None, **_: Any) -> Tensor | None:
    """The mask that a layer gets: none but one of paddings that the caller gave."""
    return attention_mask


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """What transformers calls: query (n, heads, l_q, d), key and value (n, groups, l_k, d) → (n, l_q, heads, d_v)."""
    if not query.is_meta or (attention_mask is not None and attention_mask.dim() == 4):
        out = torch.nn.functional.scaled_dot_product_attention(
            query, key, value, attention_mask, scale=scaling, enable_gqa=query.shape[1] != key.shape[1]
        )
        return out.transpose(1, 2).contiguous(), None
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    chunk = _chunk(module)
    absorbed = getattr(module, "fxcost_absorbed", None)
    settings = (bool(causal), int(sliding_window or 0), chunk, getattr(_step, "have", 0) if chunk else 0)
    rest = (s_aux is not None, softcap is not None, scaling != 1)
    if absorbed is not None:
        return absorbed(query, key, value, (*settings, *rest)), None
    return masked_attention(query, key, value, None, *settings, *rest)[0], None


def _chunk(module: nn.Module) -> int:
    """The size of the chunks that a layer's attention stays within; 0 for none."""
    config, index = getattr(module, "config", None), getattr(module, "layer_idx", None)
    kinds = getattr(config, "layer_types", None)
    if kinds is None or index is None or index >= len(kinds) or kinds[index] != "chunked_attention":
        return 0
    return int(getattr(config, "attention_chunk_size", None) or 0)


@contextmanager
def registered(have: int = 0) -> Iterator[None]:
    """While active, transformers knows our attention; `have` is how many tokens came before those of the step."""
    global _users
    from transformers.masking_utils import AttentionMaskInterface
    from transformers.modeling_utils import AttentionInterface

    with _lock:
        _users += 1
        AttentionInterface.register(NAME, _attention)
        AttentionMaskInterface.register(NAME, _mask)
    before, _step.have = getattr(_step, "have", 0), have
    try:
        yield
    finally:
        _step.have = before
        with _lock:
            _users -= 1
            if _users == 0:
                AttentionInterface._global_mapping.pop(NAME, None)
                AttentionMaskInterface._global_mapping.pop(NAME, None)


def use_fused(model: nn.Module) -> bool:
    """Have a model (a copy of ours) use this attention; False if its code does not ask for one by name."""
    if not hasattr(model, "set_attn_implementation"):
        return False
    with registered():
        getattr(model, "set_attn_implementation")(NAME)  # noqa: B009 - no attribute that a type checker knows
    configs = {id(m.config): m.config for m in model.modules() if hasattr(m, "config")}
    return any(getattr(config, "_attn_implementation", None) == NAME for config in configs.values())
