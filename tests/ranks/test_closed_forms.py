"""What the literature and arithmetic say of each parallelism, as equalities: no tolerance anywhere."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import pytest
import torch
from torch import nn
from torch.distributed.fsdp import MixedPrecisionPolicy
from torch.utils.checkpoint import checkpoint

import fxcost
from fxcost.communication.communication import Communication
from fxcost.report import Report
from tests.ranks.nets import BATCH as B
from tests.ranks.nets import HIDDEN as H
from tests.ranks.nets import INNER as F
from tests.ranks.nets import LAYERS as L
from tests.ranks.nets import LENGTH as S
from tests.ranks.nets import VOCAB as V
from tests.ranks.nets import both, net, shard, tensor_parallel

TOKENS = fxcost.spec(B, S, dtype="int64")
BLOCK = 4 * H * H + 3 * H * F
ROOT = 4 * (2 * V * H + H)
"""Bytes of the parameters that are in no layer."""
P = ROOT + 4 * L * (BLOCK + 2 * H)
"""Bytes of all parameters."""
FORWARD = B * S * (L * BLOCK + V * H) + L * 2 * B * S * S * H
TOKEN_BYTES = B * S * H * 4
"""Of the activations between two layers."""


def step(mesh: dict[str, int], recipe: Any, rank: int = 0) -> Report:
    return fxcost.analyze(net(), TOKENS, training=True, mesh=mesh, parallelize=recipe, rank=rank)


@cache
def one_device() -> Report:
    return fxcost.analyze(net(), TOKENS, training=True)


def sums(communication: Communication) -> dict[tuple[str, str], tuple[int, int]]:
    """Number and payload of the collectives by phase and kind."""
    found: dict[tuple[str, str], tuple[int, int]] = {}
    for c in communication.collectives:
        n, payload = found.get((c.phase, c.kind), (0, 0))
        found[c.phase, c.kind] = n + 1, payload + c.payload_bytes
    return found


def macs(report: Report) -> tuple[int, int]:
    assert report.training is not None
    return report.training.forward.macs, report.training.backward.macs


def traffic(report: Report) -> Communication:
    assert report.training is not None
    return report.training.communication


def test_the_model_is_what_the_formulas_say() -> None:
    """The model on one device: parameters, forward, and a backward pass that costs twice as much."""
    report = one_device()
    assert report.param_bytes == P
    assert macs(report) == (FORWARD, 2 * FORWARD)
    assert report.rank is None
    assert report.redundancy == 1.0
    assert report.communication.collectives == ()


def test_tensor_parallel() -> None:
    """Megatron's two all-reduces a layer in the forward pass; one for each column-wise layer in the backward pass.

    Shoeybi et al., "Megatron-LM", 2019, has two in the backward pass as well: DTensor's plan reduces for each of q, k,
    v, w1 and w3.
    """
    report = step({"tp": 8}, tensor_parallel)
    assert tuple(8 * n for n in macs(report)) == macs(one_device())
    found = sums(traffic(report))
    assert found["forward", "all_reduce"] == (2 * L + 1, (2 * L + 1) * TOKEN_BYTES)
    assert found["backward", "all_reduce"] == (5 * L + 1, (5 * L + 1) * TOKEN_BYTES)
    assert found["forward", "all_gather"] == (1, B * S * V * 4)
    assert set(found) == {("forward", "all_reduce"), ("backward", "all_reduce"), ("forward", "all_gather")}
    reduced = [c for c in traffic(report).collectives if c.kind == "all_reduce"]
    assert all(c.sent_bytes == c.received_bytes == 2 * TOKEN_BYTES * 7 // 8 for c in reduced)
    assert all(c.mesh_dim == "tp" and c.ranks == tuple(range(8)) and c.blocking for c in reduced)


def test_sequence_parallel() -> None:
    """Each all-reduce is a reduce-scatter and an all-gather, which send the same; less is held.

    Korthikanti et al., "Reducing Activation Recomputation in Large Transformer Models", 2022.
    """
    plain = step({"tp": 8}, tensor_parallel)
    report = step({"tp": 8}, lambda model, mesh: tensor_parallel(model, mesh, sequence=True))
    assert tuple(8 * n for n in macs(report)) == macs(one_device())
    found = sums(traffic(report))
    layers = 2 * L + 1
    assert found["forward", "reduce_scatter"] == (layers, layers * TOKEN_BYTES)
    assert found["forward", "all_gather"] == (layers + 1, layers * TOKEN_BYTES + B * S * V * 4)
    assert found["backward", "reduce_scatter"] == found["backward", "all_gather"] == (layers, layers * TOKEN_BYTES)
    assert plain.training is not None
    assert report.training is not None
    assert report.training.saved_bytes < plain.training.saved_bytes


@pytest.mark.parametrize("n", [2, 8, 64])
def test_fully_sharded(n: int) -> None:
    """Parameters are gathered twice (the root's once), gradients reduced once, and a rank keeps the n-th part of both.

    Zhao et al., "PyTorch FSDP", 2023; Rajbhandari et al., "ZeRO", 2020: 3 times the parameters are sent.
    """
    report = step({"dp": n}, shard)
    assert report.training is not None
    assert macs(report) == macs(one_device())
    assert report.param_bytes == report.training.gradient_bytes == P // n
    assert report.training.optimizer_bytes == 2 * P // n
    assert report.unsharded_params * 4 == P
    assert report.redundancy == 1.0
    assert sums(traffic(report)) == {
        ("forward", "all_gather"): (L + 1, P),
        ("backward", "all_gather"): (L, P - ROOT),
        ("backward", "reduce_scatter"): (L + 1, P),
    }
    sent = traffic(report).by_phase()
    assert sent["forward"].sent_bytes == P * (n - 1) // n
    assert sent["backward"].sent_bytes == (2 * P - ROOT) * (n - 1) // n
    assert not any(c.blocking for c in traffic(report).collectives)


def test_fully_sharded_saves_what_one_device_saves() -> None:
    """Gathered parameters are no activations; the peak names them."""
    report, whole = step({"dp": 8}, shard).training, one_device().training
    assert report is not None
    assert whole is not None
    assert report.saved_bytes == whole.saved_bytes
    assert report.peak_parts["gathered parameters"] > 0
    assert "gathered parameters" not in whole.peak_parts


def test_collectives_stand_where_they_are_for() -> None:
    """FSDP's collectives belong to the block that is gathered or reduced; what tensor parallel reduces to its layer."""
    modules = traffic(step({"dp": 8}, shard)).by_module()
    layer = 4 * (BLOCK + 2 * H)
    assert {name: t.payload_bytes for name, t in modules.items()} == {
        "": 3 * P - ROOT,
        "layers": 3 * (P - ROOT),
        **{f"layers.{i}": 3 * layer for i in range(L)},
    }
    split = step({"tp": 8}, tensor_parallel).communication
    assert [c.module for c in split.collectives] == [
        "tok_embeddings",
        *(f"layers.{i}.{name}" for i in range(L) for name in ("attention.wo", "feed_forward.w2")),
        "output",
    ]


def test_mixed_precision() -> None:
    """Gathered in half the bytes, reduced in all of them."""
    policy = MixedPrecisionPolicy(
        param_dtype=fxcost.spec(1, dtype="bfloat16").dtype, reduce_dtype=TOKENS.dtype and None
    )
    report = step({"dp": 8}, lambda model, mesh: shard(model, mesh, mp_policy=policy))
    found = sums(traffic(report))
    assert found["forward", "all_gather"] == (L + 1, P // 2)
    recipe = fxcost.parallel.fully_shard(param_dtype="bfloat16", reduce_dtype="float32")
    mixed = sums(traffic(step({"dp": 8}, recipe)))
    assert mixed["forward", "all_gather"] == (L + 1, P // 2)
    assert mixed["backward", "reduce_scatter"] == (L + 1, P)


def test_accumulation_sends_no_gradients() -> None:
    """Without synchronisation parameters are gathered, and gradients stay whole on every rank."""
    report = step({"dp": 8}, fxcost.parallel.fully_shard(sync=False))
    assert report.training is not None
    assert {kind for _, kind in sums(traffic(report))} == {"all_gather"}


def test_hybrid_sharded() -> None:
    """As FSDP within a group, and an all-reduce of the shards between groups."""
    report = step({"copies": 2, "dp": 8}, shard)
    by_dim = traffic(report).by_mesh_dim()
    found = sums(traffic(report))
    assert found["backward", "all_reduce"] == (L + 1, P // 8)
    assert found["backward", "reduce_scatter"] == (L + 1, P)
    assert by_dim["copies"].payload_bytes == P // 8
    assert report.redundancy == 2.0
    ready = step({"copies": 2, "dp": 8}, fxcost.parallel.fully_shard("dp", replicate="copies"))
    assert sums(traffic(ready)) == found


@pytest.mark.parametrize("recipe", [fxcost.parallel.ddp(), fxcost.parallel.replicate()], ids=repr)
def test_replicated(recipe: Any) -> None:
    """Every gradient is reduced once, and nothing else is sent: 2·P·(n−1)/n."""
    report = step({"dp": 8}, recipe)
    communication = traffic(report)
    assert macs(report) == macs(one_device())
    assert {c.kind for c in communication.collectives} == {"all_reduce"}
    assert communication.payload_bytes == P
    assert communication.sent_bytes == 2 * P * 7 // 8
    assert report.redundancy == 8.0
    assert not any(c.blocking for c in communication.collectives)


def test_buckets() -> None:
    """DDP reduces in buckets, which hold one more copy of the gradients, unless gradients are views of them."""
    parameters = one_device().param_bytes
    peaks = []
    for views in (False, True):
        recipe = fxcost.parallel.ddp(gradient_as_bucket_view=views, bucket_cap_mb=1)
        report = step({"dp": 8}, recipe)
        assert report.training is not None
        assert len(traffic(report).collectives) > 1
        peaks.append(report.training.peak_bytes)
    assert 0 < peaks[0] - peaks[1] <= parameters


def test_recomputation_communicates_again() -> None:
    """With checkpointing a layer's collectives run a second time, and are told from those of its gradients.

    All but the last one, whose result nothing in the layer needs: PyTorch stops before it.
    """

    def recipe(model: nn.Module, mesh: Any) -> None:
        tensor_parallel(model, mesh)
        for layer in model.layers:
            layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)

    found = sums(traffic(step({"tp": 8}, recipe)))
    assert found["recomputed", "all_reduce"] == (L, L * TOKEN_BYTES)
    assert found["backward", "all_reduce"] == (5 * L + 1, (5 * L + 1) * TOKEN_BYTES)
    assert found["forward", "all_reduce"] == (2 * L + 1, (2 * L + 1) * TOKEN_BYTES)


def test_two_dimensions() -> None:
    """Tensor parallel within, FSDP between: each sends what it would send of its part."""
    report = step({"dp": 8, "tp": 8}, both)
    assert tuple(8 * n for n in macs(report)) == macs(one_device())
    by_dim = {dim: t.count for dim, t in traffic(report).by_mesh_dim().items()}
    assert by_dim["dp"] == 3 * L + 2
    within = sums(Communication(collectives=tuple(c for c in traffic(report).collectives if c.mesh_dim == "dp")))
    assert within["forward", "all_gather"][1] == report.param_bytes * 8
    assert report.rank is not None
    assert (report.rank.world_size, report.rank.place) == (64, {"dp": 0, "tp": 0})


def test_three_dimensions() -> None:
    """Tensor parallel, in it shards, and copies of these: each dimension sends what it would of its part."""
    columns = ("attention.wq", "attention.wk", "attention.wv", "feed_forward.w1", "feed_forward.w3")
    plan = {f"layers.*.{name}": "colwise" for name in columns}
    plan |= {f"layers.*.{name}": "rowwise" for name in ("attention.wo", "feed_forward.w2")}
    recipe = fxcost.parallel.together(
        fxcost.parallel.fully_shard("dp", replicate="copies"), fxcost.parallel.tensor_parallel("tp", plan)
    )
    report = step({"copies": 2, "dp": 2, "tp": 2}, recipe)
    split, whole = 4 * L * BLOCK, P - 4 * L * BLOCK
    by_dim = traffic(report).by_mesh_dim()
    assert report.param_bytes == (split // 2 + whole) // 2
    assert by_dim["copies"].payload_bytes == report.param_bytes
    assert by_dim["dp"].payload_bytes == 3 * (split // 2 + whole) - ROOT
    assert by_dim["tp"].payload_bytes == (2 * L + 5 * L) * TOKEN_BYTES
    assert report.macs == B * S * (L * BLOCK // 2 + V * H) + L * 2 * B * S * S * H // 2


def test_work_that_all_ranks_do() -> None:
    """What a plan leaves whole every rank does: 8 times in all; what it splits is done once."""
    plan = {"layers.*.feed_forward.w1": "colwise", "layers.*.feed_forward.w3": "colwise"}
    plan["layers.*.feed_forward.w2"] = "rowwise"
    both = fxcost.parallel.together(fxcost.parallel.tensor_parallel("tp", plan), fxcost.parallel.fully_shard("dp"))
    report = step({"dp": 2, "tp": 8}, both)
    found = report.repeated(one_device(), over="tp")
    split = B * S * L * 3 * H * F
    assert found.macs == (split + 8 * (FORWARD - split)) / FORWARD
    names = ("attention", "attention.wq", "attention.wk", "attention.wv", "attention.wo")
    assert dict(found.modules) == dict.fromkeys((*(f"layers.{i}.{n}" for i in range(L) for n in names), "output"), 8.0)
    assert report.repeated(one_device()).macs == 2 * found.macs
    with pytest.raises(fxcost.ShardingError, match="no dimension 'pp'"):
        report.repeated(one_device(), over="pp")
    with pytest.raises(fxcost.ShardingError, match="for the report of one rank"):
        one_device().repeated(report)


def test_uneven_shards() -> None:
    """256 rows over 1,024 ranks: FSDP pads, so that more is sent than there is, and most ranks hold next to nothing."""
    first, last = (step({"dp": 1024}, shard, rank) for rank in (0, 1023))
    padded = 4 * sum(1024 * (p.numel() // p.shape[0]) * -(-p.shape[0] // 1024) for p in net().parameters())
    assert padded > 2 * P
    for report in (first, last):
        assert sums(traffic(report))["forward", "all_gather"] == (L + 1, padded)
    held = [sum(p.numel() // p.shape[0] for p in net().parameters() if p.shape[0] > r) for r in (0, 1023)]
    assert [first.params, last.params] == held


def test_ranks_add_up() -> None:
    """The parts that ranks compute of a layer that does not divide evenly are the whole."""

    def split(model: nn.Module, mesh: Any) -> None:
        fxcost.parallel.tensor_parallel("tp", {"0": "colwise_gathered"})(model, mesh)

    model, inputs = nn.Sequential(nn.Linear(16, 10)), (4, 16)
    parts = [fxcost.analyze(model, inputs, mesh={"tp": 4}, parallelize=split, rank=r) for r in range(4)]
    assert [part.params for part in parts] == [51, 51, 51, 17]
    assert sum(part.macs for part in parts) == fxcost.analyze(model, inputs).macs


def test_the_worst_rank() -> None:
    """Of ranks that differ the one with the highest peak is taken, and the report says which were looked at."""
    model, inputs = nn.Sequential(nn.Linear(16, 10, bias=False)), (4, 16)
    split = fxcost.parallel.tensor_parallel("tp", {"0": "colwise"})
    report = fxcost.analyze(model, inputs, mesh={"tp": 4}, parallelize=split, rank="worst")
    assert report.rank is not None
    assert report.rank.rank == 0
    assert any("ranks 0, 3, the corners" in text for text in report.assumptions)


class RingAttention(nn.Module):
    """Attention by the function that context parallel takes over."""

    def __init__(self, hidden: int = 64) -> None:
        super().__init__()
        self.qkv = nn.Linear(hidden, 3 * hidden, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (t.unflatten(-1, (4, -1)).transpose(1, 2) for t in self.qkv(x).chunk(3, -1))
        out = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return out.transpose(1, 2).flatten(2)


@pytest.mark.parametrize("rotate", ["allgather", "alltoall"])
def test_context_parallel(rotate: str) -> None:
    """Keys and values go round; of the scores' n² blocks the balanced ring computes n·(n+1)/2, which causality needs.

    Liu et al., "Ring attention with blockwise transformers", 2023. One device counts all blocks.
    """
    b, s, h, n = 2, 512, 64, 4
    with torch.device("meta"):
        model = RingAttention(h)
    recipe = fxcost.parallel.context_parallel("cp", rotate)
    before = nn.functional.scaled_dot_product_attention
    report = fxcost.analyze(model, (b, s // n, h), training=True, mesh={"cp": n}, parallelize=recipe)
    assert nn.functional.scaled_dot_product_attention is before
    linear, attention = b * s * 3 * h * h, 2 * b * s * s * h
    assert report.macs * n == linear + attention * (n + 1) // (2 * n)
    sent = sums(report.communication)
    if rotate == "allgather":
        assert sent == {("forward", "all_gather"): (1, 2 * b * s * h * 4)}
    else:
        assert sent == {("forward", "all_to_all"): (n - 1, (n - 1) * 2 * b * (s // n) * h * 4)}
    assert report.uncosted == {}
