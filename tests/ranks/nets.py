"""A small transformer in plain PyTorch, and recipes that shard it by PyTorch's own functions, as users write them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Replicate, Shard
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    PrepareModuleInput,
    RowwiseParallel,
    SequenceParallel,
    parallelize_module,
)

VOCAB, HIDDEN, HEADS, INNER, LAYERS = 1024, 256, 8, 512, 2
BATCH, LENGTH = 2, 64


class Attention(nn.Module):
    """Attention written out, so that the same operators run on every device."""

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.size = hidden // heads
        self.wq, self.wk, self.wv, self.wo = (nn.Linear(hidden, hidden, bias=False) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        b, n, _ = x.shape
        q, k, v = (w(x).view(b, n, -1, self.size).transpose(1, 2) for w in (self.wq, self.wk, self.wv))
        out = torch.softmax(q @ k.transpose(-1, -2) * self.size**-0.5, -1) @ v
        return self.wo(out.transpose(1, 2).reshape(b, n, -1))


class FeedForward(nn.Module):
    def __init__(self, hidden: int, inner: int) -> None:
        super().__init__()
        self.w1, self.w3 = nn.Linear(hidden, inner, bias=False), nn.Linear(hidden, inner, bias=False)
        self.w2 = nn.Linear(inner, hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.w2(nn.functional.silu(self.w1(x)) * self.w3(x))


class Block(nn.Module):
    def __init__(self, hidden: int, heads: int, inner: int) -> None:
        super().__init__()
        self.attention_norm, self.ffn_norm = nn.RMSNorm(hidden), nn.RMSNorm(hidden)
        self.attention, self.feed_forward = Attention(hidden, heads), FeedForward(hidden, inner)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x))
        return x + self.feed_forward(self.ffn_norm(x))


class Net(nn.Module):
    """Tokens (b, s) → logits (b, s, vocabulary)."""

    def __init__(
        self, vocab: int = VOCAB, hidden: int = HIDDEN, heads: int = HEADS, inner: int = INNER, layers: int = LAYERS
    ) -> None:
        super().__init__()
        self.tok_embeddings = nn.Embedding(vocab, hidden)
        self.layers = nn.ModuleList(Block(hidden, heads, inner) for _ in range(layers))
        self.norm, self.output = nn.RMSNorm(hidden), nn.Linear(hidden, vocab, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.tok_embeddings(x)
        for layer in self.layers:
            x = layer(x)
        return self.output(self.norm(x))


def net(**sizes: int) -> Net:
    """The model on meta."""
    with torch.device("meta"):
        return Net(**sizes)


def tensor_parallel(model: nn.Module, mesh: Any, sequence: bool = False) -> None:
    """Megatron's plan for each layer, with DTensor's styles; `sequence` shards the tokens between layers."""
    tokens = Shard(1) if sequence else Replicate()
    plan: dict[str, Any] = {
        "tok_embeddings": RowwiseParallel(input_layouts=Replicate(), output_layouts=tokens),
        "output": ColwiseParallel(input_layouts=tokens, output_layouts=Replicate()),
    }
    parallelize_module(model, mesh, plan | ({"norm": SequenceParallel()} if sequence else {}))
    columns = ("attention.wq", "attention.wk", "attention.wv", "feed_forward.w1", "feed_forward.w3")
    for layer in model.layers:
        plan = {name: ColwiseParallel() for name in columns}
        plan |= {name: RowwiseParallel(output_layouts=tokens) for name in ("attention.wo", "feed_forward.w2")}
        if sequence:
            gather = {"input_layouts": (Shard(1),), "desired_input_layouts": (Replicate(),)}
            plan |= {name: PrepareModuleInput(**gather) for name in ("attention", "feed_forward")}
            plan |= {name: SequenceParallel() for name in ("attention_norm", "ffn_norm")}
        parallelize_module(layer, mesh, plan)


def shard(model: nn.Module, mesh: Any, **options: Any) -> None:
    """FSDP for each layer, and for the rest."""
    for layer in model.layers:
        fully_shard(layer, mesh=mesh, **options)
    fully_shard(model, mesh=mesh, **options)


def both(model: nn.Module, mesh: Any) -> None:
    """Tensor and sequence parallel along "tp", FSDP along "dp"."""
    tensor_parallel(model, mesh["tp"], sequence=True)
    shard(model, mesh["dp"])


RECIPES: dict[str, tuple[dict[str, int], Any]] = {
    "tp": ({"tp": 4}, tensor_parallel),
    "tp+sp": ({"tp": 4}, lambda model, mesh: tensor_parallel(model, mesh, sequence=True)),
    "fsdp": ({"dp": 4}, shard),
    "fsdp, not resharded": ({"dp": 4}, lambda model, mesh: shard(model, mesh, reshard_after_forward=False)),
    "hsdp": ({"replicate": 2, "shard": 2}, shard),
    "fsdp, tp+sp": ({"dp": 2, "tp": 2}, both),
    "ddp": ({"dp": 4}, lambda model, mesh: nn.parallel.DistributedDataParallel(model, init_sync=False)),
}
"""Seven ways to shard over four ranks: a mesh, and a recipe."""
