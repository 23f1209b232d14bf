"""Discrete Fourier transforms: 5 n ⌈log₂ n⌉ FLOPs each, half for a real one, whatever library does them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import torch

from ..records.cost import Cost
from ..records.recording import OpRecord
from . import formulas
from .registry import OpKey, Rule

aten = torch.ops.aten


def _complex(shape: Sequence[int], dims: Sequence[int]) -> int:
    """Operations of complex transforms along each of `dims`."""
    return sum(formulas.fft(prod(shape) // max(shape[d], 1), shape[d])[0] for d in dims)


def _scaling(op: OpRecord) -> int:
    """A product for each real number of the result, if the transform is normalized."""
    parts = 2 if op.out.dtype.is_complex else 1
    return parts * op.out.numel if op.args[2] else 0


def c2c(op: OpRecord) -> Cost:
    """Complex to complex along each of `dim`."""
    x, dims = op.args[:2]
    return Cost(other_flops=_complex(x.shape, dims) + _scaling(op))


def r2c(op: OpRecord) -> Cost:
    """Real to complex along the last of `dim`, then complex along the others on what is kept of the spectrum."""
    x, dims = op.args[:2]
    *others, last = (d % len(x.shape) for d in dims)
    n = x.shape[last]
    real = formulas.fft(x.numel // max(n, 1), n, real=True)[0]
    half = [s // 2 + 1 if d == last else s for d, s in enumerate(x.shape)]
    return Cost(other_flops=real + _complex(half, others) + _scaling(op))


def c2r(op: OpRecord) -> Cost:
    """Complex along all of `dim` but the last, then complex to real along that."""
    x, dims = op.args[:2]
    *others, last = (d % len(x.shape) for d in dims)
    n = op.out.shape[last]
    real = formulas.fft(op.out.numel // max(n, 1), n, real=True)[0]
    return Cost(other_flops=_complex(x.shape, others) + real + _scaling(op))


RULES: Mapping[OpKey, Rule] = {
    aten._fft_c2c: Rule("fft", c2c),
    aten._fft_r2c: Rule("fft", r2c),
    aten._fft_c2r: Rule("fft", c2r),
}
