"""What holds of every causal LM, measured: a row for a model type. `python -m tests.serving.laws` runs over all.

No formula of ours is needed for these: a prompt is the sum of its tokens and of its chunks, decoding is affine in the
context, linear in the batch, and the cache is affine in the context.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

import fxcost
from fxcost.serving.generation import Generation

from .small import causal_types, model_of

LENGTH, WINDOW, LAST = 4, 3, 8
LAWS = ("tokens", "chunks", "affine", "batch", "cache", "work")


@dataclass
class Row:
    """What became of a type. `failed` has the laws that do not hold, each with both sides."""

    kind: str
    model: str = ""
    layers: dict[str, int] = field(default_factory=dict)
    closed: bool = False
    failed: dict[str, list[int]] = field(default_factory=dict)
    uncosted: list[str] = field(default_factory=list)
    error: str = ""
    seconds: float = 0.0


def row_of(kind: str) -> Row:
    """Build a type with few layers, or with all of them if that does not run, and try the laws."""
    row, started = Row(kind), time.process_time()
    for layers, window in ((2, WINDOW), (4, None), (None, None)):
        try:
            model = model_of(kind, layers, window)
            row.model = type(model).__name__
            gen = fxcost.generation(model, prompt=LENGTH, new_tokens=LAST - LENGTH + 1, longest=64)
            row.layers, row.closed = gen.cache.kinds, gen._steps.any_batch
            if row.closed or window is None or "sliding" not in row.layers:
                row.uncosted, row.failed = sorted(gen.decode.uncosted), _failed(gen, model)
                row.error = ""
                break
        except Exception as error:  # whatever a model's code makes of it
            row.error = f"{type(error).__name__}: {error}"[:600]
            if "returns no cache" in row.error or "does not generate" in row.error:
                break
    row.seconds = round(time.process_time() - started, 1)
    return row


def _failed(gen: Generation, model: object) -> dict[str, list[int]]:
    """The laws that do not hold."""
    if gen._steps._latent:  # type: ignore[union-attr]  # expanding anew costs more than once: a real difference
        gen = fxcost.generation(model, prompt=LENGTH, new_tokens=LAST - LENGTH + 1, longest=64, latents="absorbed")

    def macs(new: int, have: int, batch: int = 1, logits: str = "last") -> int:
        return gen.step(new=new, have=have, batch=batch, logits=logits).cost.masked_macs

    head = macs(2, LAST, logits="all") - macs(2, LAST)  # 0 where logits of all tokens are made anyway
    slope = (macs(1, 16) - macs(1, LAST)) // (16 - LAST)
    whole, last = macs(LENGTH, 0), macs(1, LENGTH - 1)
    tokens = sum(macs(1, t) for t in range(LENGTH - 1)) + last - (LENGTH - 1) * head
    chunks = macs(LENGTH - 1, 0) + last - head
    square = slope if whole != tokens else 0  # attention as it is written fills the whole square
    work = gen.decode_work
    sides: dict[str, Callable[[], tuple[int, int]]] = {
        "tokens": lambda: (whole, tokens + square * LENGTH * (LENGTH - 1) // 2),
        "chunks": lambda: (whole, chunks + square * (LENGTH - 1)),
        "affine": lambda: (macs(1, 12) - macs(1, LAST), macs(1, 16) - macs(1, 12)),
        "batch": lambda: (macs(1, LAST, 3) - macs(1, LAST, 2), macs(1, LAST, 2) - macs(1, LAST, 1)),
        "cache": lambda: (_grown(gen, 8), _grown(gen, 12)),
        "work": lambda: (work.matmul_macs(2) + work.attention_macs(2, LAST), macs(1, LAST, 2)),
    }
    found = {name: side() for name, side in sides.items()}
    return {name: [a, b] for name, (a, b) in found.items() if a != b}


def _grown(gen: Generation, context: int) -> int:
    return gen.cache.bytes(context=context + 4) - gen.cache.bytes(context=context)


def main() -> None:
    """A line of JSON for each type."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kinds", nargs="*", help="model types; all by default")
    warnings.simplefilter("ignore")
    for kind in parser.parse_args().kinds or causal_types():
        print(json.dumps(asdict(row_of(kind))), flush=True)
        print(kind, file=sys.stderr)


if __name__ == "__main__":
    main()
