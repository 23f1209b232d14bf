"""Operators that move, copy, pad or make data: traffic, and no arithmetic.

A factory only writes. A copy reads its source and writes its destination, which it does not read. A cast is a copy.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import torch

from ..records.cost import Cost
from ..records.recording import OpRecord, tensor_specs
from .common import bytes_of, optional, with_bytes
from .registry import OpKey, Rule

aten = torch.ops.aten


def move(op: OpRecord) -> Cost:
    """Every input read once, every result written once."""
    return Cost()


def make(op: OpRecord) -> Cost:
    """Writes a new tensor; what it is like is not read."""
    return with_bytes(op, Cost(), 0)


def overwrite(op: OpRecord) -> Cost:
    """Reads all arguments but the first, which is what gets overwritten."""
    return with_bytes(op, Cost(), bytes_of(*tensor_specs(op.args[1:])))


def select(op: OpRecord) -> Cost:
    """Reads as many elements of its first argument as it writes."""
    return with_bytes(op, Cost(), op.out.numel * op.args[0].dtype.itemsize)


def pad(op: OpRecord) -> Cost:
    """Reads what it keeps (a negative padding cuts off) and writes the padded tensor."""
    x, padding = op.args[:2]
    kept = list(x.shape)
    for i in range(len(padding) // 2):
        before, after = padding[2 * i], padding[2 * i + 1]
        kept[-1 - i] += (before if before < 0 else 0) + (after if after < 0 else 0)
    return with_bytes(op, Cost(), prod(kept) * x.dtype.itemsize)


def replace_part(op: OpRecord) -> Cost:
    """A copy of `self` with a part replaced by `src`: reads each element of the result from either."""
    return with_bytes(op, Cost(), op.out.nbytes)


def read_one(op: OpRecord) -> Cost:
    """Hands one number to Python."""
    return with_bytes(op, Cost(), op.args[0].dtype.itemsize, 0)


_MOVE = Rule("movement", move, "moves data, no arithmetic")
_MAKE = Rule("movement", make, "makes a tensor, no arithmetic")
_OVERWRITE = Rule("movement", overwrite, "overwrites a tensor, no arithmetic")
_SELECT = Rule("movement", select, "copies a part, no arithmetic")
_REPLACE = Rule("movement", replace_part, "copies with a part replaced, no arithmetic")
_PAD = Rule("movement", pad, "pads, no arithmetic")

RULES: Mapping[OpKey, Rule] = {
    # copies and casts
    aten.clone: _MOVE,
    aten.contiguous: _MOVE,
    aten._to_copy: _MOVE,
    aten.lift: _MOVE,
    aten.copy: _OVERWRITE,
    aten._copy_from: Rule("movement", select, "copies, no arithmetic"),
    aten.cat: _MOVE,
    aten.stack: _MOVE,
    aten._stack: _MOVE,
    aten._chunk_cat: _MOVE,
    aten.block_diag: _MOVE,
    aten.repeat: _MOVE,
    aten.flip: _MOVE,
    aten.roll: _MOVE,
    aten.rot90: _MOVE,
    aten.channel_shuffle: _MOVE,
    aten.native_channel_shuffle: _MOVE,
    aten.pixel_shuffle: _MOVE,
    aten.pixel_unshuffle: _MOVE,
    aten.repeat_interleave: _MOVE,
    aten.complex: _MOVE,
    aten._pack_padded_sequence: _MOVE,
    aten.nested_to_padded_tensor: _MOVE,
    aten._nested_tensor_from_tensor_list: _MOVE,
    aten._nested_tensor_from_mask: _MOVE,
    aten._nested_from_padded: _MOVE,
    aten._nested_from_padded_and_nested_example: _MOVE,
    aten._to_sparse: _MOVE,
    aten._to_sparse_csr: _MOVE,
    aten._to_dense: _MOVE,
    aten.to_padded_tensor: _MOVE,
    **optional("_jagged_to_padded_dense_forward", _MOVE),
    **optional("_padded_dense_to_jagged_forward", _MOVE),
    aten.im2col: _MOVE,
    aten.tril: _MOVE,
    aten.triu: _MOVE,
    aten.diag_embed: _MOVE,
    aten.view_copy: _MOVE,
    aten._reshape_copy: _MOVE,
    aten._reshape_alias_copy: _MOVE,
    aten.permute_copy: _MOVE,
    aten.transpose_copy: _MOVE,
    aten.t_copy: _MOVE,
    aten.squeeze_copy: _MOVE,
    aten.unsqueeze_copy: _MOVE,
    aten.expand_copy: _MOVE,
    aten.alias_copy: _MOVE,
    aten.detach_copy: _MOVE,
    aten.lift_fresh_copy: _MOVE,
    aten.unbind_copy: _MOVE,
    aten.split_copy: _MOVE,
    aten.split_with_sizes_copy: _MOVE,
    aten.view_as_real_copy: _MOVE,
    aten.view_as_complex_copy: _MOVE,
    aten._conj_copy: _MOVE,
    aten.slice_copy: _SELECT,
    aten.select_copy: _SELECT,
    aten.narrow_copy: _SELECT,
    aten.diagonal_copy: _SELECT,
    aten.as_strided_copy: _SELECT,
    aten.unfold_copy: _SELECT,
    # padding
    aten.constant_pad_nd: _PAD,
    aten.reflection_pad1d: _PAD,
    aten.reflection_pad2d: _PAD,
    aten.reflection_pad3d: _PAD,
    aten.replication_pad1d: _PAD,
    aten.replication_pad2d: _PAD,
    aten.replication_pad3d: _PAD,
    # one part replaced
    aten.slice_scatter: _REPLACE,
    aten.select_scatter: _REPLACE,
    aten.diagonal_scatter: _REPLACE,
    aten.as_strided_scatter: _REPLACE,
    # selection by a mask
    aten.where: _MOVE,
    aten.masked_fill: _MOVE,
    aten.masked_scatter: _MOVE,
    # factories
    aten.fill: _OVERWRITE,
    aten.zero: _OVERWRITE,
    aten.zeros: _MAKE,
    aten.ones: _MAKE,
    aten.full: _MAKE,
    aten.zeros_like: _MAKE,
    aten.ones_like: _MAKE,
    aten.full_like: _MAKE,
    aten.new_zeros: _MAKE,
    aten.new_ones: _MAKE,
    aten.new_full: _MAKE,
    aten._new_zeros_with_same_feature_meta: _MAKE,
    aten.scalar_tensor: _MAKE,
    aten.arange: _MAKE,
    aten.range: _MAKE,
    aten.linspace: _MAKE,
    aten.logspace: _MAKE,
    aten.eye: _MAKE,
    aten.tril_indices: _MAKE,
    aten.triu_indices: _MAKE,
    aten.fft_fftfreq: _MAKE,
    aten.fft_rfftfreq: _MAKE,
    aten.bartlett_window: _MAKE,
    aten.blackman_window: _MAKE,
    aten.hamming_window: _MAKE,
    aten.hann_window: _MAKE,
    aten.kaiser_window: _MAKE,
    aten._local_scalar_dense: Rule("movement", read_one, "hands one number to Python"),
}
