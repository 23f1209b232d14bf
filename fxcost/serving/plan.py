"""A prompt and the tokens after it as numbers: reports of its steps, its cache, its weights, the work of a step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import pairwise
from typing import Any

import torch

from ..errors import InputError, shown
from ..errors.arguments import checked
from ..records.cost import Cost
from ..report import Report
from ..storage.formats import Format, named
from ..storage.stored import Held, held_weights, row_bytes, stored
from ..text.amounts import parse_bytes
from ..text.units import byte_size
from .caches import CacheLayer
from .own import OwnSteps
from .steps import Steps
from .work import PRIME, Experts, StepWork, work_of

MOST_PIECES = 4096
"""Chunks of contexts between which a sum is cut."""


@dataclass(frozen=True, kw_only=True)
class KVCache:
    """What a model keeps of each request, layer by layer, in the format `stored` ("": as the model makes it)."""

    layers: tuple[CacheLayer, ...]
    stored: Format | None = None

    def bytes(self, *, context: int, batch: int = 1) -> int:
        """Bytes that `batch` requests of `context` tokens each keep."""
        return batch * sum(self._stored(layer, layer.bytes(context)) for layer in self.layers)

    @property
    def bytes_per_token(self) -> int:
        """Bytes that one more token takes once all windows are full."""
        return sum(self._stored(layer, layer.bytes_per_token) for layer in self.layers if not layer.window)

    @property
    def window_bytes(self) -> int:
        """Bytes of one request's full windows."""
        return sum(self._stored(a, a.bytes_per_token * max(a.window - 1, 0)) for a in self.layers if a.window)

    @property
    def fixed_bytes(self) -> int:
        """Bytes of one request that do not grow: states, and an encoder's keys and values."""
        return sum(layer.fixed_bytes for layer in self.layers)

    @property
    def kinds(self) -> dict[str, int]:
        """How many layers there are of each kind: "full", "sliding", "latent", "state", "cross"."""
        found: dict[str, int] = {}
        for layer in self.layers:
            found[layer.kind] = found.get(layer.kind, 0) + 1
        return found

    def _stored(self, layer: CacheLayer, nbytes: int) -> int:
        if self.stored is None or layer.kind == "state":
            return nbytes
        row = layer.shapes[0][-1]
        size: int = getattr(torch, layer.dtype).itemsize
        return -(-nbytes * row_bytes(self.stored, row) // (size * row))


@dataclass(frozen=True, kw_only=True)
class ServedWeights:
    """The weights: parameters, stored bytes by format, bytes read in a step of decoding for one request."""

    params: int
    active_params: int
    stored_bytes: int
    by_format: Mapping[str, int]
    by_parameter: Mapping[str, int]
    read_bytes: int


@checked
class Plan:
    """A prompt and the tokens after it, for `batch` requests at once: reports of steps, cache, weights, work."""

    def __init__(
        self,
        *,
        steps: Steps | OwnSteps,
        prompt: int,
        new_tokens: int,
        batch: int,
        kv: str | None,
        experts: Experts,
        formats: Any,
        source: str = "",
    ) -> None:
        self.prompt_tokens, self.new_tokens, self.batch = prompt, new_tokens, batch
        self.experts = experts
        self._steps, self._formats, self._source = steps, formats, source
        self._kv = None if kv is None else named(kv)
        self._works: dict[tuple[int, int], StepWork] = {}
        self._bare: Report | None = None
        if isinstance(steps, Steps):
            steps.usual = self._last

    # Steps ------------------------------------------------------------------------------------------------------

    def step(self, *, new: int = 1, have: int | None = None, batch: int | None = None, logits: str = "last") -> Report:
        """The report of one step: `new` tokens of each of `batch` requests that have `have` tokens already.

        A chunk of a prompt, a prompt after a cached prefix (`have` its length), the check of guessed tokens
        (`new` = guessed + 1, `logits="all"`).

        Raises:
            InputError: a number is negative, or the model has no room for so many tokens.
        """
        have = self._last if have is None else have
        batch = self.batch if batch is None else batch
        if new < 1 or have < 0 or batch < 1 or logits not in ("last", "all"):
            raise InputError(
                f"step(new={new}, have={have}, batch={batch}, logits={shown(logits)}): give at least one new token of "
                "one request, have ≥ 0, and logits 'last' or 'all'"
            )
        self._check_length(have + new)
        return self._stored(self._steps.step(new, have, batch, logits == "all"))

    @property
    def prefill(self) -> Report:
        """The prompts of all requests of the batch, in one step."""
        return self.step(new=self._first, have=0)

    @property
    def decode(self) -> Report:
        """The last token: one step of decoding with all others before it."""
        return self.step()

    @property
    def _first(self) -> int:
        return 1 if self._is_encoder else self.prompt_tokens

    @property
    def _last(self) -> int:
        return max(self._first + self.new_tokens - 1, 1)

    @property
    def _is_encoder(self) -> bool:
        return isinstance(self._steps, Steps) and self._steps.of.encoder

    def _check_length(self, length: int) -> None:
        limit = self._steps.longest
        if limit is not None and length > limit:
            raise InputError(f"a context of {length:,} tokens is more than the model's {limit:,} positions")

    def _stored(self, report: Report) -> Report:
        held = self.held
        return stored(report, held, self._kv) if held or self._kv is not None else report

    @property
    def total(self) -> Cost:
        """The exact sum over the prompt and all tokens after it (the first comes out of the prompt), for the batch.

        Decoding is affine in the context between the places where windows fill up; there the sum is closed.
        """
        start, stop = self._first, self._first + self.new_tokens - 1
        costs = [self.prefill.cost]
        costs += [self._between(a, b) for a, b in self._pieces(start, stop)]
        return Cost.total(costs)

    def _pieces(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Runs of contexts [a, b) in which all layers grow in one way."""
        knots = {start, stop}
        for layer in self.cache.layers:
            if layer.window:
                knots.add(layer.window - 1)
        chunk = self._steps.chunk
        if chunk and (stop - start) // chunk < MOST_PIECES:
            knots.update(range(chunk * (start // chunk), stop, chunk))
        inside = sorted(k for k in knots if start <= k <= stop)
        return list(pairwise(inside))

    def _between(self, start: int, stop: int) -> Cost:
        """Σ of the steps at contexts start … stop − 1, halved where they do not lie on a line."""
        n = stop - start
        if n <= 2:
            return Cost.total(self.step(have=c).cost for c in range(start, stop))
        first, last = self.step(have=start).cost, self.step(have=stop - 1).cost
        middle = start + n // 3
        if n > 3 and not _on_a_line(first, self.step(have=middle).cost, last, middle - start, n - 1):
            return self._between(start, middle) + self._between(middle, stop)
        return Cost(**{f.name: (getattr(first, f.name) + getattr(last, f.name)) * n // 2 for f in fields(Cost)})

    # Memory -----------------------------------------------------------------------------------------------------

    @cached_property
    def cache(self) -> KVCache:
        """What is kept of each request."""
        return KVCache(layers=self._steps.layers, stored=self._kv)

    def fitting(self, memory: int | str, context: int, reserve: int | str = 0) -> int:
        """How many requests of so many tokens fit into memory beside the weights; 0 if none does.

        Raises:
            InputError: a size can't be read.
        """
        free = parse_bytes(memory) - parse_bytes(reserve) - self.weights.stored_bytes
        each = self.cache.bytes(context=context)
        return max(free // each, 0) if each else 0

    def fitting_text(self, memory: int | str, context: int, reserve: int | str = 0) -> str:
        """The same, in words."""
        limit, weights = parse_bytes(memory) - parse_bytes(reserve), self.weights.stored_bytes
        each, n = self.cache.bytes(context=context), self.fitting(memory, context, reserve)
        parts = f"{byte_size(weights)} of weights, {byte_size(each)} for each request of {context:,} tokens"
        if not n:
            return f"does not fit: {parts}, and there are {byte_size(limit)}"
        return f"largest batch: {n:,}; {parts}: {byte_size(weights + n * each)} of {byte_size(limit)}"

    @cached_property
    def held(self) -> dict[str, Held]:
        """How each weight is stored that is not stored as the model has it."""
        report = self._bare_decode
        formats = self._formats
        if formats is None or formats in ("config", "files"):
            from ..storage.declared import declared_weights

            return declared_weights(report, formats, self._steps.config, self._source)
        return held_weights(report, formats)

    @cached_property
    def weights(self) -> ServedWeights:
        """The weights: how many, how they are stored, what a step of decoding reads of them for one request."""
        report, held = self._bare_decode, self.held
        by_format: dict[str, int] = {}
        by_parameter: dict[str, int] = {}
        for parameter in report.parameters:
            if parameter.is_buffer:
                continue
            one = held.get(parameter.name)
            size = parameter.stored_bytes if one is None else one.stored_bytes
            name = parameter.spec.dtype_name if one is None else one.format
            by_format[name] = by_format.get(name, 0) + size
            by_parameter[parameter.name] = size
        read = self.decode_work.weight_bytes(1, self.experts)
        return ServedWeights(
            params=report.params,
            active_params=report.active_params,
            stored_bytes=sum(by_format.values()),
            by_format=by_format,
            by_parameter=by_parameter,
            read_bytes=round(read),
        )

    @property
    def _bare_decode(self) -> Report:
        """A step of decoding as the model stores it, for the batch by which sizes are told apart."""
        if self._bare is None:
            self._bare = self._steps.step(1, self._last, self._prime, False)
        return self._bare

    @property
    def _prime(self) -> int:
        return PRIME if self._steps.any_batch else 1

    # Bounds -----------------------------------------------------------------------------------------------------

    @property
    def decode_work(self) -> StepWork:
        """What a step of decoding does at least, for any batch and context."""
        return self.work(1, self._last)

    def work(self, new: int, have: int) -> StepWork:
        """What a step of `new` tokens does at least; `have` is the context at which it is analysed.

        Raises:
            InputError: the model has no room for so many tokens.
        """
        self._check_length(have + new)
        if (new, have) not in self._works:
            batch = self._prime if new == 1 else 1
            report = self._bare_decode if (new, have) == (1, self._last) else self._steps.step(new, have, batch, False)
            work = work_of(report, new, have, batch, self.cache.layers, self.held)
            if work.shared_macs * 100 > work.macs * batch:  # rows that a router's values choose: no size has the batch
                alone = self._steps.step(new, have, 1, False)
                work = work_of(alone, new, have, 1, self.cache.layers, self.held)
            self._works[new, have] = self._steps.corrected(work, have, batch)
        return self._works[new, have]

    @property
    def name(self) -> str:
        """What was asked for: the name that was given, or the model's class."""
        return self._source or self._bare_decode.model_type

    @property
    def compute_dtype(self) -> str:
        """The dtype in which most of the multiply-accumulates are done."""
        macs = self._bare_decode.macs_by_dtype
        return max(macs, key=lambda dtype: macs[dtype]) if macs else "float32"

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What the numbers take for granted."""
        told = [*self._steps.notes]
        formats = sorted({h.format for h in self.held.values()})
        if formats:
            told.append(f"{len(self.held):,} weights are stored as {', '.join(formats)}")
        layer = next(iter(self._bare_decode.expert_layers), None)
        if layer is not None:
            told.append(f"each token goes to {layer.chosen} of {layer.experts} experts; spread: {self.experts}")
        return (*told, *self._steps.said)


def _on_a_line(first: Cost, middle: Cost, last: Cost, at: int, of: int) -> bool:
    return all(
        (getattr(last, f.name) - getattr(first, f.name)) * at == (getattr(middle, f.name) - getattr(first, f.name)) * of
        for f in fields(Cost)
    )
