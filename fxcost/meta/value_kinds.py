"""Kinds of operators, for following values: what makes them from nothing, overwrites them, or hangs on them."""

from __future__ import annotations

from typing import Any

import torch

aten = torch.ops.aten


def _packets(names: str) -> frozenset[Any]:
    return frozenset(getattr(aten, n) for n in names.split() if hasattr(aten, n))


VALUE_FREE = _packets("new_zeros new_ones new_full zeros_like ones_like full_like zero_ fill_ zero fill")
OVERWRITING = _packets("zero_ fill_ copy_")
UNDEFINED = _packets(
    "empty empty_like new_empty empty_strided new_empty_strided empty_permuted resize_ rand randn randint normal_ "
    "uniform_ bernoulli bernoulli_ rand_like randn_like randint_like multinomial normal native_dropout exponential_ "
    "randperm log_normal_ cauchy_ geometric_ random_ rrelu_with_noise"
)
EMPTY = _packets("empty empty_like new_empty empty_strided new_empty_strided empty_permuted")
DYNAMIC = _packets(
    "nonzero nonzero_numpy _unique2 _unique unique_dim unique_consecutive bincount masked_select repeat_interleave "
    "unique_dim_consecutive"
)
INDEXING = _packets("index _unsafe_index index_put index_put_ _index_put_impl_ _unsafe_index_put")
CLAMPING = _packets("clamp clamp_min")
SUPPRESSION = frozenset({"torchvision::nms", "torchvision::qnms"})
