"""Sorting, selection and search: comparisons of floating-point numbers (those of integers count none).

Models, not kernels: a sort takes n ⌈log₂ n⌉ compares a row, as merge sort at most; medians, modes and k-th values
count as a sort; top-k inserts each element into k sorted ones by bisection.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from ..records.cost import Cost
from ..records.recording import OpRecord
from . import formulas
from .common import argument, arithmetic, rows_and_length
from .registry import OpKey, Rule

aten = torch.ops.aten


def sort(op: OpRecord) -> Cost:
    """Each row along `dim`; without one the whole tensor."""
    return arithmetic(op, *formulas.sort(*_rows(op)))


def _rows(op: OpRecord) -> tuple[int, int]:
    return rows_and_length(op.args[0].shape, argument(op, "dim"))


def sort_and_compare(op: OpRecord) -> Cost:
    """A sort, then n − 1 compares of neighbours (`mode`, `unique`)."""
    rows, n = _rows(op)
    return arithmetic(op, formulas.sort(rows, n)[0] + formulas.total(rows, n)[0])


def unique_slices(op: OpRecord) -> Cost:
    """Sorts the slices along `dim`, comparing them whole, then compares neighbours."""
    x = op.args[0]
    n = x.shape[op.args[1]]
    width = x.numel // max(n, 1)
    return arithmetic(op, width * (formulas.sort(1, n)[0] + formulas.total(1, n)[0]))


def unique_consecutive(op: OpRecord) -> Cost:
    """n − 1 compares of neighbours."""
    return arithmetic(op, formulas.total(1, op.args[0].numel)[0])


def unique_slices_consecutive(op: OpRecord) -> Cost:
    """Compares neighbouring slices along `dim`, whole."""
    x = op.args[0]
    n = x.shape[op.args[1]]
    return arithmetic(op, formulas.total(x.numel // max(n, 1), n)[0])


def topk(op: OpRecord) -> Cost:
    """The k largest (or smallest) of each row along `dim`."""
    rows, n = _rows(op)
    return arithmetic(op, *formulas.topk(rows, n, op.args[1]))


def searchsorted(op: OpRecord) -> Cost:
    """sorted_sequence (*, n), values: a bisection for each value."""
    return arithmetic(op, *formulas.search(op.out.numel, op.args[0].shape[-1]))


def bucketize(op: OpRecord) -> Cost:
    """values, boundaries (n): a bisection for each value."""
    return arithmetic(op, *formulas.search(op.out.numel, op.args[1].shape[-1]))


def isin(op: OpRecord) -> Cost:
    """Sorts the test elements, then a bisection for each element."""
    tests = op.args[1].numel if hasattr(op.args[1], "numel") else 1
    return arithmetic(op, formulas.sort(1, tests)[0] + formulas.search(op.out.numel, tests)[0])


def _rule(function: Callable[[OpRecord], Cost]) -> Rule:
    return Rule("sorting", function)


RULES: Mapping[OpKey, Rule] = {
    aten.sort: _rule(sort),
    aten.argsort: _rule(sort),
    aten.kthvalue: _rule(sort),
    aten.median: _rule(sort),
    aten.nanmedian: _rule(sort),
    aten.mode: _rule(sort_and_compare),
    aten._unique: _rule(sort_and_compare),
    aten._unique2: _rule(sort_and_compare),
    aten.unique_dim: _rule(unique_slices),
    aten.unique_consecutive: _rule(unique_consecutive),
    aten.unique_dim_consecutive: _rule(unique_slices_consecutive),
    aten.topk: _rule(topk),
    aten.searchsorted: _rule(searchsorted),
    aten.bucketize: _rule(bucketize),
    aten.isin: _rule(isin),
}
