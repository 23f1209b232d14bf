"""Nested tensors of the strided layout, which PyTorch keeps on CPU and CUDA alone: there is no meta form of them.

In a real run an operator on them is recorded as the dense operators on their parts that it consists of. Not here:
nested tensors of the jagged layout, which are dense tensors and offsets, on meta as anywhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import torch
from torch import Tensor

from .errors import MissingMetaKernelError

_WHOLE = frozenset({torch.ops.aten.native_layer_norm.default})
"""Kernels for nested tensors that do not call operators in their turn."""


def is_nested(value: Any) -> bool:
    """True for nested tensors of the strided layout."""
    return isinstance(value, Tensor) and value.is_nested and value.layout is torch.strided


def dense_parts(op: Any, args: tuple[Any, ...]) -> Callable[..., Any] | None:
    """What runs an operator on nested tensors by dense ones; None if none is among its arguments, or it stays whole."""
    nested = next((a for a in args if is_nested(a)), None)
    if nested is None or not isinstance(op, torch._ops.OpOverload) or op in _WHOLE:
        return None
    key = f"NestedTensor{nested.device.type.upper()}"
    if not torch._C._dispatch_has_kernel_for_dispatch_key(op.name(), key):
        return None
    return lambda *args, **kwargs: op._op_dk(getattr(torch._C.DispatchKey, key), *args, **kwargs)


def refuse(*_: Any, **__: Any) -> NoReturn:
    """Say why there is no analysis on meta.

    Raises:
        MissingMetaKernelError: always.
    """
    raise MissingMetaKernelError(
        "nested tensors of the strided layout have no meta form in PyTorch. Pass real weights and real inputs, so that "
        "a real run can be recorded, or use layout=torch.jagged"
    )
