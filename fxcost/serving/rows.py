"""Bounds over batches and contexts, as rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from ..errors import InputError, shown
from .floors import Floors
from .work import StepWork


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Bounds at one batch and context. Times in seconds, memory in bytes; `fits` says whether it fits into memory.

    `ttft_s` is the prompt of one request of so many tokens, `tpot_s` one token for each request after them. `bound`
    says what bounds it: "compute", "weights" or "cache".
    """

    batch: int
    context: int
    ttft_s: float
    tpot_s: float
    tokens_per_s: float
    tokens_per_s_per_user: float
    bound: str
    cache_bytes: int
    memory_bytes: int
    fits: bool
    largest_batch: int
    crossover_batch: int | None


def rows_of(bounds: Floors, batches: Iterable[int | str], contexts: Iterable[int] | None) -> tuple[Row, ...]:
    """Bounds over batches and contexts.

    Raises:
        InputError: a number is not above 0.
    """
    gen = bounds.generation
    wanted = list(contexts) if contexts is not None else [bounds._prompt + gen.new_tokens]
    batches = list(batches)
    for number in [*wanted, *(b for b in batches if b != "max")]:
        if not isinstance(number, int) or number < 1:
            raise InputError(f"sweep: {shown(number)} is no batch or context: give numbers above 0, or 'max'")
    prompts = Prompts(bounds, wanted)
    rows = []
    for context in wanted:
        most, crossover = bounds.fitting_batch(context), bounds.crossover(context)
        ttft = prompts.seconds(context)
        for asked in batches:
            batch = most if asked == "max" else int(asked)
            if batch:
                rows.append(_row(bounds, batch, context, ttft, most, crossover))
    return tuple(rows)


def _row(bounds: Floors, batch: int, context: int, ttft: float, most: int, crossover: int | None) -> Row:
    gen = bounds.generation
    time = bounds.decode_time(context, batch)
    held = gen.cache.bytes(context=context, batch=batch)
    return Row(
        batch=batch,
        context=context,
        ttft_s=ttft,
        tpot_s=time.time_s,
        tokens_per_s=batch / time.time_s,
        tokens_per_s_per_user=1 / time.time_s,
        bound=time.bound,
        cache_bytes=held,
        memory_bytes=held + gen.weights.stored_bytes,
        fits=batch <= most,
        largest_batch=most,
        crossover_batch=crossover,
    )


class Prompts:
    """Least times of prompts of many lengths, from few analyses.

    Beside attention, which has a closed form, the products of a prompt grow with its length on a line: two lengths say
    it, and a third is analysed to see that it does. Where it doesn't, each length is analysed.
    """

    def __init__(self, bounds: Floors, lengths: Iterable[int]) -> None:
        self.bounds, gen = bounds, bounds.generation
        self.lengths = sorted(set(lengths))
        self.fixed = gen._is_encoder
        self.line: tuple[int, int, StepWork] | None = None
        if gen._steps.any_batch and len(self.lengths) > 1:
            self.line = self._through_decoding()
        if self.line is None and len(self.lengths) > 3 and gen._steps.any_batch:
            short, middle, long = (self.lengths[i] for i in (0, len(self.lengths) // 2, -1))
            one, other, check = (gen.work(n, 0) for n in (short, long, middle))
            slope, rest = divmod(other.macs - one.macs, long - short)
            if not rest and check.macs == one.macs + slope * (middle - short):
                self.line = one.macs - slope * short, slope, one

    def _through_decoding(self) -> tuple[int, int, StepWork] | None:
        """The line through a step of decoding and the prompt, if it cuts the axis where one token's logits are.

        A prompt is as many steps of decoding, with the logits of one; the slope is a token without its logits.
        """
        gen = self.bounds.generation
        length, head = gen.prompt_tokens, gen._steps.head_macs
        if not head or length < 2:
            return None
        prompt, token = gen.work(length, 0), gen.decode_work
        slope, rest = divmod(prompt.macs - token.macs, length - 1)
        return (head, slope, prompt) if not rest and token.macs - slope == head else None

    def seconds(self, length: int) -> float:
        """The least time of a prompt of so many tokens, alone."""
        gen = self.bounds.generation
        if self.fixed:
            return self.bounds.ttft_s
        if self.line is None:
            return self.bounds.step_time(gen.work(length, 0), 0, 1).time_s
        start, slope, work = self.line
        same = replace(work, new=length, macs=start + slope * length)
        return self.bounds.step_time(same, 0, 1).time_s
