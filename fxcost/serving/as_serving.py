"""Generations, bounds and sweeps as text for a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from textwrap import wrap

from ..text import units
from ..text.tables import labelled, tabulated
from .floors import Floors
from .plan import Plan
from .rows import Row

WIDTH = 80
UNKNOWN = (
    "a bound, no estimate: queueing, scheduling, kernels, launches, what devices tell each other and what paging "
    "wastes are not known"
)


def generation_text(gen: Plan) -> str:
    """What a generation keeps and does."""
    return lines([("Model", gen.name), *model_facts(gen), *_work_facts(gen)])


def facts_text(gen: Plan) -> str:
    """What a model keeps, without a device."""
    return lines([("Model", gen.name), *model_facts(gen)])


def lines(facts: list[tuple[str, str]]) -> str:
    """Facts below each other, long ones over several lines."""
    rows: list[tuple[str, str]] = []
    for name, text in facts:
        parts = wrap(text, WIDTH - 13) or [""]
        rows += [(name, parts[0]), *(("", part) for part in parts[1:])]
    return labelled(rows)


def model_facts(gen: Plan) -> Iterator[tuple[str, str]]:
    """Weights and cache."""
    weights, cache = gen.weights, gen.cache
    formats = ", ".join(f"{name} {units.byte_size(size)}" for name, size in weights.by_format.items())
    formats = "" if len(weights.by_format) == 1 and weights.params else f"{formats}; "
    if not formats:
        formats = f"{next(iter(weights.by_format))}; "
    yield "Weights", f"{units.byte_size(weights.stored_bytes)} ({formats}{units.count(weights.params)} parameters)"
    if weights.active_params != weights.params:
        yield "Active", f"{units.count(weights.active_params)} parameters for each token"
    kinds = ", ".join(f"{n} {kind}" for kind, n in cache.kinds.items())
    stored = f", stored as {cache.stored.name}" if cache.stored is not None else ""
    yield "Cache", f"{units.byte_size(cache.bytes_per_token)} a token ({kinds}{stored})"
    if cache.window_bytes or cache.fixed_bytes:
        yield (
            "",
            (
                f"and {units.byte_size(cache.window_bytes)} in windows, {units.byte_size(cache.fixed_bytes)} fixed, "
                "a request"
            ),
        )


def _work_facts(gen: Plan) -> Iterator[tuple[str, str]]:
    work, context = gen.decode_work, gen._last
    macs = work.matmul_macs(1) + work.attention_macs(1, context)
    yield "A token", f"{units.count(macs)} MACs after {context:,}; reads {units.byte_size(gen.weights.read_bytes)}"
    yield "A request", f"{gen.prompt_tokens:,} + {gen.new_tokens:,} tokens, batch {gen.batch:,}"


def bounds_text(bounds: Floors) -> str:
    """What bounds a generation on a device."""
    gen = bounds.generation
    facts = lines([("Model", gen.name), *model_facts(gen)])
    return "\n".join([facts, summary(bounds), *assumed(gen.assumptions)])


def summary(bounds: Floors) -> str:
    """The device, and what bounds the generation there."""
    gen, crossover = bounds.generation, bounds.crossover_batch
    prompt = f"{gen.prompt_tokens:,} tokens"
    facts = [
        ("Device", _device(bounds)),
        ("First token", f"≥ {units.seconds(bounds.ttft_s)} after {prompt} ({bounds.prefill_time.bound})"),
        ("Each token", f"≥ {units.seconds(bounds.tpot_s)} at batch {bounds.batch:,} ({bounds.bound})"),
        ("Tokens/s", f"≤ {bounds.tokens_per_s:,.0f} together, ≤ {bounds.tokens_per_s_per_user:,.1f} for each request"),
        ("Largest", f"batch {bounds.largest_batch:,} of {prompt} + {gen.new_tokens:,}; "
                    f"context {bounds.largest_context:,} at batch {bounds.batch:,}"),
        ("Crossover", "no batch that fits is bound by compute" if crossover is None else f"batch {crossover:,}"),
    ]  # fmt: skip
    return lines(facts)


def _device(bounds: Floors) -> str:
    times = f"{bounds.devices} × " if bounds.devices > 1 else ""
    peaks = dict.fromkeys(bounds.names.values())
    rates = ", ".join(f"{units.rate(bounds.device.highest(name), 'FLOPS')} {name}" for name in peaks)
    clock = f" ({bounds.device.clock:g} × the peak: the highest clock)" if bounds.device.clock != 1 else ""
    return f"{times}{bounds.device.name}: {rates}{clock}, {units.rate(bounds.device.bytes_per_s, 'B/s')}"


def assumed(texts: tuple[str, ...]) -> Iterator[str]:
    """What the numbers take for granted, and what they are not."""
    yield "Assumed"
    for text in (*texts, UNKNOWN):
        lines = wrap(text, WIDTH - 2)
        yield from (f"{'-' if i == 0 else ' '} {line}" for i, line in enumerate(lines))


def sweep_table(rows: Iterable[Row], format: str) -> str:  # noqa: A002
    """The rows, within 80 columns."""
    columns = ["context", "batch", "TTFT ≥", "TPOT ≥", "tok/s ≤", "each ≤", "bound", "cache"]
    return tabulated((_cells(row) for row in rows), columns, "rrrrrrlr", format)


def _cells(row: Row) -> list[str]:
    each = row.tokens_per_s_per_user
    return [
        f"{row.context:,}",
        _short(row.batch),
        units.seconds(row.ttft_s),
        units.seconds(row.tpot_s),
        _short(round(row.tokens_per_s)),
        _short(round(each)) if each >= 10 else f"{each:.1f}",
        row.bound if row.fits else "no room",
        units.byte_size(row.cache_bytes),
    ]


def _short(n: int) -> str:
    """A number in at most eight characters."""
    return f"{n:,}" if n < 10**6 else units.count(n)
