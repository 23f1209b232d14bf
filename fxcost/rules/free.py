"""Operators known to cost nothing, each with its reason.

Operators whose schema says that they only alias their input (`view`, `permute`, `detach` …) need no entry: the
registry sees that itself.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from .common import optional
from .registry import OpKey, Rule

aten = torch.ops.aten


def _free(reason: str) -> Rule:
    return Rule("free", None, reason)


_ALLOCATES = _free("allocates memory without touching it")
_METADATA = _free("reads or changes a tensor's metadata alone")
_VIEW = _free("only changes how a tensor is viewed")
_MARKS = _free("marks a span of time for a profiler")
_CHECK = _free("checks a condition, computes nothing")
_NESTED = ("offsets", "lengths", "ragged_idx", "min_seqlen", "max_seqlen", "jagged_dummy")

RULES: Mapping[OpKey, Rule] = {
    aten._nested_tensor_from_mask_left_aligned: _CHECK,
    aten._nested_tensor_size: _METADATA,
    aten._nested_tensor_strides: _METADATA,
    aten._nested_tensor_storage_offsets: _METADATA,
    **{op: rule for name in _NESTED for op, rule in optional(f"_nested_get_{name}", _METADATA).items()},
    aten.is_coalesced: _METADATA,
    aten._coalesced_: _METADATA,
    aten.sparse_dim: _METADATA,
    aten._dimI: _METADATA,
    aten._dimV: _METADATA,
    aten.q_scale: _METADATA,
    aten.q_zero_point: _METADATA,
    aten.q_per_channel_scales: _METADATA,
    aten.q_per_channel_zero_points: _METADATA,
    aten.q_per_channel_axis: _METADATA,
    aten.qscheme: _METADATA,
    aten._empty_affine_quantized: _ALLOCATES,
    aten._empty_per_channel_affine_quantized: _ALLOCATES,
    aten.empty_quantized: _ALLOCATES,
    aten._use_cudnn_ctc_loss: _CHECK,
    aten._nnz: _METADATA,
    aten.empty: _ALLOCATES,
    aten.empty_like: _ALLOCATES,
    aten.empty_strided: _ALLOCATES,
    aten.empty_permuted: _ALLOCATES,
    aten.new_empty: _ALLOCATES,
    aten.new_empty_strided: _ALLOCATES,
    aten._efficientzerotensor: _ALLOCATES,
    aten.resize: _ALLOCATES,
    aten.resize_: _ALLOCATES,
    aten.resize_as_: _ALLOCATES,
    aten._resize_output_: _ALLOCATES,
    aten.sym_size: _METADATA,
    aten.sym_stride: _METADATA,
    aten.sym_numel: _METADATA,
    aten.sym_storage_offset: _METADATA,
    **optional("sym_is_contiguous", _METADATA),
    aten.size: _METADATA,
    aten.stride: _METADATA,
    aten.numel: _METADATA,
    aten.dim: _METADATA,
    aten.storage_offset: _METADATA,
    aten.is_contiguous: _METADATA,
    aten.is_same_size: _METADATA,
    aten.is_pinned: _METADATA,
    aten.is_set_to: _METADATA,
    aten.is_non_overlapping_and_dense: _METADATA,
    aten.is_strides_like_format: _METADATA,
    aten._has_same_storage_numel: _METADATA,
    aten.dense_dim: _METADATA,
    aten.record_stream: _METADATA,
    aten.set_: _METADATA,
    aten._fused_sdp_choice: _METADATA,
    aten._unsafe_view: _VIEW,
    aten._reshape_alias: _VIEW,
    aten.as_strided_: _VIEW,
    aten.squeeze_: _VIEW,
    aten.unsqueeze_: _VIEW,
    aten.transpose_: _VIEW,
    aten.t_: _VIEW,
    aten.swapaxes_: _VIEW,
    aten.swapdims_: _VIEW,
    aten.detach_: _VIEW,
    aten.unsafe_split: _VIEW,
    aten.unsafe_split_with_sizes: _VIEW,
    aten._assert_async: _CHECK,
    aten._functional_assert_async: _CHECK,
    aten._assert_scalar: _CHECK,
    aten._functional_assert_scalar: _CHECK,
    aten._assert_tensor_metadata: _CHECK,
    aten.sym_constrain_range: _CHECK,
    aten.sym_constrain_range_for_size: _CHECK,
    aten._functional_sym_constrain_range: _CHECK,
    aten._functional_sym_constrain_range_for_size: _CHECK,
    aten._linalg_check_errors: _CHECK,
    **optional("profiler::_record_function_enter_new", _MARKS),
    **optional("profiler::_record_function_exit", _MARKS),
    **optional("_print", _free("prints")),
    **optional("_make_dep_token", _free("orders effects, holds no data")),
}
