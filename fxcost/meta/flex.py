"""Flex attention on meta tensors, forward and backward.

`torch.nn.attention.flex_attention` refuses meta tensors, compiles itself before its operator is reached, and traces
`score_mod` to differentiate it. While an analysis runs none of that happens on the threads that analyse: its operator
arrives whole, and its gradient is one operator too (`fxcost::flex_attention_backward`), with a gradient for each tensor
that `score_mod` captures and that needs one.

Not here: the costs (rules/attention.py, rules/backward.py), shapes of the forward pass (higher_order.py).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import _disable_current_modes

_library = torch.library.Library("fxcost", "FRAGMENT")
_library.define(
    "flex_attention_backward(Tensor grad, Tensor query, Tensor key, Tensor value, Tensor out, Tensor logsumexp, "
    "Tensor[] captured, float? scale, bool[] needed) -> Tensor[]"
)


def _backward_meta(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    logsumexp: Tensor,
    captured: Sequence[Tensor],
    scale: float | None,
    needed: Sequence[bool],
) -> list[Tensor]:
    """Gradients of those of query, key and value that are needed, and of all that is captured, in this order."""
    given = zip((query, key, value), needed, strict=False)
    return [torch.empty_like(t) for t in (*[t for t, is_needed in given if is_needed], *captured)]


_library.impl("flex_attention_backward", _backward_meta, "Meta")
backward: torch._ops.OpOverload = torch.ops.fxcost.flex_attention_backward.default


class FlexOnMeta:
    """The changes to PyTorch's module; `is_open` says on which threads they hold. :meth:`undo` takes them back."""

    def __init__(self, is_open: Callable[[], bool]) -> None:
        self._is_open = is_open
        module: Any = sys.modules.get("torch.nn.attention.flex_attention")  # who calls it has imported it
        self._module: Any = module
        if module is None:
            return
        self._validate, self._uncompiled = module._validate_device, module._FLEX_ATTENTION_DISABLE_COMPILE_DEBUG
        module._validate_device = self._on_meta
        module._FLEX_ATTENTION_DISABLE_COMPILE_DEBUG = True
        self._kernels = module.flex_attention_hop.py_kernels
        self._autograd = self._kernels[torch._C.DispatchKey.Autograd]
        self._use(self._gradient)

    def _use(self, kernel: Callable[..., Any]) -> None:
        self._kernels[torch._C.DispatchKey.Autograd] = kernel
        self._module.flex_attention_hop._dispatch_cache.clear()

    def _on_meta(self, query: Tensor, key: Tensor, value: Tensor) -> None:
        if not (self._is_open() and query.is_meta):
            self._validate(query, key, value)

    def _gradient(self, query: Tensor, key: Tensor, value: Tensor, score_mod: Any, *rest: Any) -> Any:
        if not (self._is_open() and query.is_meta):
            return self._autograd(query, key, value, score_mod, *rest)
        handed = rest[3] if len(rest) > 3 else ()
        captured = [t for t in handed if isinstance(t, Tensor)] if handed else captures(score_mod, query)
        operator = self._module.flex_attention_hop
        return _Whole.apply(query, key, value, lambda q, k, v: operator(q, k, v, score_mod, *rest), rest, *captured)

    def undo(self) -> None:
        """Put back what was there."""
        if self._module is not None:
            self._module._validate_device = self._validate
            self._module._FLEX_ATTENTION_DISABLE_COMPILE_DEBUG = self._uncompiled
            self._use(self._autograd)


class _Whole(torch.autograd.Function):
    """(query, key, value, how to run the operator, block mask and scale, captured tensors …), as PyTorch's saves it."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, run: Any, rest: Any, *captured: Tensor) -> Any:
        ctx.set_materialize_grads(False)
        with torch._C._AutoDispatchBelowAutograd():
            out, logsumexp, maximum = run(q, k, v)
        ctx.mark_non_differentiable(maximum)
        block_mask, ctx.scale = rest[:2]
        masks = [t for t in block_mask if isinstance(t, Tensor)]
        ctx.save_for_backward(q, k, v, out, logsumexp, maximum, *captured, *masks)
        return out, logsumexp, maximum

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *_: Tensor | None) -> tuple[Tensor | None, ...]:
        q, k, v, out, logsumexp, _maximum, *saved = ctx.saved_tensors
        needed, of_captured = list(ctx.needs_input_grad[:3]), ctx.needs_input_grad[5:]
        if grad is None:
            return (None,) * (5 + len(of_captured))
        wanted = [t for t, n in zip(saved, of_captured, strict=False) if n]
        found = iter(backward(grad, q, k, v, out, logsumexp, wanted, ctx.scale, [*needed, False]))
        gradients = [next(found) if n else None for n in needed]
        return (*gradients, None, None, *[next(found) if n else None for n in of_captured])


def captures(score_mod: Callable[..., Tensor], query: Tensor) -> list[Tensor]:
    """The tensors that a `score_mod` uses beside its arguments and that need a gradient, in the order of their use."""
    if not torch.is_grad_enabled():
        return []
    from torch._dynamo._trace_wrapped_higher_order_op import TransformGetItemToIndex

    indices = [torch.empty((), dtype=torch.int32, device="meta") for _ in range(4)]
    seen = _Captures()
    with _disable_current_modes(), TransformGetItemToIndex(), seen:
        score_mod(query.new_empty(()), *indices)
    return list(seen.found.values())


class _Captures(TorchFunctionMode):
    """Notes what needs a gradient and was not made while the mode is on."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[int, Tensor] = {}
        self._made: list[Tensor] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = {id(t) for t in self._made}
        for tensor in torch.utils._pytree.tree_leaves((args, kwargs or {})):
            if isinstance(tensor, Tensor) and tensor.requires_grad and id(tensor) not in made:
                self.found.setdefault(id(tensor), tensor)
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor):
            self._made.append(out)
        return out
