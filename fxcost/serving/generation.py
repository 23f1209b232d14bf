"""Text generation with a model: a prompt, then token by token, from the model's own graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ..errors import InputError, shown
from ..errors.arguments import checked
from ..model.inputs import as_float_dtype
from ..records.cost import Cost
from ..report import Report
from .caches import CacheLayer
from .formats import Format, named
from .models import served
from .own import OwnSteps
from .steps import Steps
from .stored import Held, held_weights, stored
from .work import PRIME, Experts, StepWork, touched, work_of

if TYPE_CHECKING:
    from ..speed.devices import Device
    from .bounds import Bounds

Inputs = Callable[[int, int, int], Any]
"""(new, have, batch) → what an own model is called with in such a step, its cache included."""
ATTENTIONS, CACHES = ("fused", "as written"), ("in-place", "as written")
MOST_PIECES = 4096


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
        from .stored import row_bytes

        row = layer.shapes[0][-1]
        size = getattr(torch, layer.dtype).itemsize
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
def generation(
    model: Any,
    *,
    prompt: int = 1024,
    new_tokens: int = 128,
    batch: int = 1,
    weights: Any = None,
    kv: str | None = None,
    attention: str = "fused",
    cache: str = "in-place",
    latents: str = "auto",
    experts: str | int = "uniform",
    dtype: torch.dtype | str | None = None,
    inputs: Inputs | None = None,
    extra: Mapping[str, Any] | None = None,
    arguments: Mapping[str, Any] | None = None,
    longest: int | None = None,
) -> Generation:
    """What it costs to serve a model: a prompt, each further token, the cache, the weights.

    Args:
        model: a causal LM of transformers (or an encoder-decoder, or one that takes images too): the module, or
            "hf:llama", "hf:LlamaForCausalLM", "hf:folder". Nothing is downloaded, no weight is read, and the model is
            left as it is. Or any `nn.Module` of your own, with `inputs`.
        prompt: tokens of a request's prompt (of an encoder-decoder: tokens that the encoder reads).
        new_tokens: tokens that are generated for it.
        batch: requests at once.
        weights: how weights are stored: a format for all matrices ("fp8", "int4:g128", "mxfp4" …), formats by patterns
            of names, "config" (what the model's `quantization_config` says) or "files" (what the headers of the
            safetensors or GGUF files in its folder say). By default "config" where there is one, else as they are.
        kv: how the cache is stored: "fp8" …; by default as the model makes it.
        attention: "fused" (as serving engines run it) or "as written" (as the model's own code does).
        cache: "in-place" (new tokens are written into memory that is there) or "as written".
        latents: latent attention "absorbed" or "expanded", or "auto": what costs less in a step.
        experts: how tokens spread over experts, for the bytes that are read: "uniform", "all", "fewest", or how many.
        dtype: of the weights that are not stored otherwise, and of activations.
        inputs: for a model of your own, a function of (new, have, batch): the arguments of a step, as a dict of keyword
            inputs or as :func:`fxcost.analyze` takes them, its cache among them.
        extra: further keyword inputs of the prompt: `{"pixel_values": fxcost.spec(1, 3, 336, 336)}`.
        arguments: entries of the configuration, for a model given by name.
        longest: the longest context that will be asked for, if that is more than prompt + new_tokens.

    Raises:
        InputError: the model does not generate text, has no room for so many tokens, or an argument is none of these.
        ModelLoadError: there is no such model.
    """
    for name, value, known in (("attention", attention, ATTENTIONS), ("cache", cache, CACHES)):
        if value not in known:
            raise InputError(f"{name}={shown(value)}: choose from {', '.join(known)}")
    if latents not in ("auto", "absorbed", "expanded"):
        raise InputError(f"latents={shown(latents)}: choose from auto, absorbed, expanded")
    for name, number in (("prompt", prompt), ("new_tokens", new_tokens), ("batch", batch)):
        if number < 1:
            raise InputError(f"{name}={number}: there must be at least 1")
    touched(8, 2, 1, experts)
    if kv is not None:
        named(kv)
    wanted = as_float_dtype(dtype) if dtype is not None else None
    fused = attention == "fused"
    steps: Steps | OwnSteps
    if inputs is not None:
        steps = OwnSteps(model, inputs, wanted)
    else:
        needed = new_tokens + 1 if _is_encoder(model) else prompt + new_tokens
        of = served(model, fused=fused, longest=max(needed, longest or 0), dtype=wanted, arguments=arguments)
        how = latents if latents == "auto" else latents == "absorbed"
        steps = Steps(of, in_place=cache == "in-place", latents=how, source_length=prompt, extra=extra)
    return Generation(
        steps=steps, prompt=prompt, new_tokens=new_tokens, batch=batch, kv=kv, experts=experts, formats=weights,
        source=model if isinstance(model, str) else "",
    )  # fmt: skip


def _is_encoder(model: Any) -> bool:
    if isinstance(model, nn.Module):
        return bool(getattr(getattr(model, "config", None), "is_encoder_decoder", False))
    if isinstance(model, str) and model.startswith("hf:"):
        from ..sources.hf import configuration

        return bool(getattr(configuration(model[3:], {})[0], "is_encoder_decoder", False))
    return False


class Generation:
    """A prompt and the tokens after it, for `batch` requests at once. Made by :func:`fxcost.generation`."""

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

    # Steps ------------------------------------------------------------------------------------------------------

    def step(
        self, *, new: int = 1, have: int | None = None, batch: int | None = None, logits: str = "last"
    ) -> Report:
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
        return list(zip(inside, inside[1:], strict=False))

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

    @cached_property
    def held(self) -> dict[str, Held]:
        """How each weight is stored that is not stored as the model has it."""
        report = self._bare_decode
        formats = self._formats
        if formats is None or formats in ("config", "files"):
            from .declared import declared_weights

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
            self._works[new, have] = self._steps.corrected(work, have, batch)
        return self._works[new, have]

    def bounds(self, device: Device | str, devices: int = 1, peak: Any = None, reserve: Any = 0) -> Bounds:
        """What no engine can beat on a device: time to the first token, time of each further one, tokens a second.

        Args:
            device: a :class:`fxcost.Device`, or the name of a known one.
            devices: how many share the work evenly; what they tell each other is not counted.
            peak: the peaks to reckon with: a dtype, or `{"matmul": "float8", "attention": "bfloat16"}`. By default the
                fastest in which an engine could compute with weights stored so.
            reserve: bytes of each device, or text, that are not for weights and caches.

        Raises:
            DeviceError: there is no such device, or it has no such peak.
            InputError: the batch does not fit into memory.
        """
        from .bounds import bounds

        return bounds(self, device, devices, peak, reserve)

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

    def __str__(self) -> str:
        from .as_serving import generation_text

        return generation_text(self)


def _on_a_line(first: Cost, middle: Cost, last: Cost, at: int, of: int) -> bool:
    return all(
        (getattr(last, f.name) - getattr(first, f.name)) * at == (getattr(middle, f.name) - getattr(first, f.name)) * of
        for f in fields(Cost)
    )
