"""Gradients of the operators that are recorded whole (units.py), so that their backward is one record too.

What is saved is what fused kernels save: attention keeps Q, K, V, its output and the log-sum-exp of each row; a
recurrent layer keeps its input, output, weights and one buffer (the *reserve*) with the gates of every step.

Not here: the costs (rules/backward.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from . import units as _units
from .iterator import row_major
from .layouts import columns, preserved

_library = torch.library.Library("fxcost", "FRAGMENT")
_library.define(
    "scaled_dot_product_attention_backward(Tensor grad, Tensor query, Tensor key, Tensor value, Tensor? attn_mask, "
    "Tensor out, Tensor logsumexp, float dropout_p, bool is_causal, float? scale, bool enable_gqa, bool fused, "
    "int? kept, bool[] needed) -> Tensor[]"
)
_library.define(
    "rnn_backward(Tensor grad, Tensor input, Tensor output, Tensor[] hx, Tensor[] params, Tensor reserve, str mode, "
    "bool has_biases, int num_layers, float dropout, bool bidirectional, bool batch_first, Tensor? batch_sizes, "
    "bool[] needed) -> Tensor[]"
)

_ATTENTION_ARGUMENTS, _RNN_ARGUMENTS = 10, 11


def _attention_backward_meta(
    grad: Tensor, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None, *rest: Any
) -> list[Tensor]:
    """Gradients of those of query, key, value and mask that are needed, in this order."""
    enable_gqa, fused, _, needed = rest[-4:]
    given = zip((query, key, value, attn_mask), needed, strict=True)
    wanted = [t for t, is_needed in given if t is not None and is_needed]
    if fused:
        return [_heads_inside(t) if t is not attn_mask else t.new_empty(t.shape) for t in wanted]
    shared = enable_gqa and key.shape[:-2] != query.shape[:-2]
    turned = {id(t) for t in (query, key, value) if _gradient_is_turned(t, t is key and not shared)}
    return [t.new_empty(t.mT.shape).mT if id(t) in turned else t.new_empty(t.shape) for t in wanted]


def _heads_inside(x: Tensor) -> Tensor:
    """Fused kernels work on (batch, sequence, heads, dim)."""
    return x.new_empty((*x.shape[:-3], x.shape[-2], x.shape[-3], x.shape[-1])).transpose(-2, -3)


def _gradient_is_turned(x: Tensor, is_key: bool) -> bool:
    """True if products of matrices lay the gradient of query, key or value out column by column.

    In batches the keys' is, as they are transposed before, unless it is summed over heads that were repeated. The
    gradient of a single matrix lies as the matrix does.
    """
    if x.dim() == 2:
        return preserved(x) != row_major(x.shape) and preserved(x) == columns(x, x.shape)
    return is_key


def _rnn_backward_meta(
    grad: Tensor,
    input: Tensor,  # noqa: A002 - the schema's own name
    output: Tensor,
    hx: Sequence[Tensor],
    params: Sequence[Tensor],
    reserve: Tensor,
    *rest: Any,
) -> list[Tensor]:
    """Gradients of those of input, initial states and parameters that are needed, in this order."""
    batch_first, needed = rest[-3], rest[-1]
    made = [_units.steps_first(input.shape, input, batch_first)] if needed[0] else []
    given = zip((*hx, *params), needed[1:], strict=True)
    return [*made, *[t.new_empty(t.shape) for t, is_needed in given if is_needed]]


_library.impl("scaled_dot_product_attention_backward", _attention_backward_meta, "Meta")
_library.impl("rnn_backward", _rnn_backward_meta, "Meta")

attention_backward: torch._ops.OpOverload = torch.ops.fxcost.scaled_dot_product_attention_backward.default
rnn_backward: torch._ops.OpOverload = torch.ops.fxcost.rnn_backward.default


def _attention_save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    query, key, value, mask, *settings = inputs
    out, logsumexp = output
    ctx.mark_non_differentiable(logsumexp)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(query, key, value, mask, out, logsumexp)
    ctx.settings = settings


def _attention_gradient(ctx: Any, grad: Tensor | None, _: Tensor | None) -> tuple[Tensor | None, ...]:
    if grad is None:
        return (None,) * _ATTENTION_ARGUMENTS
    needed = list(ctx.needs_input_grad[:4])
    found = iter(attention_backward(grad, *ctx.saved_tensors, *ctx.settings, needed))
    gradients = [next(found) if n else None for n in needed]
    return (*gradients, *[None] * (_ATTENTION_ARGUMENTS - 4))


def _rnn_save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x, hx, params, *settings, batch_sizes = inputs
    y, _, _, reserve = output
    ctx.mark_non_differentiable(reserve)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(x, y, reserve, *hx, *params)
    mode, has_biases, num_layers, dropout, _train, bidirectional, batch_first = settings
    ctx.settings = (mode, has_biases, num_layers, dropout, bidirectional, batch_first, batch_sizes)
    ctx.states = len(hx)


def _rnn_gradient(ctx: Any, grad: Tensor | None, *_: Tensor | None) -> tuple[Any, ...]:
    x, y, reserve, *rest = ctx.saved_tensors
    hx, params = rest[: ctx.states], rest[ctx.states :]
    of_x, of_states, of_params = ctx.needs_input_grad[:3]
    needed = [of_x, *_flags(of_states, hx), *_flags(of_params, params)]
    grad = torch.zeros_like(y) if grad is None else grad
    found = iter(rnn_backward(grad, x, y, hx, params, reserve, *ctx.settings, needed))
    gradients = [next(found) if n else None for n in needed]
    states = gradients[1 : 1 + len(hx)]
    return (gradients[0], states, gradients[1 + len(hx) :], *[None] * (_RNN_ARGUMENTS - 3))


def _flags(needs: Any, tensors: Sequence[Tensor]) -> list[bool]:
    """Which tensors of a list need a gradient: PyTorch says it of each, or of the list."""
    return [bool(n) for n in needs] if isinstance(needs, (tuple, list)) else [bool(needs)] * len(tensors)


torch.library.register_autograd(
    "fxcost::scaled_dot_product_attention", _attention_gradient, setup_context=_attention_save, lib=_library
)
torch.library.register_autograd("fxcost::rnn", _rnn_gradient, setup_context=_rnn_save, lib=_library)
