"""Steps of a model of one's own: what it is called with for so many new tokens after so many others is given."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from ..analyze import analyze
from ..errors import InputError
from ..model.inputs import InputSpec
from ..report import Report
from .caches import CacheLayer
from .work import StepWork


class OwnSteps:
    """Analyses steps of a model by a function (new, have, batch) → its inputs.

    The cache is what among the inputs grows with `have`, or is there only after a prompt and is of floating point.
    """

    config: Any = None
    longest: int | None = None
    chunk = 0
    head_macs = 0
    any_batch = False
    notes: tuple[str, ...] = ()

    def __init__(self, model: Any, inputs: Callable[[int, int, int], Any], dtype: torch.dtype | None) -> None:
        self._model, self._inputs, self._dtype = model, inputs, dtype
        self._reports: dict[tuple[int, int, int], Report] = {}

    @property
    def said(self) -> tuple[str, ...]:
        """What the analyses assume."""
        return tuple(dict.fromkeys(text for r in self._reports.values() for text in r.assumptions))

    def step(self, new: int, have: int, batch: int, every: bool) -> Report:
        """The report of a step; which logits are computed is up to the inputs."""
        key = new, have, batch
        if key not in self._reports:
            self._reports[key] = analyze(self._model, self._given(*key), dtype=self._dtype)
        return self._reports[key]

    def _given(self, new: int, have: int, batch: int) -> Any:
        try:
            return self._inputs(new, have, batch)
        except Exception as error:  # the user's own function
            raise InputError(
                f"inputs(new={new}, have={have}, batch={batch}) raised {type(error).__name__}: {error}"
            ) from error

    @property
    def layers(self) -> tuple[CacheLayer, ...]:
        """What is kept of one request, seen at two contexts."""
        one, other = list(_tensors(self._given(1, 16, 1))), list(_tensors(self._given(1, 24, 1)))
        if len(one) != len(other):
            raise InputError("inputs= gives more tensors at one context than at another, so the cache can't be told")
        return tuple(layer for i, pair in enumerate(zip(one, other, strict=True)) for layer in self._layer(i, *pair))

    def _layer(self, i: int, one: Any, other: Any) -> Iterator[CacheLayer]:
        dim = next((d for d, (a, b) in enumerate(zip(one.shape, other.shape, strict=True)) if b - a == 8), None)
        dtype = one.dtype or self._dtype or torch.get_default_dtype()
        if dim is None or not dtype.is_floating_point:
            return
        numel = 1
        for d, n in enumerate(one.shape):
            numel *= 1 if d == dim else n
        shape = tuple(n for d, n in enumerate(one.shape) if d != dim)
        name = str(dtype).removeprefix("torch.")
        yield CacheLayer(index=i, kind="full", shapes=(shape,), dtype=name, bytes_per_token=numel * dtype.itemsize)

    def corrected(self, work: StepWork, have: int, batch: int) -> StepWork:
        """The work with what grows with the context apart: two analyses say it."""
        half = max(have // 2, 1)
        if not have or half == have:
            return work
        report, less = self.step(work.new, have, batch, False), self.step(work.new, half, batch, False)
        slope = Fraction(report.cost.masked_macs - less.cost.masked_macs, (have - half) * batch)
        grown = sum(layer.bytes_per_token for layer in self.layers)
        rest = report.cost.masked_macs // batch - int(slope * have)
        return replace(work, macs=rest, attends={}, slopes=(slope, Fraction(grown)))


def _tensors(value: Any) -> Iterator[Any]:
    """Tensors and specs among inputs, in order, those inside objects too."""
    if isinstance(value, (Tensor, InputSpec)):
        yield value
    elif isinstance(value, (list, tuple)):
        if value and all(type(n) is int for n in value):
            yield InputSpec(tuple(value))
        else:
            for item in value:
                yield from _tensors(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item)
    elif hasattr(value, "__dict__") and not isinstance(value, (type, torch.nn.Module)) and not callable(value):
        for item in vars(value).values():
            yield from _tensors(item)
