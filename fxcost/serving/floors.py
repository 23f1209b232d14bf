"""What no engine can beat: times and rates of serving on a device, from the least that each step must do.

A step takes at least as long as its matrix products and its attention at the device's peaks, and as its weights and
its cache at the device's bandwidth, each read once; the longer of the two. Activations are left out, because an engine
may keep them on the chip, so this holds for fused engines too. Device n shares all of it evenly.

Not known, and not in it: queueing, scheduling, how good kernels are, launches, what devices tell each other, paging.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from ..errors import InputError
from ..errors.arguments import checked
from ..speed.devices import Device
from .plan import Plan
from .work import StepWork

LARGEST = 1 << 24
"""No larger batch or context is looked for."""
MOST_STEPS = 2048
"""Steps of a generation of which each is timed; of a longer one as many, evenly spread."""


@dataclass(frozen=True, slots=True)
class StepTime:
    """The least time of one step in seconds: of its products, of reading its weights, of reading its cache."""

    compute_s: float
    weights_s: float
    cache_s: float

    @property
    def time_s(self) -> float:
        """The longer of arithmetic and memory."""
        return max(self.compute_s, self.weights_s + self.cache_s)

    @property
    def bound(self) -> str:
        """What takes longest: "compute", "weights" or "cache"."""
        if self.compute_s >= self.weights_s + self.cache_s:
            return "compute"
        return "weights" if self.weights_s >= self.cache_s else "cache"


@checked
@dataclass(frozen=True, kw_only=True, eq=False)
class Floors:
    """Bounds of a generation on `devices` devices: no engine is faster. Times in seconds, rates in tokens a second.

    `peaks` are FLOPS for "matmul" and "attention", `memory` the bytes for weights and caches on all devices together.
    """

    generation: Plan
    device: Device
    devices: int
    peaks: Mapping[str, float]
    names: Mapping[str, str]
    memory: int
    batch: int

    def step_time(self, work: StepWork, have: int, batch: int | None = None) -> StepTime:
        """The least time of a step for `batch` requests that have `have` tokens each."""
        batch = self.batch if batch is None else batch
        gen, bandwidth = self.generation, self.devices * self.device.bytes_per_s
        compute = 2 * work.matmul_macs(batch) / self.peaks["matmul"]
        compute += 2 * work.attention_macs(batch, have) / self.peaks["attention"]
        weights = float(work.weight_bytes(batch, gen.experts)) / bandwidth
        cache = float(work.cache_bytes(batch, have, gen.cache.stored)) / bandwidth
        return StepTime(compute / self.devices, weights, cache)

    @property
    def _prompt(self) -> int:
        return self.generation._first

    @cached_property
    def prefill_time(self) -> StepTime:
        """The prompt of one request, alone."""
        return self.step_time(self.generation.work(self._prompt, 0), 0, 1)

    @property
    def ttft_s(self) -> float:
        """Time to the first token of one request, without waiting for others: its prompt alone."""
        return self.prefill_time.time_s

    def decode_time(self, context: int, batch: int | None = None) -> StepTime:
        """A step of decoding after `context` tokens."""
        return self.step_time(self.generation.decode_work, context, batch)

    @cached_property
    def decode_s(self) -> float:
        """All steps of decoding after the prompt: one less than tokens are generated."""
        steps = self.generation.new_tokens - 1
        taken = range(0, steps, -(-steps // MOST_STEPS)) if steps else range(0)
        times = [self.decode_time(self._prompt + i).time_s for i in taken]
        return sum(times) * steps / len(times) if times else 0.0

    @property
    def tpot_s(self) -> float:
        """Time of each token after the first, for every request of the batch: the mean over the generation."""
        steps = self.generation.new_tokens - 1
        return self.decode_s / steps if steps else self.decode_time(self._prompt).time_s

    @property
    def tokens_per_s(self) -> float:
        """Tokens that all requests together get a second while they decode."""
        return self.batch / self.tpot_s

    @property
    def tokens_per_s_per_user(self) -> float:
        """Tokens that one request gets a second while it decodes."""
        return 1 / self.tpot_s

    @property
    def bound(self) -> str:
        """What bounds decoding half way through: "compute", "weights" or "cache"."""
        return self.decode_time(self._middle).bound

    @property
    def _middle(self) -> int:
        return self._prompt + self.generation.new_tokens // 2

    @property
    def batch_s(self) -> float:
        """From the first prompt to the last token where the batch is served together (static batching)."""
        work = self.generation.work(self._prompt, 0)
        return self.step_time(work, 0).time_s + self.decode_s

    @property
    def offline_tokens_per_s(self) -> float:
        """Tokens a second at best where requests come and go (continuous batching), at the batch that fits half way.

        All arithmetic of a request, or its share of what is read, whatever takes longer.
        """
        gen, new = self.generation, self.generation.new_tokens
        batch = max(self.fitting_batch(self._middle), 1)
        prefill, decode = self.prefill_time, self.decode_time(self._middle, batch)
        compute = prefill.compute_s + new * decode.compute_s / batch
        memory = new * (decode.weights_s + decode.cache_s) / batch
        return gen.new_tokens / max(compute, memory)

    # What fits ---------------------------------------------------------------------------------------------------

    @cached_property
    def free_bytes(self) -> int:
        """Memory that weights leave for caches, on all devices together; below 0 if they do not fit."""
        return self.memory - self.generation.weights.stored_bytes

    def fitting_batch(self, context: int) -> int:
        """The largest number of requests of `context` tokens whose caches fit beside the weights; 0 if none does."""
        if self.free_bytes <= 0:
            return 0
        each = self.generation.cache.bytes(context=context)
        return min(self.free_bytes // each, LARGEST) if each else LARGEST

    def fitting_context(self, batch: int) -> int:
        """The largest context of which `batch` requests fit; 0 if none does. Not beyond the model's positions."""
        cache, limit = self.generation.cache, self.generation._steps.longest or LARGEST
        if self.free_bytes <= 0 or cache.bytes(context=1, batch=batch) > self.free_bytes:
            return 0
        low, high = 1, limit
        while low < high:
            middle = (low + high + 1) // 2
            if cache.bytes(context=middle, batch=batch) <= self.free_bytes:
                low = middle
            else:
                high = middle - 1
        return low

    @property
    def largest_batch(self) -> int:
        """The most requests whose prompts and answers fit into memory."""
        return self.fitting_batch(self._prompt + self.generation.new_tokens)

    @property
    def largest_context(self) -> int:
        """The longest context that fits for this batch."""
        return self.fitting_context(self.batch)

    def crossover(self, context: int) -> int | None:
        """The smallest batch that fits at which a step of decoding is bound by compute; None if there is none."""
        most = self.fitting_batch(context)

        def computes(batch: int) -> bool:
            return self.decode_time(context, batch).bound == "compute"

        if most < 1 or not computes(most):
            return None
        low, high = 1, most
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if computes(middle) else (middle + 1, high)
        return low

    @property
    def crossover_batch(self) -> int | None:
        """As :meth:`crossover`, half way through the generation."""
        return self.crossover(self._middle)

    def speculative(self, guessed: int, acceptance: float) -> float:
        """Tokens a second of one request where `guessed` tokens are checked at once, the guessing itself being free.

        Args:
            guessed: tokens that a draft proposes in each round.
            acceptance: the chance that one of them is taken, the same for each (0 … 1).

        Expected tokens of a round: (1 − α^(guessed + 1)) / (1 − α). Source: Y. Leviathan et al., "Fast inference from
        transformers via speculative decoding", 2023, equation 1.

        Raises:
            InputError: a number is out of its range.
        """
        if guessed < 1 or not 0 <= acceptance <= 1:
            raise InputError(f"speculative({guessed}, {acceptance}): guess at least one token, acceptance from 0 to 1")
        work = self.generation.work(guessed + 1, self._middle)
        time = self.step_time(work, self._middle).time_s
        n = guessed + 1
        expected = n if acceptance == 1 else (1 - acceptance**n) / (1 - acceptance)
        return expected / time
