"""Will it fit: the largest batch whose peak of memory stays within a limit.

The peak is the maximum of sums each of which grows linearly with the batch (some not at all), so as a function of the
batch it is convex. A line through two measured points therefore never overestimates beyond them: few analyses find the
answer, one at the answer proves that it fits, and the line that the next batch does not.

With a device it is what that reports, allocator and context included. That is not convex, since memory is taken in
segments: the answer is closed in on from both sides.

Not here: what kernels ask for beside their results; leave room for it with `reserve`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from .analyze import analyze
from .errors import InputError
from .errors.arguments import checked
from .memory.optimizers import Optimizer
from .model.inputs import InputSpec, check_nesting, is_shape
from .report import Report
from .speed.devices import Device
from .text.amounts import parse_bytes

LARGEST = 1 << 32
"""No larger batch is tried."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """The largest batch that fits into `limit` bytes: 0 if none does.

    `device` names the one that reports `peak_bytes`, the upper end of what it may; "" if they are storages alone.
    `report` is the analysis at that batch (at batch 1 if none fits), `peak_bytes` its peak; `bytes_per_sample` is what
    one more would add at least. `analyses` is how many were run.
    """

    batch: int
    limit: int
    peak_bytes: int
    bytes_per_sample: int
    analyses: int
    report: Report
    device: str = ""

    @property
    def fits(self) -> bool:
        """True if at least one sample fits."""
        return self.batch > 0

    def __str__(self) -> str:
        from .text.units import byte_size

        limit, peak, more = map(byte_size, (self.limit, self.peak_bytes, self.bytes_per_sample))
        if not self.fits:
            said = f" on {self.device}" if self.device else ""
            return f"does not fit{said}: a batch of 1 needs {peak}, and there are {limit}"
        if self.device:
            return f"largest batch on {self.device}: {self.batch:,}; takes up to {peak} of {limit}, with the context"
        return f"largest batch: {self.batch:,}; needs {peak} of {limit}, one more sample at least {more} more"

    def __repr__(self) -> str:
        return f"<Fit: {self}>"

    def _repr_html_(self) -> str:
        from .text.notebook import preformatted

        return preformatted(str(self))


@checked
def fit(
    model: Any,
    inputs: Any = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    memory: int | str | None = None,
    device: Device | str | None = None,
    training: bool = False,
    optimizer: Optimizer | None = None,
    reserve: int | str = 0,
    **options: Any,
) -> Fit:
    """The largest batch with which a model fits into memory.

    >>> import fxcost, torch
    >>> fxcost.fit(torch.nn.Linear(1000, 1000), (1, 1000), memory="12MB").batch
    999

    Args:
        model: as for :func:`analyze`.
        inputs: as for :func:`analyze`. Every tensor among inputs whose first dimension is as large as that of the first
            tensor is taken to have the batch there.
        kwargs: further keyword inputs.
        memory: the limit: bytes, or text such as "24GiB" or "80GB"; by default all that the device has.
        device: a :class:`fxcost.Device`, or the name of a known one: then what it reports must fit, at the upper end of
            the range of :meth:`fxcost.Report.memory_on`.
        training: whether a training step must fit; else a forward pass, as eager Python holds it where that was seen.
        optimizer: as for :func:`analyze`; giving one implies `training`.
        reserve: bytes, or text, to leave free for what is not counted (CUDA's context, workspaces, fragmentation).
        options: further arguments of :func:`analyze`.

    Raises:
        InputError: a size can't be read, no input has a batch, or the peak does not grow with it.
        FxcostError: as :func:`analyze`.
    """
    limit, where = _limit(memory, device)
    limit -= parse_bytes(reserve)
    training = training or optimizer is not None
    batched = _Batched(inputs, dict(kwargs or {}))

    def measure(batch: int) -> _Point:
        given, named = batched.at(batch)
        report = analyze(model, given, named, training=training, optimizer=optimizer, **options)
        return _Point(batch, peak_of(report) if where is None else report.memory_on(where).high_bytes, report)

    return _search(measure, limit) if where is None else replace(_closed_in(measure, limit), device=where.name)


def _limit(memory: int | str | None, device: Device | str | None) -> tuple[int, Device | None]:
    """The limit in bytes, and the device.

    Raises:
        InputError: neither is given, or it is not known how much memory the device has.
        DeviceError: there is no such device.
    """
    where = None if device is None else Device.named(device)
    if memory is not None:
        return parse_bytes(memory), where
    if where is None:
        raise InputError("there is no limit: give memory='24GiB', or device='rtx4090'")
    if not where.memory_bytes:
        raise InputError(f"how much memory {where.name} has is not known: give memory='24GiB' too")
    return where.memory_bytes, where


def peak_of(report: Report) -> int:
    """The peak that must fit: of the training step if there is one, else of the forward pass, eager if known."""
    if report.training is not None:
        return report.training.peak_bytes
    eager = report.memory.peak_eager_bytes
    return report.memory.peak_bytes if eager is None else eager


@dataclass(frozen=True, slots=True)
class _Point:
    """A batch that was measured."""

    batch: int
    peak: int
    report: Report

    def slope(self, other: _Point) -> int:
        """Bytes per sample between two points, rounded up."""
        return -((other.peak - self.peak) // (self.batch - other.batch))


def _search(measure: Callable[[int], _Point], limit: int) -> Fit:
    """Close in on the largest batch: from below along lines, from above along chords (the peak is convex)."""
    one, two = measure(1), measure(2)
    analyses, per_sample = 2, two.peak - one.peak
    below, low, refused = (one, two, None) if two.peak <= limit else (one, one, two)
    if one.peak > limit:
        low, refused = _Point(0, one.peak, one.report), one
    while refused is None or refused.batch - low.batch > 1:
        if refused is None:
            if per_sample > 0 and low.peak + per_sample > limit:
                break  # the next one needs at least that much
            if low.batch >= LARGEST:
                raise InputError("the peak of memory does not grow with the batch; is the first dimension the batch?")
            ahead = (limit - low.peak) // per_sample if per_sample > 0 else LARGEST
        else:
            ahead = (limit - low.peak) * (refused.batch - low.batch) // (refused.peak - low.peak)
        tried = measure(min(low.batch + max(ahead, 1), LARGEST))
        analyses += 1
        if tried.peak > limit:
            refused = tried
        else:
            below, low = low, tried
            per_sample = max(low.slope(below), per_sample)
    return Fit(
        batch=low.batch,
        limit=limit,
        peak_bytes=low.peak,
        bytes_per_sample=per_sample,
        analyses=analyses,
        report=low.report,
    )


def _closed_in(measure: Callable[[int], _Point], limit: int) -> Fit:
    """A batch that fits, and the next of which does not: doubled, then halved between, along chords in turn."""
    first = tried = measure(1)
    low, refused, analyses = replace(first, batch=0), None, 1
    while refused is None or refused.batch - low.batch > 1:
        if tried.peak > limit:
            refused = tried
        else:
            low = tried
        if refused is None:
            if low.batch >= LARGEST:
                raise InputError("the peak of memory does not grow with the batch; is the first dimension the batch?")
            ahead = low.batch
        elif (between := refused.batch - low.batch) > 1:
            chord = (limit - low.peak) * between // max(refused.peak - low.peak, 1)
            ahead = min(max(chord if analyses % 2 else between // 2, 1), between - 1)
        else:
            break
        tried = measure(low.batch + ahead)
        analyses += 1
    return Fit(
        batch=low.batch,
        limit=limit,
        peak_bytes=low.peak,
        bytes_per_sample=(refused.peak - first.peak) // max(refused.batch - 1, 1),
        analyses=analyses,
        report=low.report,
    )


class _Batched:
    """Inputs that can be had at any batch size."""

    def __init__(self, inputs: Any, kwargs: dict[str, Any]) -> None:
        check_nesting((inputs, kwargs))
        self._inputs, self._kwargs = inputs, kwargs
        if held := [name for name, value in self._kwargs.items() if _holds_tensors(value)]:
            raise InputError(
                f"the input {held[0]!r} holds tensors inside an object, whose batch can't be changed here; for a cache "
                "of a language model, fxcost.generation(…).bounds(device).largest_batch says how many requests fit"
            )
        sizes = [shape[0] for shape in _shapes((inputs, kwargs)) if shape]
        if not sizes:
            raise InputError("no input has a dimension that could be the batch")
        self._batch = sizes[0]

    def at(self, batch: int) -> tuple[Any, dict[str, Any]]:
        """The inputs with another batch."""
        return self._scaled(self._inputs, batch), self._scaled(self._kwargs, batch)

    def _scaled(self, value: Any, batch: int) -> Any:
        if isinstance(value, Tensor):
            return self._tensor(value, batch)
        if isinstance(value, InputSpec):
            return InputSpec(self._shape(value.shape, batch), value.dtype)
        if is_shape(value):
            return self._shape(value, batch)
        if type(value) in (tuple, list):
            return type(value)(self._scaled(v, batch) for v in value)
        if isinstance(value, dict):
            return {k: self._scaled(v, batch) for k, v in value.items()}
        return value

    def _shape(self, shape: tuple[int, ...], batch: int) -> tuple[int, ...]:
        return (batch, *shape[1:]) if shape and shape[0] == self._batch else shape

    def _tensor(self, tensor: Tensor, batch: int) -> Any:
        """Values matter only of integers, whose first sample is repeated."""
        if tensor.is_nested or not tensor.dim() or tensor.shape[0] != self._batch:
            return tensor
        if tensor.is_floating_point() or tensor.is_meta or not tensor.shape[0]:
            made = torch.empty((batch, *tensor.shape[1:]), dtype=tensor.dtype, device="meta")
            return made.requires_grad_() if tensor.requires_grad else made
        return tensor[:1].repeat(batch, *[1] * (tensor.dim() - 1))


def _holds_tensors(value: Any, depth: int = 4) -> bool:
    """True for an object, other than a module or a nest of lists and dicts, with tensors among what it holds."""
    if isinstance(value, (Tensor, InputSpec, torch.nn.Module, type)) or not hasattr(value, "__dict__") or not depth:
        return False
    inside = [v for item in vars(value).values() for v in (item if isinstance(item, (list, tuple)) else [item])]
    return any(isinstance(v, Tensor) or _holds_tensors(v, depth - 1) for v in inside)


def _shapes(value: Any) -> list[tuple[int, ...]]:
    if isinstance(value, (Tensor, InputSpec)):
        return [] if isinstance(value, Tensor) and value.is_nested else [tuple(value.shape)]
    if is_shape(value):
        return [value]
    if isinstance(value, (tuple, list)):
        return [shape for item in value for shape in _shapes(item)]
    if isinstance(value, dict):
        return [shape for item in value.values() for shape in _shapes(item)]
    return []
