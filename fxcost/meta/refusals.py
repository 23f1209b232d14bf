"""Calls that PyTorch refuses for the dtypes of their tensors, which its meta kernels let pass.

`float @ double` runs on meta, and nowhere else. tests/meta/test_refusals.py compares with the CPU over PyTorch's own
list of operators. Shapes that do not fit are refused by the meta kernels themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

from . import units
from .cells import tensors

aten = torch.ops.aten

_LOW = (torch.bfloat16, torch.float16)


def _one_dtype(positions: Sequence[int], op: Any, args: tuple[Any, ...]) -> None:
    found = [t.dtype for i in positions if i < len(args) for t in tensors(args[i])]
    if len(set(found)) > 1:
        raise RuntimeError(f"{op}: expected tensors of one dtype, but got {_listed(found)}")


def _normalized(positions: Sequence[int], op: Any, args: tuple[Any, ...]) -> None:
    """A normalization's parameters have the dtype of its input, or are float32 where that is of low precision."""
    x, *rest = [t.dtype for i in positions if i < len(args) for t in tensors(args[i])]
    mixed = x in _LOW and set(rest) == {torch.float32}
    if rest and set(rest) != {x} and not mixed:
        raise RuntimeError(f"{op}: expected parameters of the input's dtype {x}, but got {_listed(rest)}")


def _listed(dtypes: Sequence[torch.dtype]) -> str:
    return ", ".join(str(dtype).removeprefix("torch.") for dtype in dtypes)


def _operators(names: str) -> list[Any]:
    """Overloads by name: `mm` is `aten.mm.default`; those that the installed PyTorch has."""
    found = []
    for name in names.split():
        packet, _, overload = name.partition(".")
        op = getattr(getattr(aten, packet, None), overload or "default", None)
        found += [op] if op is not None else []
    return found


Check = Callable[[Any, tuple[Any, ...]], None]
_BY_POSITIONS: dict[tuple[int, ...], str] = {
    (0, 1): "mm bmm dot vdot mv _cdist_forward complex polar linalg_cross heaviside heaviside_ binary_cross_entropy "
    "grid_sampler_2d grid_sampler_3d linalg_lstsq",
    (0, 1, 2): "addmm addmm_ addbmm addbmm_ baddbmm baddbmm_ addmv addmv_ sparse_sampled_addmm convolution "
    "_scaled_dot_product_flash_attention_for_cpu",
    (0, 3): "index_copy index_copy_ index_add index_add_ index_reduce index_reduce_",
    (0, 2): "index_put index_put_ put put_ nll_loss_forward nll_loss2d_forward",
    (0, 6): "_embedding_bag _embedding_bag_forward_only",
}
_BATCH_NORMS = "native_batch_norm _native_batch_norm_legit _batch_norm_with_update"

REFUSALS: dict[Any, Check] = {
    **{op: partial(_one_dtype, at) for at, names in _BY_POSITIONS.items() for op in _operators(names)},
    **{op: partial(_normalized, (0, 2, 3)) for op in _operators("native_layer_norm")},
    **{op: partial(_normalized, (0, 1, 2)) for op in _operators("native_group_norm")},
    **{op: partial(_normalized, (0, 1, 2, 3, 4)) for op in _operators(_BATCH_NORMS)},
    units.attention: partial(_one_dtype, (0, 1, 2)),
    units.rnn: partial(_one_dtype, (0, 1, 2)),
}
"""What looks at the arguments of an operator before it runs on meta; it raises what PyTorch would."""
