"""What a device is given to do: kernels, each with its kind, arithmetic, traffic and the sizes that its speed hangs on.

In eager mode each operator that works is a kernel. In compiled mode a compiler joins operators (fusion.py); products of
matrices, convolutions and attention stay kernels of libraries.

Kinds are those whose speed differs on real devices: products by what they multiply, and the rest by how it walks
through memory. Not here: how long a kind takes (times.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch

from ..records.cost import NodeCost, OpCost
from ..records.recording import OpRecord, TensorSpec
from ..speed.dtypes import dtype_key
from ..speed.fusion import Kernel, alone

PRODUCTS = (
    "gemm", "conv_1x1", "conv", "conv_grouped", "conv_depthwise", "conv_depthwise_wide", "attention",
    "attention_masked", "attention_unfused", "attention_decode", "attention_decode_grouped", "gemm_grouped",
)  # fmt: skip
"""Kinds that multiply and accumulate; all others are bound by memory."""
MOVES = (
    "pointwise", "copy", "transpose", "cat", "gather", "batch_norm", "row_norm", "softmax", "reduction", "pooling",
    "interpolation", "gelu", "other",
)  # fmt: skip
LAYOUTS = ("channels_first", "channels_last")
"""How a convolution's input lies in memory."""
NARROW_WINDOW = 25
"""Windows of a depthwise convolution up to 5 × 5 have kernels of their own (`use_cudnn_depthwise` in PyTorch)."""
FEW_QUERIES = 16
"""So many queries or fewer run in kernels that split the keys."""
_BY_FAMILY = {
    "pointwise": "pointwise", "reduction": "reduction", "pooling": "pooling", "interpolation": "interpolation",
    "indexing": "gather", "movement": "gather", "matmul": "gemm", "free": "copy",
}  # fmt: skip
_BY_NAME = {
    "native_batch_norm": "batch_norm", "cudnn_batch_norm": "batch_norm", "native_batch_norm_backward": "batch_norm",
    "_native_batch_norm_legit": "batch_norm", "_native_batch_norm_legit_no_training": "batch_norm",
    "native_layer_norm": "row_norm", "native_layer_norm_backward": "row_norm", "native_group_norm": "row_norm",
    "native_group_norm_backward": "row_norm", "_fused_rms_norm": "row_norm",
    "_softmax": "softmax", "_log_softmax": "softmax", "_softmax_backward_data": "softmax",
    "_log_softmax_backward_data": "softmax", "cat": "cat", "stack": "cat", "_to_copy": "copy", "copy_": "copy",
    "clone": "copy", "fill_": "copy", "zero_": "copy", "zeros": "copy", "constant_pad_nd": "cat", "repeat": "cat",
    "gelu": "gelu", "gelu_": "gelu", "native_dropout": "pointwise", "native_dropout_backward": "pointwise",
}  # fmt: skip


@dataclass(slots=True)
class Work:
    """A kernel: what it computes and moves, and the product that it is, if it is one.

    A product is `batch` products of (m × k) by (k × n): of a grouped convolution one for each group, where m are the
    places of the output, n the channels and k what each is the sum of. Of attention to few queries `batch` are the
    heads of keys, of an interpolation the maps that each thread walks along. `flops` are those of products, without
    what a mask throws away, `others` beside them. `node` is the position of the node in which it begins, `reads` and
    `writes` are bytes.
    """

    kind: str
    layout: str
    dtype: str
    node: int
    flops: int
    others: int
    reads: int
    writes: int
    m: int = 1
    n: int = 1
    k: int = 1
    batch: int = 1
    aligned: bool = True
    """All sizes that products are loaded by are multiples of 8 elements, which tensor cores want."""


def work_of(op: OpCost, node: int) -> Work:
    """The kernel that an operator is by itself."""
    record, cost = op.record, op.cost
    kind = kind_of(op)
    work = Work(
        kind,
        _layout(record),
        _dtype(record),
        node,
        2 * cost.masked_macs,
        cost.other_flops - cost.skipped_flops,
        cost.bytes_read,
        cost.bytes_written,
    )
    if kind in PRODUCTS:
        _product(work, op)
    elif kind == "interpolation":
        _interpolation(work, record)
    return work


def works_alone(op: OpCost) -> bool:
    """True for an operator that starts a kernel: views and sizes start none."""
    return op.cost.flops > 0 or op.cost.bytes_moved > 0


def kind_of(op: OpCost) -> str:
    """One of `PRODUCTS` or `MOVES`."""
    name = _name(op.record)
    if op.cost.macs:
        if op.family == "convolution":
            return _convolution(op.record)
        if op.family == "attention":
            return _attention_kind(op.record)
        return "gemm_grouped" if "grouped_mm" in name else "gemm"
    kind = _BY_NAME.get(name) or _BY_FAMILY.get(op.family, "other")
    if kind == "gemm":  # without a product: of integers, or nothing in it
        return "other"
    if kind == "copy" and _transposes(op.record):
        return "transpose"
    return kind


def _name(record: OpRecord) -> str:
    return str(record.op).split(".")[1]


def _convolution(record: OpRecord) -> str:
    """Which kind of convolution: by its weight, or (of a gradient) that of its forward pass."""
    tensors = [spec for spec in record.args if type(spec) is TensorSpec]
    backward = "backward" in str(record.op)
    x, weight = (tensors[1], tensors[2]) if backward else (tensors[0], tensors[1])
    groups = next((a for a in reversed(record.args[3:]) if type(a) is int), 1)
    if groups > 1:
        wide = "_wide" if prod(weight.shape[2:]) > NARROW_WINDOW else ""
        return f"conv_depthwise{wide}" if groups == x.shape[1] else "conv_grouped"
    return "conv_1x1" if prod(weight.shape[2:]) == 1 else "conv"


def _attention_kind(record: OpRecord) -> str:
    """Which kernel attention runs in: flash, one that takes a mask, or none (`sdp_utils.cpp` wants four dimensions)."""
    query = record.args[0]
    if "attention" in str(record.op) and type(query) is TensorSpec:
        if str(record.op).startswith("fxcost") and len(query.shape) != 4:
            return "attention_unfused"
        if len(query.shape) == 4 and query.shape[-2] <= FEW_QUERIES:
            key = record.args[1]
            shared = type(key) is TensorSpec and key.shape[1] < query.shape[1]
            return "attention_decode_grouped" if shared else "attention_decode"
        mask = record.args[3] if len(record.args) > 3 else None
        return "attention_masked" if type(mask) is TensorSpec and mask.is_floating else "attention"
    return "attention"


def _transposes(record: OpRecord) -> bool:
    """True for a copy whose result lies otherwise in memory than what it reads."""
    source, out = next(iter(record.inputs), None), next((s for s in record.outputs if s is not None), None)
    if source is None or out is None or source.shape != out.shape or not source.stride:
        return False
    order = [(a, b) for size, a, b in zip(source.shape, source.stride, out.stride, strict=True) if size > 1]
    by_source, by_out = sorted(order), sorted(order, key=lambda strides: strides[1])
    return [s for s, _ in by_source] != [s for s, _ in by_out]


def _layout(record: OpRecord) -> str:
    for spec in record.inputs:
        if len(spec.shape) >= 4 and len(spec.stride) == len(spec.shape):
            last = spec.stride[1] == 1 and spec.shape[1] > 1 and prod(spec.shape[2:]) > 1
            return LAYOUTS[last]
    return LAYOUTS[0]


def _dtype(record: OpRecord) -> str:
    """The dtype in which an operator computes: that of its first floating-point tensor, or else number."""
    specs = (*record.inputs, *(s for s in record.outputs if s is not None))
    floating = [s for s in specs if s.is_floating]
    numbers = floating or [s for s in specs if s.dtype != torch.bool]
    return dtype_key(numbers[0].dtype_name) if numbers else ""


def _product(work: Work, op: OpCost) -> None:
    """Fill in the product that a kernel is."""
    record, macs = op.record, op.cost.macs
    if work.kind.startswith("attention"):
        return _attention(work, record)
    out = record.out.shape
    if work.kind in ("gemm", "gemm_grouped"):
        work.n = out[-1]
        work.m = out[-2] if len(out) > 1 else 1
        work.batch = prod(out[:-2])
        work.k = max(1, macs // max(1, work.m * work.n * work.batch))
        if work.kind == "gemm_grouped":
            weight = record.args[1]
            groups = weight.shape[0] if type(weight) is TensorSpec and len(weight.shape) == 3 else 1
            work.m, work.batch = max(1, work.m // groups), groups
        work.aligned = work.n % 8 == 0 and work.k % 8 == 0
        return None
    tensors = [spec for spec in record.args if type(spec) is TensorSpec]
    backward = "backward" in str(record.op)
    x, weight = (tensors[1], tensors[2]) if backward else (tensors[0], tensors[1])
    places = tensors[0] if backward else record.out
    channels = places.shape[1] if len(places.shape) == len(weight.shape) else places.shape[0]
    groups = next((a for a in reversed(record.args[3:]) if type(a) is int), 1)
    work.batch, work.n = groups, max(1, channels // groups)
    work.m = places.numel // max(1, channels)
    passes = 2 if backward and all(s is not None for s in record.outputs[:2]) else 1
    work.k = max(1, macs // max(1, passes * work.m * channels))
    c_in = x.shape[1] if len(x.shape) == len(weight.shape) else x.shape[0]
    work.aligned = c_in // groups % 8 == 0 and work.n % 8 == 0
    return None


def _attention(work: Work, record: OpRecord) -> None:
    """Attention: m queries of each head against n keys, each k = head size long."""
    query, key = record.args[0], record.args[1]
    if type(query) is not TensorSpec or type(key) is not TensorSpec or len(query.shape) < 3:
        query, key = next(iter(record.inputs)), list(record.inputs)[1]
    work.m, work.k = query.shape[-2], query.shape[-1]
    work.n, work.batch = key.shape[-2], prod(query.shape[:-2])
    work.aligned = work.k % 8 == 0
    if work.kind == "attention_decode_grouped":  # queries that share keys are one block
        work.batch = prod(key.shape[:-2])
    if work.kind == "attention_unfused":  # in float32, and the scores go to memory and back twice
        passes = 4 * work.m * work.n * work.batch
        work.reads, work.writes, work.dtype = work.reads + 2 * passes, work.writes + 2 * passes, "float32"


def _interpolation(work: Work, record: OpRecord) -> None:
    """Linear and cubic ones on channels first: a thread for each place of a map walks along all maps."""
    name, out = _name(record), record.out.shape
    if work.layout == LAYOUTS[0] and ("linear" in name or "cubic" in name) and len(out) > 2:
        work.batch = prod(out[:2])


def eager(nodes: Sequence[NodeCost]) -> list[Work]:
    """The kernels of a run of the model's own code, in order."""
    return [as_run(kernel) for kernel in alone(nodes)]


def as_run(kernel: Kernel) -> Work:
    """The work of an eager kernel, which is an operator, or a norm that PyTorch took apart."""
    work = work_of(kernel.operations[0][1], kernel.node)
    if len(kernel.operations) > 1:
        work.kind = "row_norm"
        work.others = sum(op.cost.other_flops for _, op in kernel.operations)
        work.writes = min(kernel.operations[-1][1].cost.bytes_written, kernel.bytes_moved)
        work.reads = kernel.bytes_moved - work.writes
    return work
