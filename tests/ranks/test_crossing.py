"""What crosses between stages that are sharded: parts of the tokens, DTensors, and what a function makes of it."""

from __future__ import annotations

import warnings
from inspect import signature
from typing import Any

import pytest
from torch import Tensor, nn
from torch.distributed.pipelining import PipelineStage, Schedule1F1B
from torch.distributed.tensor import DTensor, Replicate, Shard
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    PrepareModuleInput,
    RowwiseParallel,
    SequenceParallel,
)

import fxcost
from fxcost.report import Report
from tests.ranks.nets import HIDDEN, VOCAB, Net, net, tensor_parallel
from tests.ranks.test_pipelines import BATCH, BETWEEN, LAYERS, LENGTH, TOKENS, on_cpu, one_device, said, sent

ZERO = 4
"""Bytes of the number that DTensor writes where a rank has no row of the embedding: no operator makes it, so that it
counts from the start of a step until it is used, and in the real run not at all."""


def tokens_split() -> dict[str, Any]:
    """A plan for sequence parallel, by names."""
    tokens, whole = Shard(1), Replicate()
    gathers = PrepareModuleInput(input_layouts=(tokens,), desired_input_layouts=(whole,))
    return {
        "tok_embeddings": RowwiseParallel(input_layouts=whole, output_layouts=tokens),
        **dict.fromkeys(("layers.*.attention_norm", "layers.*.ffn_norm", "norm"), SequenceParallel()),
        **dict.fromkeys(("layers.*.attention", "layers.*.feed_forward"), gathers),
        **{f"layers.*.attention.{name}": "colwise" for name in ("wq", "wk", "wv")},
        **{f"layers.*.feed_forward.{name}": "colwise" for name in ("w1", "w3")},
        "layers.*.attention.wo": RowwiseParallel(output_layouts=tokens),
        "layers.*.feed_forward.w2": RowwiseParallel(output_layouts=tokens),
        "output": ColwiseParallel(input_layouts=tokens, output_layouts=whole),
    }


def of_stages(model: nn.Module, mesh: Any) -> None:
    """The same as users write it for a part of a model, as torchtitan's functions do."""
    with warnings.catch_warnings(action="ignore"):  # PyTorch's, on names that other stages have
        tensor_parallel(model, mesh["tp"], sequence=True)


def split_over(recipe: Any, number: int, **how: Any) -> Report:
    """A rank of two stages, each on two ranks."""
    both = fxcost.parallel.together(fxcost.parallel.pipeline(**how), recipe)
    mesh, model = {"pp": 2, "tp": 2}, net(layers=LAYERS)
    return fxcost.analyze(model, TOKENS, training=True, mesh=mesh, parallelize=both, rank=number, optimizer="sgd")


@pytest.mark.parametrize("whole_model", [True, False])
def test_tokens_split_across_a_cut(whole_model: bool) -> None:
    """Sequence parallel over stages: each rank hands on its part of the tokens, byte for byte as on real tensors."""
    recipe = fxcost.parallel.tensor_parallel("tp", tokens_split()) if whole_model else of_stages
    reports = [split_over(recipe, number) for number in range(4)]
    assert sum(report.macs for report in reports) == one_device().macs
    for number, report in enumerate(reports):
        assert report.training is not None
        sends = [c.payload_bytes for c in report.training.communication.collectives if c.kind == "send"]
        assert sends == [BETWEEN // 2] * BATCH
        real = on_cpu(Schedule1F1B, [number // 2], 2, number, 2, tp=2)
        real["peak"] += ZERO * (number // 2 == 0)
        assert said(report) == real


@pytest.mark.skipif("input_grads" not in signature(PipelineStage).parameters, reason="this PyTorch can't send DTensors")
def test_a_dtensor_crosses() -> None:
    """A cut where a DTensor is handed on: what is sent is the rank's part, there and back."""
    plan = tokens_split()
    first, last = (split_over(fxcost.parallel.tensor_parallel("tp", plan), n, split=["output"]) for n in (0, 2))
    both = [sent([report], kind) for report, kind in ((first, "send"), (last, "recv"))]
    assert list(both[0].values()) == list(both[1].values()) == [BATCH * BETWEEN // 2]
    assert last.params == VOCAB * HIDDEN // 2
    assert first.macs + last.macs == one_device().macs // 2


def test_a_dtensor_of_a_function() -> None:
    """A function that shards each stage, and lets it hand on a DTensor, is told how to do without."""

    def marked(model: nn.Module, mesh: Any) -> None:
        of_stages(model, mesh)
        for layer in model.layers:
            layer.register_forward_hook(lambda module, args, out: DTensor.from_local(out, mesh["tp"], [Shard(1)]))
            layer.register_forward_pre_hook(
                lambda module, args: args[0].to_local() if isinstance(args[0], DTensor) else args
            )

    with pytest.raises(fxcost.ShardingError, match="hand on a DTensor: have the plan return local tensors"):
        split_over(marked, 0)


def test_what_a_function_changes_of_what_crosses() -> None:
    """Half the tokens, by a hook that a function gives the layers of each stage: half is sent, there and back."""

    def halves(model: nn.Module, mesh: Any) -> None:
        for layer in model.layers or ():
            layer.register_forward_hook(lambda module, args, out: out[:, : LENGTH // 2])

    recipe = fxcost.parallel.together(fxcost.parallel.pipeline(), halves)
    report = fxcost.analyze(net(layers=2), TOKENS, training=True, mesh={"pp": 2}, parallelize=recipe)
    assert report.training is not None
    assert {c.payload_bytes for c in report.training.communication.collectives} == {BETWEEN // 2}


class Viewing(Net):
    """Between its layers stands an operator that has the number of tokens written into it."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.tok_embeddings(x)
        for layer in self.layers:
            x = layer(x).view(1, LENGTH, -1)
        return self.output(self.norm(x))


def test_operators_between_blocks_keep_their_sizes() -> None:
    """They don't fit a part of the tokens, and the error says where to look."""
    both = fxcost.parallel.together(fxcost.parallel.pipeline(), fxcost.parallel.tensor_parallel("tp", tokens_split()))
    with pytest.raises(
        fxcost.ShardingError, match=r"stage 0 of the pipeline's 2 does not run as it is sharded: .*sizes"
    ):
        fxcost.analyze(Viewing(layers=4), TOKENS, mesh={"pp": 2, "tp": 2}, parallelize=both)


def test_fsdp_by_a_function() -> None:
    """A function that shards each stage by FSDP: as the ready recipe, collectives and all."""
    parallel = fxcost.parallel
    found = []
    for inner in (parallel.fully_shard("dp"), lambda model, mesh: parallel.fully_shard("dp")(model, mesh)):
        recipe = parallel.together(parallel.pipeline(), inner)
        mesh, model = {"pp": 2, "dp": 2}, net(layers=LAYERS)
        report = fxcost.analyze(model, TOKENS, training=True, mesh=mesh, parallelize=recipe, rank=2, optimizer="sgd")
        found.append((said(report), report.macs, report.communication.payload_bytes))
    assert found[0] == found[1]
