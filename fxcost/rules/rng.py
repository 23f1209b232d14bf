"""Random numbers. Drawing them is integer work of the generator and counts no FLOPs; results are written.

Dropout in training multiplies each element by its mask and by the scale 1 / (1 − p): two operations.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from ..records.cost import Cost
from ..records.recording import OpRecord
from . import formulas
from .common import argument, arithmetic, in_place, optional
from .movement import make, overwrite
from .registry import OpKey, Rule

aten = torch.ops.aten


def draw(op: OpRecord) -> Cost:
    """Reads the distributions' parameters where these are tensors; a destination in place is not read."""
    return overwrite(op) if in_place(op) else Cost()


def dropout(op: OpRecord) -> Cost:
    """input · mask · scale in training; a copy otherwise. Writes the result and the mask."""
    training = argument(op, "train", True)
    return arithmetic(op, 2 * op.args[0].numel if training or training is None else 0)


def masked_scale(op: OpRecord) -> Cost:
    """input · mask · scale."""
    return arithmetic(op, 2 * op.out.numel)


def randomized_relu(op: OpRecord) -> Cost:
    """x if x ≥ 0 else slope · x: a compare and a product."""
    return arithmetic(op, 2 * op.out.numel)


def multinomial(op: OpRecord) -> Cost:
    """Cumulative sum and normalization of each row, then bisection for each sample."""
    weights, samples = op.args[:2]
    n = weights.shape[-1]
    rows = weights.numel // max(n, 1)
    sums, searches = formulas.total(rows, n)[0], formulas.search(rows * samples, n)[0]
    return arithmetic(op, sums + rows * n + searches)


_DRAW = Rule("random", draw, "drawing random numbers is not counted")
_MAKE = Rule("random", make, "drawing random numbers is not counted")

RULES: Mapping[OpKey, Rule] = {
    aten.rand: _MAKE,
    aten.randn: _MAKE,
    aten.randint: _MAKE,
    aten.randperm: _MAKE,
    aten.rand_like: _MAKE,
    aten.randn_like: _MAKE,
    aten.randint_like: _MAKE,
    aten.bernoulli: _DRAW,
    aten.binomial: _DRAW,
    aten.cauchy: _DRAW,
    aten.exponential: _DRAW,
    aten.geometric: _DRAW,
    aten.log_normal: _DRAW,
    aten.normal: _DRAW,
    aten.normal_functional: _DRAW,
    aten.poisson: _DRAW,
    aten.random: _DRAW,
    aten.uniform: _DRAW,
    aten._sample_dirichlet: _DRAW,
    aten._standard_gamma: _DRAW,
    **optional("_philox_normal", _DRAW),
    **optional("_philox_uniform", _DRAW),
    aten.native_dropout: Rule("random", dropout),
    aten._fused_dropout: Rule("random", dropout),
    aten._masked_scale: Rule("random", masked_scale),
    aten.rrelu_with_noise: Rule("random", randomized_relu),
    aten.rrelu_with_noise_functional: Rule("random", randomized_relu),
    aten.multinomial: Rule("random", multinomial),
}
