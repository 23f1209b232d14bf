"""Attention that knows its mask without having it: `fxcost::masked_attention`, as kernels of serving engines run it.

Causal, over a window, over the chunk that a query is in, with sinks, a soft cap, fewer heads of keys than of queries,
and keys that come in two parts (a latent and a rotated one). No mask is stored, no key is repeated, and the result is
laid out as the next projection reads it. With gradients, so that training steps can run it too.

Not here: who calls it (serving/attention.py), and what it costs (rules/masked.py).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_library = torch.library.Library("fxcost", "FRAGMENT")
_ARGUMENTS = (
    "Tensor query, Tensor key, Tensor value, Tensor? rotated, bool causal, int window, int chunk, int start, "
    "bool sinks, bool softcap, bool scaled"
)
_library.define(f"masked_attention({_ARGUMENTS}) -> (Tensor, Tensor logsumexp)")
_library.define(
    "masked_attention_backward(Tensor grad, Tensor query, Tensor key, Tensor value, Tensor? rotated, Tensor out, "
    "Tensor logsumexp, bool causal, int window, int chunk, int start, bool sinks, bool softcap, bool scaled, "
    "bool[] needed) -> Tensor[]"
)


def _meta(query: Tensor, key: Tensor, value: Tensor, rotated: Tensor | None, *_: Any) -> tuple[Tensor, Tensor]:
    """Shapes of the result (batch, l_q, heads, d_v) and of the log-sum-exp (batch, heads, l_q)."""
    batch, heads, l_q, d = query.shape
    of_keys = key.shape[-1] + (0 if rotated is None else rotated.shape[-1])
    if d != of_keys or key.shape[-2] != value.shape[-2] or heads % key.shape[1]:
        raise RuntimeError(
            f"masked_attention: query {tuple(query.shape)}, key {tuple(key.shape)} and value {tuple(value.shape)} do "
            "not fit"
        )
    return query.new_empty((batch, l_q, heads, value.shape[-1])), query.new_empty(
        (batch, heads, l_q), dtype=torch.float32
    )


def _backward_meta(
    grad: Tensor, query: Tensor, key: Tensor, value: Tensor, rotated: Tensor | None, *rest: Any
) -> list[Tensor]:
    """Gradients of those of query, key, value and rotated keys that are needed, in this order."""
    given = zip((query, key, value, rotated), rest[-1], strict=True)
    return [t.new_empty(t.shape) for t, needed in given if needed and t is not None]


_library.impl("masked_attention", _meta, "Meta")
_library.impl("masked_attention_backward", _backward_meta, "Meta")

masked_attention: torch._ops.OpOverload = torch.ops.fxcost.masked_attention.default
masked_attention_backward: torch._ops.OpOverload = torch.ops.fxcost.masked_attention_backward.default


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    query, key, value, rotated, *settings = inputs
    out, logsumexp = output
    ctx.mark_non_differentiable(logsumexp)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(query, key, value, rotated, out, logsumexp)
    ctx.settings = settings


def _gradient(ctx: Any, grad: Tensor | None, _: Tensor | None) -> tuple[Tensor | None, ...]:
    if grad is None:
        return (None,) * 11
    needed = list(ctx.needs_input_grad[:4])
    query, key, value, rotated, out, logsumexp = ctx.saved_tensors
    found = iter(masked_attention_backward(grad, query, key, value, rotated, out, logsumexp, *ctx.settings, needed))
    return (*[next(found) if n else None for n in needed], *[None] * 7)


torch.library.register_autograd("fxcost::masked_attention", _gradient, setup_context=_save, lib=_library)
