"""Nested tensors.

Those of the strided layout PyTorch keeps on CPU and CUDA alone: there is no meta form of them. In a real run an
operator on them is recorded as the dense operators on their parts that it consists of.

Those of the jagged layout are dense tensors and offsets, on meta as anywhere else. Only attention among them has a way
of its own (:func:`jagged_attention`), as PyTorch picks a kernel by device and has none for meta.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from ..errors import MissingMetaKernelError

_WHOLE = frozenset({torch.ops.aten.native_layer_norm.default})
"""Kernels for nested tensors that do not call operators in their turn."""


def is_nested(value: Any) -> bool:
    """True for nested tensors of the strided layout."""
    return isinstance(value, Tensor) and value.is_nested and value.layout is torch.strided


def extent(tensor: Tensor) -> tuple[int, ...]:
    """Sizes of what a nested tensor holds, as it has none in its ragged dimension.

    Strided: its elements in one row. Jagged: its dense values, with the ragged and the batch dimension in one.
    """
    if is_nested(tensor):
        return (tensor.numel(),)
    values: Tensor = tensor.values()
    return tuple(values.shape)


def taking_the_fast_path(module: nn.Module, forward: Callable[..., Any]) -> Callable[..., Any]:
    """A module's forward; given nested tensors of the strided layout, attention runs it below all function modes.

    PyTorch has no other way for these than its fast path, which it does not take while a function mode is active.
    """
    if not isinstance(module, (nn.MultiheadAttention, nn.TransformerEncoderLayer)):
        return forward

    @wraps(forward)
    def run(*args: Any, **kwargs: Any) -> Any:
        if not any(map(is_nested, (*args, *kwargs.values()))):
            return forward(*args, **kwargs)
        with torch._C.DisableTorchFunction():
            return forward(*args, **kwargs)

    return run


def dense_parts(op: Any, args: tuple[Any, ...]) -> Callable[..., Any] | None:
    """What runs an operator on nested tensors by dense ones; None if none is among its arguments, or it stays whole."""
    nested = next((a for a in args if is_nested(a)), None)
    if nested is None or not isinstance(op, torch._ops.OpOverload) or op in _WHOLE:
        return None
    key = f"NestedTensor{nested.device.type.upper()}"
    if not torch._C._dispatch_has_kernel_for_dispatch_key(op.name(), key):
        return None
    return lambda *args, **kwargs: op._op_dk(getattr(torch._C.DispatchKey, key), *args, **kwargs)


def is_jagged_on_meta(value: Any) -> bool:
    """True for nested tensors of the jagged layout on meta."""
    return isinstance(value, Tensor) and value.is_nested and value.layout is torch.jagged and value.is_meta


def jagged_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """`scaled_dot_product_attention` of nested (batch, heads, ragged length, dim), as flash attention runs it on CUDA.

    Masks, grouped heads and what is ragged elsewhere are left to PyTorch, which refuses most of it.
    """
    ragged: Any = query
    if attn_mask is not None or enable_gqa or query.dim() != 4 or ragged._ragged_idx != 2:
        return torch.nn.functional.scaled_dot_product_attention(
            query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
        )
    from torch.nested._internal import sdpa
    from torch.nested._internal.nested_tensor import nested_view_from_values_offsets_lengths

    *sequences, info = sdpa._sdpa_nested_preprocessing(query, key, value)
    out = torch.ops.aten._flash_attention_forward(*sequences, dropout_p, is_causal, False, scale=scale)[0]
    return nested_view_from_values_offsets_lengths(out, **info).transpose(1, 2)  # type: ignore[no-any-return]


def refuse(*_: Any, **__: Any) -> NoReturn:
    """Say why there is no analysis on meta.

    Raises:
        MissingMetaKernelError: always.
    """
    raise MissingMetaKernelError(
        "nested tensors of the strided layout have no meta form in PyTorch. Pass real weights and real inputs, so that "
        "a real run can be recorded, or use layout=torch.jagged"
    )
