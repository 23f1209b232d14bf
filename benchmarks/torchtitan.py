"""torchtitan's published memory of Llama-3 8B beside what one rank is said to need: `python benchmarks/torchtitan.py`.

Published in torchtitan's docs/performance.md of December 2024: FSDP2 on 8 and 128 H100s, batch 2, 8,192 tokens, in
bfloat16 with reduction in float32, selective recomputation (every second matrix product is saved), AdamW. They print
memory that the allocator has reserved, eager and compiled; ours is what storages take (the peak), and what the
simulated allocator reserves for two steps, the optimizer's own included (`memory_on("h100")`).
"""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

import fxcost

VOCAB, HIDDEN, LAYERS, HEADS, KEYS, INNER = 128256, 4096, 32, 32, 8, 14336
PUBLISHED = {8: (82.4, 77.0), 128: (67.0, 62.0)}
"""Ranks → GiB reserved, eager and compiled."""


def saving() -> Any:
    """torchtitan's policy: attention, reductions and every second product are saved."""
    counts = {True: 0, False: 0}

    def policy(context: Any, op: Any, *_: Any, **__: Any) -> CheckpointPolicy:
        product = op is torch.ops.aten.mm.default
        counts[context.is_recompute] += product
        kept = product or "scaled_dot_product" in str(op) or "reduce_scatter" in str(op)
        again = product and counts[context.is_recompute] % 2 == 0
        return CheckpointPolicy.MUST_SAVE if kept and not again else CheckpointPolicy.PREFER_RECOMPUTE

    return create_selective_checkpoint_contexts(policy)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        size = HIDDEN // HEADS
        self.wq, self.wo = nn.Linear(HIDDEN, HIDDEN, bias=False), nn.Linear(HIDDEN, HIDDEN, bias=False)
        self.wk, self.wv = nn.Linear(HIDDEN, KEYS * size, bias=False), nn.Linear(HIDDEN, KEYS * size, bias=False)

    def forward(self, x: Tensor, turns: Tensor) -> Tensor:
        b, n, _ = x.shape
        q, k, v = (w(x).view(b, n, -1, HIDDEN // HEADS) for w in (self.wq, self.wk, self.wv))
        q, k = (self.turned(t, turns) for t in (q, k))
        k, v = (t.repeat_interleave(HEADS // KEYS, 2, output_size=HEADS) for t in (k, v))
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.wo(out.transpose(1, 2).reshape(b, n, -1))

    def turned(self, x: Tensor, turns: Tensor) -> Tensor:
        pairs = torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2))
        return torch.view_as_real(pairs * turns[: x.shape[1], None]).flatten(3).type_as(x)


class FeedForward(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w1, self.w3 = nn.Linear(HIDDEN, INNER, bias=False), nn.Linear(HIDDEN, INNER, bias=False)
        self.w2 = nn.Linear(INNER, HIDDEN, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.w2(F.silu(self.w1(x)) * self.w3(x))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention_norm, self.ffn_norm = nn.RMSNorm(HIDDEN), nn.RMSNorm(HIDDEN)
        self.attention, self.feed_forward = Attention(), FeedForward()

    def forward(self, x: Tensor, turns: Tensor) -> Tensor:
        return checkpoint(self.body, x, turns, use_reentrant=False, context_fn=saving)

    def body(self, x: Tensor, turns: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x), turns)
        return x + self.feed_forward(self.ffn_norm(x))


class Llama(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tok_embeddings = nn.Embedding(VOCAB, HIDDEN)
        self.layers = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm, self.output = nn.RMSNorm(HIDDEN), nn.Linear(HIDDEN, VOCAB, bias=False)
        turns = torch.empty(131072, HIDDEN // HEADS // 2, dtype=torch.complex64)
        self.register_buffer("turns", turns, persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.tok_embeddings(tokens)
        for layer in self.layers:
            x = layer(x, self.turns)
        return self.output(self.norm(x))


def loss(out: Tensor) -> Tensor:
    """Cross entropy in float32, as there."""
    return F.cross_entropy(out.flatten(0, 1).float(), torch.zeros(out.shape[0] * out.shape[1], dtype=torch.int64))


def main() -> None:
    """Print a line for each number of ranks."""
    with torch.device("meta"):
        model = Llama()
    shard = fxcost.parallel.fully_shard("dp", param_dtype="bfloat16", reduce_dtype="float32")
    for ranks, (eager, compiled) in PUBLISHED.items():
        start = time.process_time()
        tokens = fxcost.spec(2, 8192, dtype="int64")
        report = fxcost.analyze(model, tokens, training=True, loss=loss, mesh={"dp": ranks}, parallelize=shard)
        assert report.training is not None
        peak = report.training.peak_bytes / 2**30
        took = time.process_time() - start
        on_device = report.memory_on("h100")
        reserved, pieces = (n / 2**30 for n in (on_device.reserved_bytes, on_device.reserved_expandable_bytes))
        print(f"8B, FSDP on {ranks:3} ranks: storages {peak:.1f} GiB; reserved {reserved:.1f}, expandable {pieces:.1f}")
        for what, published in (("eager", eager), ("compiled", compiled)):
            shares = ", ".join(f"{n / published:.2f}" for n in (peak, reserved, pieces))
            print(f"  of {published} GiB published, {what}: {shares}")
        print(f"  {took:.1f} s of processor time to analyse", flush=True)


if __name__ == "__main__":
    main()
