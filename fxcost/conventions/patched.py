"""What ptflops, calflops and DeepSpeed share: they replace functions of `torch.nn.functional`, `torch` and `Tensor`.

A patched function is seen wherever it is looked up by name while the model runs. Not seen: operators (`a * b`),
in-place methods, and functions bound before patching, such as the activation of a transformer layer.
"""

from __future__ import annotations

from math import prod
from types import FunctionType
from typing import Any

import torch
from torch import nn

from ..records.recording import TensorSpec
from .kinds import n
from .seen import FunctionSeen, Seen

_BOUND_EARLY = (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)
PER_ELEMENT = ("F.relu", "F.prelu", "F.elu", "F.relu6", "F.gelu", "F.silu")


def is_patched(seen: Seen, call: FunctionSeen) -> bool:
    """False for a function that its module took from the namespace before any tool could patch it."""
    module = seen.modules.get(call.module)
    if module is None:
        return True
    if isinstance(module, _BOUND_EARLY):
        return isinstance(vars(module).get("activation"), FunctionType) and not _is_of_torch(vars(module)["activation"])
    held = [value for value in vars(module).values() if callable(value)]
    return not any(value is function for value in held for function in _functions(call.name))


def _is_of_torch(function: FunctionType) -> bool:
    return (function.__module__ or "").startswith("torch.")


def _functions(name: str) -> tuple[Any, ...]:
    """What a name as in :class:`FunctionSeen` stands for."""
    space, _, last = name.rpartition(".")
    found = {"F": nn.functional, "torch": torch}.get(space)
    return (getattr(found, last),) if hasattr(found, last) else ()


def elements(call: FunctionSeen) -> int:
    """One per input element."""
    return call.x.numel


def product(call: FunctionSeen) -> int:
    """Elements of the left operand × columns of the right one."""
    return call.x.numel * call.arg(1, "other", call.kwargs.get("mat2")).shape[-1]  # type: ignore[no-any-return]


def added_product(call: FunctionSeen) -> int:
    """addmm(bias, a, b), baddbmm: the product alone."""
    left = call.arg(1, "mat1", call.kwargs.get("batch1"))
    right = call.arg(2, "mat2", call.kwargs.get("batch2"))
    return left.numel * right.shape[-1]  # type: ignore[no-any-return]


def left_aligned(call: FunctionSeen) -> int:
    """Size of an element-wise result, the operands' shapes aligned at the left instead of the right."""
    a, b = call.arg(0, "input"), call.arg(1, "other")
    if not (isinstance(a, TensorSpec) and isinstance(b, TensorSpec)):
        return n(a) * n(b)
    rank = max(len(a.shape), len(b.shape))
    shapes = [(*s.shape, *(1,) * (rank - len(s.shape))) for s in (a, b)]
    return prod(max(sizes) for sizes in zip(*shapes, strict=True))


def wanted_size(call: FunctionSeen) -> tuple[Any, Any]:
    """`size` and `scale_factor` of an interpolation."""
    return call.arg(1, "size"), call.arg(2, "scale_factor")
