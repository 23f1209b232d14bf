"""What `torch.autocast` does to operators, on meta tensors, where PyTorch's own autocast does nothing.

PyTorch casts by device: an autocast region for CUDA or CPU leaves meta tensors alone. The operators below are those of
its cast lists (https://docs.pytorch.org/docs/stable/amp.html, "CUDA Ops that can autocast to float16" and "… to
float32") as they arrive at the dispatcher.

Not here: casts that only promote to the widest input type; type promotion does that anyway.
"""

from __future__ import annotations

import threading
from typing import Any

import torch
from torch import Tensor

from . import units

aten = torch.ops.aten

LOWER_PRECISION = frozenset(
    {
        aten.mm.default,
        aten.addmm.default,
        aten.bmm.default,
        aten.baddbmm.default,
        aten.mv.default,
        aten.addmv.default,
        aten.addbmm.default,
        aten.convolution.default,
        aten._thnn_fused_lstm_cell.default,
        aten._thnn_fused_gru_cell.default,
        aten.addr.default,
        units.attention,
        units.rnn,
    }
)
FLOAT32 = frozenset(
    {
        aten._softmax.default,
        aten._log_softmax.default,
        aten.native_layer_norm.default,
        aten.native_group_norm.default,
        aten.exp.default,
        aten.expm1.default,
        aten.log.default,
        aten.log10.default,
        aten.log1p.default,
        aten.log2.default,
        aten.pow.Tensor_Scalar,
        aten.pow.Tensor_Tensor,
        aten.pow.Scalar,
        aten.reciprocal.default,
        aten.rsqrt.default,
        aten.softplus.default,
        aten.cumsum.default,
        aten.cumprod.default,
        aten.prod.default,
        aten.sum.default,
        aten.sum.dim_IntList,
        aten.linalg_vector_norm.default,
        aten.nll_loss_forward.default,
        aten.mse_loss.default,
        aten.smooth_l1_loss.default,
        aten.huber_loss.default,
        aten._cdist_forward.default,
        *(getattr(aten, name).default for name in ("acos", "asin", "cosh", "erfinv", "sinh", "tan")),
        aten.logsumexp.default,
        aten.renorm.default,
        aten.binary_cross_entropy_with_logits.default,
    }
)


class _Above(threading.local):
    """Whether the calling thread's regions cast above autograd (autocast_gradients.py), so that no recorder need."""

    active = False


above = _Above()


def region_to_cast() -> torch.dtype | None:
    """The dtype that a recorder must cast to; None outside of all regions, or where casts are made already."""
    return None if above.active else region_dtype()


def region_dtype() -> torch.dtype | None:
    """The dtype that the autocast region around the running code casts to; None outside of all."""
    if not torch._C._is_any_autocast_enabled():
        return None
    for device in ("cuda", "cpu"):
        if torch.is_autocast_enabled(device):
            return torch.get_autocast_dtype(device)
    return None


def cast_to(func: Any, dtype: torch.dtype) -> torch.dtype | None:
    """What an operator's floating-point arguments are cast to in a region of `dtype`; None to leave them."""
    if func in LOWER_PRECISION:
        return dtype
    return torch.float32 if func in FLOAT32 else None


def cast(value: Any, dtype: torch.dtype) -> Any:
    """Arguments with every floating-point tensor (float64 apart, as autocast has it) in `dtype`."""
    if isinstance(value, Tensor):
        eligible = value.is_floating_point() and value.dtype not in (dtype, torch.float64)
        return value.to(dtype) if eligible else value
    if isinstance(value, (tuple, list)):
        return type(value)(cast(v, dtype) for v in value)
    return value
