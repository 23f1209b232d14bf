"""Gathers and scatters: traffic of what they touch, and additions where they accumulate.

A gather reads the elements that it picks (an element picked twice is read twice) and its indices. An in-place
scatter reads its source and indices and writes the elements that it names; where it accumulates it also reads them.
A functional scatter copies the whole tensor. A boolean mask as index counts as if all of it were true.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod

import torch

from ..records.cost import Cost
from ..records.recording import OpRecord, TensorSpec, tensor_specs
from . import formulas
from .common import argument, arithmetic, bytes_of, in_place, with_bytes
from .registry import OpKey, Rule

aten = torch.ops.aten


def gather(op: OpRecord) -> Cost:
    """Reads the indices (all tensors after the first) and as many elements of `self` as the result has."""
    picked = op.out.numel * op.args[0].dtype.itemsize
    return with_bytes(op, Cost(), picked + bytes_of(*tensor_specs(op.args[1:])))


def embedding_bag(op: OpRecord) -> Cost:
    """weight (v, d), indices, offsets → (bags, d): the sum, mean or maximum of the rows of each bag.

    Every row but a bag's first is one operation for each of d; the mean divides once more. `per_sample_weights`
    multiply every row. Bags count as not empty.
    """
    weight, indices, offsets = op.args[:3]
    mode, weights = argument(op, "mode", 0), argument(op, "per_sample_weights")
    d, rows, outputs = weight.shape[1], indices.numel, op.out.numel
    flops = max(rows * d - outputs, 0) + (rows * d if weights is not None else 0) + (outputs if mode == 1 else 0)
    read = rows * d * weight.dtype.itemsize + bytes_of(indices, offsets, weights)
    return with_bytes(op, arithmetic(op, flops), read)


def embedding_renorm(op: OpRecord) -> Cost:
    """Rows of the table that are looked up and exceed `max_norm` are scaled, in place; all count as scaled."""
    weight, indices = op.args[:2]
    rows, d = indices.numel, weight.shape[1]
    flops, roots = formulas.vector_norm(rows, d, argument(op, "norm_type", 2))
    touched = rows * d * weight.dtype.itemsize
    return with_bytes(op, arithmetic(op, flops + 3 * rows + rows * d, roots), touched + indices.stored_bytes, touched)


def indexed_elements(shape: Sequence[int], indices: Sequence[TensorSpec | None]) -> int:
    """How many elements `x[indices]` names: broadcast index positions times the dimensions left whole.

    A boolean mask covers as many dimensions as it has and counts as all true.
    """
    positions: list[int] = []
    whole, d = 1, 0
    for index in indices:
        if index is None:
            whole *= shape[d]
            d += 1
        elif index.dtype in (torch.bool, torch.uint8):
            positions = _broadcast(positions, [index.numel])
            d += len(index.shape)
        else:
            positions = _broadcast(positions, list(index.shape))
            d += 1
    return whole * prod(positions) * prod(shape[d:])


def _broadcast(a: list[int], b: list[int]) -> list[int]:
    rank = max(len(a), len(b))
    a, b = [1] * (rank - len(a)) + a, [1] * (rank - len(b)) + b
    return [y if x == 1 else x for x, y in zip(a, b, strict=True)]


def _scatter(op: OpRecord, touched: int, sources: int, flops: int, reads_self: bool) -> Cost:
    """`touched` elements of `self` written, `sources` bytes of indices and values read."""
    cost = arithmetic(op, flops)
    if not in_place(op):
        return with_bytes(op, cost, op.args[0].stored_bytes + sources)
    size = touched * op.args[0].dtype.itemsize
    return with_bytes(op, cost, sources + (size if reads_self else 0), size)


def index_put(op: OpRecord) -> Cost:
    """self[indices] = values, or += with `accumulate`."""
    x, indices, values, accumulate = op.args[:4]
    touched = indexed_elements(x.shape, indices)
    sources = bytes_of(*tensor_specs(indices), values)
    return _scatter(op, touched, sources, touched if accumulate else 0, accumulate)


def masked_index_put(op: OpRecord) -> Cost:
    """_unsafe_masked_index_put_accumulate: self[indices] += values where the mask is true, into a copy."""
    x, mask, indices, values = op.args[:4]
    touched = indexed_elements(x.shape, indices)
    return _scatter(op, touched, bytes_of(mask, *tensor_specs(indices), values), touched, True)


def put(op: OpRecord) -> Cost:
    """As index_put, with `self` seen as one row."""
    _x, index, source, accumulate = op.args[:4]
    return _scatter(op, index.numel, bytes_of(index, source), index.numel if accumulate else 0, accumulate)


def scatter(op: OpRecord) -> Cost:
    """self[index along dim] = src (or a number); with `reduce` one addition or product an element."""
    index, source = op.args[2], argument(op, "src")
    reduces = argument(op, "reduce") is not None
    return _scatter(op, index.numel, _source_bytes(index, source), index.numel if reduces else 0, reduces)


def scatter_add(op: OpRecord) -> Cost:
    """self[index along dim] += src: one addition for each element of the index."""
    index, source = op.args[2:4]
    return _scatter(op, index.numel, _source_bytes(index, source), index.numel, True)


def scatter_reduce(op: OpRecord) -> Cost:
    """One operation for each element of the index; the mean also divides each element of the result."""
    index, source = op.args[2:4]
    flops = index.numel + (op.out.numel if argument(op, "reduce") == "mean" else 0)
    return _scatter(op, index.numel, _source_bytes(index, source), flops, True)


def _source_bytes(index: TensorSpec, source: TensorSpec | None) -> int:
    """The index, and as many elements of the source as it has."""
    return index.stored_bytes + (index.numel * source.dtype.itemsize if source is not None else 0)


def index_add(op: OpRecord) -> Cost:
    """self[index along dim] += alpha · source: an addition an element, a product too if alpha is not one."""
    index, source = op.args[2:4]
    flops = source.numel * (1 + (argument(op, "alpha", 1) != 1))
    return _scatter(op, source.numel, bytes_of(index, source), flops, True)


def index_reduce(op: OpRecord) -> Cost:
    """As scatter_reduce, with whole slices."""
    index, source = op.args[2:4]
    flops = source.numel + (op.out.numel if argument(op, "reduce") == "mean" else 0)
    return _scatter(op, source.numel, bytes_of(index, source), flops, True)


def index_copy(op: OpRecord) -> Cost:
    """self[index along dim] = source."""
    index, source = op.args[2:4]
    return _scatter(op, source.numel, bytes_of(index, source), 0, False)


def index_fill(op: OpRecord) -> Cost:
    """self[index along dim] = a number."""
    x, dim, index = op.args[:3]
    touched = x.numel // max(x.shape[dim], 1) * index.numel if x.shape else 1
    return _scatter(op, touched, bytes_of(*tensor_specs(op.args[2:])), 0, False)


def col2im(op: OpRecord) -> Cost:
    """Sums overlapping blocks: an addition for each element of the columns, those in the padding as well."""
    return arithmetic(op, op.args[0].numel)


def nonzero(op: OpRecord) -> Cost:
    """Where a tensor is not zero: reads it all, writes positions."""
    return Cost()


def _rule(function: Callable[[OpRecord], Cost]) -> Rule:
    return Rule("indexing", function)


def _pick(function: Callable[[OpRecord], Cost]) -> Rule:
    return Rule("indexing", function, "picks elements, no arithmetic")


RULES: Mapping[OpKey, Rule] = {
    aten.embedding: _pick(gather),
    aten.gather: _pick(gather),
    aten.index_select: _pick(gather),
    aten.index: _pick(gather),
    aten._unsafe_index: _pick(gather),
    aten._unsafe_masked_index: _pick(gather),
    aten.take: _pick(gather),
    aten.masked_select: _pick(nonzero),
    aten.nonzero: _pick(nonzero),
    aten.nonzero_static: _pick(nonzero),
    aten.argwhere: _pick(nonzero),
    aten.index_copy: _pick(index_copy),
    aten.index_fill: _pick(index_fill),
    aten._embedding_bag: _rule(embedding_bag),
    aten._embedding_bag_forward_only: _rule(embedding_bag),
    aten.embedding_renorm: _rule(embedding_renorm),
    aten.index_put: _rule(index_put),
    aten._unsafe_index_put: _rule(index_put),
    aten._index_put_impl: _rule(index_put),
    aten._unsafe_masked_index_put_accumulate: _rule(masked_index_put),
    aten.put: _rule(put),
    aten.scatter: _rule(scatter),
    aten.scatter_add: _rule(scatter_add),
    aten.scatter_reduce: _rule(scatter_reduce),
    aten.index_add: _rule(index_add),
    aten.index_reduce: _rule(index_reduce),
    aten.col2im: _rule(col2im),
}
