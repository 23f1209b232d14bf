"""One step of serving, analysed: some new tokens for requests that have some already.

A prompt is a step with nothing before it, decoding one with one new token; a chunk of a prompt, a prompt after a cached
prefix and the check of tokens that were guessed are steps in between. Every report is that of the model's own code.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from fractions import Fraction
from typing import Any

import torch

from ..analyze import analyze
from ..capture.capture import returned
from ..errors import InputError, ModelRunError
from ..model.inputs import InputSpec, parameter_dtype, spec
from ..report import Report
from ..storage.reads import Residents, reads_of
from .attention import registered
from .caches import CacheLayer, described, has_layers, lengthened, strange
from .general import Grown
from .latent import absorb, latent_modules
from .models import Served, cache_in, text_config, without_weights
from .work import ATTENTION, PRIME, StepWork

SHORT = 16
"""Tokens of the prompt whose cache is lengthened."""


class Steps:
    """Analyses a model's steps; what was analysed once is kept.

    Args:
        of: the model, which is this room's own.
        in_place: whether a cache is written in place.
        latents: "auto" (absorbed in decoding where that costs less), or whether they are absorbed.
        source_length: tokens or frames that the encoder of an encoder-decoder reads.
        extra: further keyword inputs of a prompt (an image's pixels).
    """

    def __init__(
        self, of: Served, *, in_place: bool, latents: str | bool = "auto", source_length: int = 0, extra: Any = None
    ) -> None:
        self.of, self.in_place, self.latents = of, in_place, latents
        self.extra = dict(extra or {})
        self.source_length = source_length
        self._latent = latent_modules(of.model) if of.fused else []
        self._reports: dict[tuple[int, int, int, bool], Report] = {}
        self._template: Any = None
        self._grown: Grown | None = None
        self._closed: bool | None = None
        self.usual = 0
        """The context at which decoding is analysed anyway."""

    def step(self, new: int, have: int, batch: int, every: bool = False) -> Report:
        """The report of `new` tokens after `have`, of each of `batch` requests; logits of the last one or `every`.

        Raises:
            ModelRunError: the model can't run such a step.
        """
        key = (new, have, batch, every)
        if key not in self._reports:
            self._reports[key] = self._analysed(new, have, batch, every)
        return self._reports[key]

    @property
    def config(self) -> Any:
        """The model's configuration."""
        return self.of.config

    @property
    def longest(self) -> int | None:
        """Positions that the model has."""
        return self.of.longest

    @property
    def chunk(self) -> int:
        """The size of the chunks that some layers attend within; 0 where there are none."""
        text = text_config(self.of.config)
        if "chunked_attention" not in (getattr(text, "layer_types", None) or ()):
            return 0
        return int(getattr(text, "attention_chunk_size", None) or 0)

    @property
    def head_macs(self) -> int:
        """Multiply-accumulates of one token's logits, where the head is one matrix; else 0."""
        find: Any = getattr(self.of.model, "get_output_embeddings", lambda: None)
        weight = getattr(find(), "weight", None)
        return int(weight.numel()) if isinstance(weight, torch.Tensor) else 0

    @property
    def any_batch(self) -> bool:
        """Whether sizes of requests are told apart by a batch of a large prime: where attention has a closed form.

        That is so where nothing else reads the cache.
        """
        if self._closed is None:
            self._closed = self._is_of_layers and self.of.fused and self._has_closed_form()
        return self._closed

    def _has_closed_form(self) -> bool:
        have = self.usual if self.usual else SHORT
        return _only_attention_reads(self.step(1, have, PRIME), have)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was taken for granted before anything ran."""
        return self.of.notes

    @property
    def said(self) -> tuple[str, ...]:
        """What the analyses assume."""
        texts = (text for report in self._reports.values() for text in report.recording.assumptions)
        return tuple(dict.fromkeys(texts))

    def corrected(self, work: StepWork, have: int, batch: int) -> StepWork:
        """The work with what grows with the context apart, where attention has no closed form: two analyses say it."""
        half = max(have // 2, 1)
        if self.any_batch or not have or half == have:
            return work
        report, less = self.step(work.new, have, batch, False), self.step(work.new, half, batch, False)
        slope = Fraction(report.cost.masked_macs - less.cost.masked_macs, (have - half) * batch)
        grown = sum(layer.bytes_per_token for layer in self.layers if not layer.window)
        return replace(
            work, macs=report.cost.masked_macs // batch - int(slope * have), attends={}, slopes=(slope, Fraction(grown))
        )

    @property
    def layers(self) -> tuple[CacheLayer, ...]:
        """What each layer of the cache keeps for one request."""
        template = self.template
        if self._grown is not None:
            return self._grown.layers
        latent = frozenset(getattr(m, "layer_idx", -1) for m in self._latent)
        return described(template, latent)

    @property
    def template(self) -> Any:
        """The cache of a short prompt of one request."""
        if self._template is None:
            self._template = self._first_prompt()
            if has_layers(self._template) and (kind := strange(self._template)):
                raise InputError(
                    f"{type(self.of.model).__name__} keeps a cache of its own kind ({kind}), of which only the model "
                    "knows how it grows"
                )
            if not has_layers(self._template):
                self._grown = Grown(self._template, self._prompt(SHORT + 8), SHORT, SHORT + 8)
        return self._template

    @property
    def writes_in_place(self) -> bool:
        """Whether new tokens are written into memory that is there: only where the cache is one of layers."""
        return self.in_place and self._is_of_layers

    @property
    def _is_of_layers(self) -> bool:
        assert self.template is not None
        return self._grown is None

    def _first_prompt(self) -> Any:
        """The cache of a short prompt; with an attention of transformers where the model can't do without its mask."""
        try:
            return self._prompt(SHORT)
        except ModelRunError as error:
            if not self.of.fused:
                raise
            failed = error
        for attention in dict.fromkeys((self.of.before, "eager")):
            why = (
                f"{type(self.of.model).__name__} needs masks: its attention is analysed as it is written ({attention})"
            )
            self.of, self._latent = self.of.as_written(attention, why), []
            try:
                return self._prompt(SHORT)
            except ModelRunError:
                continue
        raise failed

    def _prompt(self, length: int) -> Any:
        with registered(0):
            absorb(self.of.model, False)
            inputs = self._inputs(length, 0, 1, None, False)
            found = cache_in(_run_plainly(self.of.model, inputs)) or cache_in(returned(self.of.model, inputs, {}))
        if found is None:
            raise InputError(f"{type(self.of.model).__name__} returns no cache, so there is nothing to decode with")
        return found

    def _analysed(self, new: int, have: int, batch: int, every: bool) -> Report:
        cache = None
        if have or self._is_of_layers:
            cache = (
                lengthened(self.template, have=have, new=new, batch=batch, in_place=self.in_place)
                if self._is_of_layers
                else self._grown.at(have, batch)  # type: ignore[union-attr]
            )
            if not have and not self.in_place:
                cache = None
        with registered(have):
            absorb(self.of.model, self._absorbs(new, have))
            try:
                return analyze(self.of.model, self._inputs(new, have, batch, cache, every), capture="concrete")
            except ModelRunError as error:
                raise ModelRunError(
                    f"{type(self.of.model).__name__} can't run a step of {new:,} tokens after {have:,}: {error}"
                ) from error

    def _absorbs(self, new: int, have: int) -> bool:
        """Whether latents are absorbed in a step: where attending to them costs less than expanding them."""
        if not self._latent or isinstance(self.latents, bool):
            return bool(self._latent) and bool(self.latents)
        m: Any = self._latent[0]
        rank, wide, turned = m.kv_lora_rank, m.qk_nope_head_dim + m.v_head_dim, m.qk_rope_head_dim
        pairs = new * have + new * (new + 1) // 2
        expanded = (have + new) * rank * wide + pairs * (wide + turned)
        absorbed = new * rank * wide + pairs * (2 * rank + turned)
        return bool(absorbed < expanded)

    def _inputs(self, new: int, have: int, batch: int, cache: Any, every: bool) -> dict[str, Any]:
        names = self.of.names
        given: dict[str, Any] = {}
        if self.of.encoder:
            given["decoder_input_ids"] = spec(batch, new, dtype="int64")
            given.update(self._encoder(have, batch))
        else:
            given["input_ids"] = spec(batch, new, dtype="int64")
            if not have:
                given.update(self.extra)
        if cache is not None:
            given[self.of.cache_name] = cache
        if "use_cache" in names:
            given["use_cache"] = True
        if "logits_to_keep" in names and not every:
            given["logits_to_keep"] = 1
        return given

    def _encoder(self, have: int, batch: int) -> dict[str, Any]:
        """What the encoder reads, or, once there are tokens, what it gave."""
        from .encoders import encoder_inputs, encoder_outputs

        if have:
            return encoder_outputs(self.of, batch, self.source_length)
        return encoder_inputs(self.of, batch, self.source_length)


def _only_attention_reads(report: Report, have: int) -> bool:
    """Whether of a cache's keys and values only attention that knows its mask reads any."""
    residents = Residents(report.recording)
    windows = {number for number, spec in residents.states.items() if spec.shape[-2:-1] == (have + 1,)}
    for read in reads_of(report, residents):
        if read.storage in windows and str(report.nodes[read.node].operations[read.operation].record.op) != ATTENTION:
            return False
    return True


def _run_plainly(model: torch.nn.Module, inputs: dict[str, Any]) -> Any:
    """What a model returns on meta without being recorded, which is quicker; None if it needs values for that."""
    given = {name: _plain(value, model) for name, value in inputs.items()}
    for place in (nullcontext(), torch.device("meta")):  # the latter, which slows each call, for code that says none
        try:
            with torch.no_grad(), place:
                return without_weights(model, -1)(**given)
        except Exception:  # the model's own code, which asks for a value; the recorder knows more of them
            continue
    return None


def _plain(value: Any, model: torch.nn.Module) -> Any:
    if not isinstance(value, InputSpec):
        return value.to("meta") if isinstance(value, torch.Tensor) else value
    return torch.empty(value.shape, dtype=value.dtype or parameter_dtype(model, None), device="meta")
