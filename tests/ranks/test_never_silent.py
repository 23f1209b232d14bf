"""A model that is sharded is never taken for what it would be alone; what can't be is an error, and nothing is left."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp._fully_shard._fsdp_param_group import FSDPParamGroup
from torch.distributed.pipelining.schedules import _PipelineSchedule
from torch.distributed.pipelining.stage import PipelineStage, _PipelineStageBase
from torch.nn.parallel import distributed

import fxcost
from fxcost.ranks import private, private_pipelines
from tests.ranks.nets import Net, both, net, shard, tensor_parallel

TOKENS = fxcost.spec(2, 16, dtype="int64")


def state_of_the_process() -> list[Any]:
    """All that running a rank changes meanwhile."""
    return [
        dist.is_initialized(),
        sys.excepthook,
        torch.UntypedStorage.resize_,
        "resize_" in vars(torch.UntypedStorage),
        DeviceMesh.__init__,
        distributed._verify_param_shape_across_processes,
        distributed._sync_module_states,
        *(vars(_PipelineStageBase)[name] for name in (*private_pipelines.BACK, *private_pipelines.SENT_BACK)),
        vars(_PipelineSchedule).get("_warmup_p2p"),
        vars(PipelineStage).get("_shape_inference"),
        vars(DeviceMesh).get("_concatenate"),
        gc.get_threshold(),
        *(vars(FSDPParamGroup)[name] for name in ("_validate_no_meta_params", *private._SERVED)),
    ]


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Every test here leaves the process as it was, also those that fail on the way."""
    before = state_of_the_process()
    yield
    assert state_of_the_process() == before


def mesh(n: int = 8) -> DeviceMesh:
    return init_device_mesh("cpu", (n,), mesh_dim_names=("dp",))


def analyzed(model: nn.Module, **how: Any) -> Any:
    return fxcost.analyze(model, TOKENS, **how)


def test_the_users_model_stays_as_it_is() -> None:
    """Sharding is done to a copy: classes, hooks, parameters and gradients are the user's own."""
    model = Net(layers=1)
    before = [(type(m), list(m._forward_pre_hooks)) for m in model.modules()]
    tensors = {name: (p, p.clone()) for name, p in model.named_parameters()}
    analyzed(model, training=True, mesh={"dp": 2, "tp": 2}, parallelize=both)
    assert [(type(m), list(m._forward_pre_hooks)) for m in model.modules()] == before
    for name, p in model.named_parameters():
        assert p is tensors[name][0]
        assert p.grad is None
        assert torch.equal(p, tensors[name][1])


def test_ddp_is_unwrapped_and_the_report_says_so() -> None:
    """The numbers of one replica, with a sentence on what is missing; a file keeps it."""
    with fxcost.fake_world(8):
        wrapped = nn.parallel.DistributedDataParallel(Net(layers=1))
    report = analyzed(wrapped, training=True)
    assert report.macs == analyzed(net(layers=1)).macs
    assert "DistributedDataParallel" in report.assumptions[0]
    assert "fxcost.parallel.ddp()" in str(report)


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (lambda model: tensor_parallel(model, mesh()), "tok_embeddings.weight is a DTensor"),
        (lambda model: shard(model, mesh()), "it is a FSDPNet, of FSDP"),
        (
            lambda model: shard(model.layers[0].attention, mesh()) or None,
            "module 'layers.0.attention' is a FSDPAttention",
        ),
    ],
)
def test_a_sharded_model_is_refused(prepare: Callable[[Any], Any], said: str) -> None:
    """In words that say what to give instead."""
    model = net(layers=1)
    model.layers[0].attention.layers = nn.ModuleList()
    with fxcost.fake_world(8):
        prepare(model)
    with pytest.raises(fxcost.ShardingError, match=r"sharded already: .*parallelize=apply") as caught:
        analyzed(model)
    assert said in str(caught.value)
    with pytest.raises(fxcost.ShardingError, match="sharded already"):
        fxcost.trace(model, TOKENS)


def test_a_wrapper_inside_a_model_is_refused() -> None:
    """DDP around a part of a model does more than that part."""
    with fxcost.fake_world(8):
        model = nn.Sequential(nn.parallel.DistributedDataParallel(Net(layers=1)))
    with pytest.raises(fxcost.ShardingError, match="module '0' is a DistributedDataParallel"):
        analyzed(model)


@pytest.mark.parametrize("recipe", [tensor_parallel, shard], ids=["tp", "fsdp"])
def test_who_shards_in_a_fake_world_is_served(recipe: Any) -> None:
    """Inside of it a sharded model on meta runs as it is: the same numbers as by a recipe, time and again."""
    expected = analyzed(net(layers=1), training=True, mesh={"dp": 8}, parallelize=recipe)
    with fxcost.fake_world(8):
        model = net(layers=1)
        recipe(model, mesh())
        reports = [analyzed(model, training=True) for _ in range(2)]
        assert all(p.grad is None for p in model.parameters())
    for report in reports:
        assert report.rank.rank == 0
        assert report.params == expected.params
        assert report.unsharded_params == expected.unsharded_params
        assert report.training.total == expected.training.total
        assert report.training.peak_bytes == expected.training.peak_bytes
        sent = [(c.kind, c.payload_bytes, c.module) for c in report.training.communication.collectives]
        assert sent == [(c.kind, c.payload_bytes, c.module) for c in expected.training.communication.collectives]


def test_a_fake_world_is_one_rank_of_many() -> None:
    """It ends with its context, also after an error; analyze runs in it if it is the same."""
    with pytest.raises(ZeroDivisionError), fxcost.fake_world(64, rank=3):
        _ = dist.get_world_size() / (dist.get_rank() - 3)
    with fxcost.fake_world(8, rank=3):
        assert analyzed(net(layers=1), mesh={"dp": 8}, parallelize=shard, rank=3).rank.rank == 3
        with pytest.raises(fxcost.ShardingError, match=r"inside of fxcost.fake_world\(8, rank=3\)"):
            analyzed(net(layers=1), mesh={"dp": 4}, parallelize=shard)
        with pytest.raises(fxcost.ShardingError, match="a process group in this process already"), fxcost.fake_world(2):
            pass


def test_a_real_process_group_is_not_replaced() -> None:
    """Who has one keeps it."""
    store = dist.HashStore()
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        with pytest.raises(fxcost.ShardingError, match="a process group in this process already"):
            analyzed(net(layers=1), mesh={"dp": 8}, parallelize=shard)
        assert dist.get_backend() == "gloo"
    finally:
        dist.destroy_process_group()
        sys.excepthook = sys.__excepthook__


def raising(model: nn.Module, mesh: Any) -> None:
    shard(model, mesh)
    raise KeyError("no such layer")


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"mesh": {"dp": 8}}, "parallelize= how the model is sharded"),
        ({"parallelize": shard}, "are for mesh="),
        ({"rank": 3}, "are for mesh="),
        ({"mesh": {"dp": 8}, "parallelize": shard, "rank": 8}, "no rank 8 in a world of 8"),
        ({"mesh": {"dp": 8}, "parallelize": shard, "rank": -1}, "no rank -1"),
        ({"mesh": {"dp": 8}, "parallelize": shard, "rank": "best"}, "no rank 'best'"),
        ({"mesh": {"dp": 0}, "parallelize": shard}, "0 ranks along 'dp'"),
        ({"mesh": {"d p": 2}, "parallelize": shard}, "'d p' is no name"),
        ({"mesh": {}, "parallelize": shard}, "is no mesh"),
        ({"mesh": {"dp": 10**9}, "parallelize": shard}, "at most"),
        ({"mesh": {"dp": 8}, "parallelize": lambda model, mesh: None}, "left the model as it was"),
        ({"mesh": {"dp": 8}, "parallelize": lambda model, mesh: 5}, "returned a int"),
        ({"mesh": {"dp": 8}, "parallelize": raising}, "raised KeyError: 'no such layer'"),
        ({"mesh": {"dp": 8}, "parallelize": fxcost.parallel.fully_shard("d")}, "no dimension 'd'; did you mean 'dp'"),
        ({"mesh": {"dp": 8}, "parallelize": fxcost.parallel.fully_shard(blocks=("layer.*",))}, "no such module"),
        ({"mesh": {"tp": 8}, "parallelize": fxcost.parallel.tensor_parallel("tp")}, "a Net has no plan"),
        (
            {"mesh": {"tp": 8}, "parallelize": fxcost.parallel.tensor_parallel("tp", {"norms": "rowwise"})},
            "mean 'norm'",
        ),
        (
            {"mesh": {"tp": 8}, "parallelize": fxcost.parallel.tensor_parallel("tp", {"norm": "rows"})},
            "no style 'rows'",
        ),
        ({"mesh": {"tp": 8}, "parallelize": fxcost.parallel.transformers()}, "no model of transformers"),
    ],
)
def test_bad_input(how: dict[str, Any], said: str) -> None:
    """Each in words of its own."""
    with pytest.raises(fxcost.ShardingError) as caught:
        analyzed(net(layers=1), **how)
    assert said in str(caught.value)


def test_what_does_not_divide() -> None:
    """Eight ranks for four heads: PyTorch's words, and on which rank of which mesh."""
    with pytest.raises(fxcost.ModelRunError, match=r"attention.*rank 0 of a mesh of tp=8: sizes that a plan splits"):
        analyzed(net(layers=1, heads=4), mesh={"tp": 8}, parallelize=tensor_parallel)


class Breaks(nn.Module):
    """A block that fails in its backward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.requires_grad:
            x.register_hook(lambda grad: 1 / 0)
        return self.up(x)


def test_a_pipeline_that_fails_leaves_nothing() -> None:
    """Neither in the forward pass nor in the middle of the backward pass, and the message is the model's own."""
    pipeline = fxcost.parallel.pipeline()
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), Breaks(), nn.Linear(4, 4))
    with pytest.raises(fxcost.TrainingError, match="division by zero"):
        fxcost.analyze(model, (2, 4), training=True, mesh={"pp": 2}, parallelize=pipeline, rank=1)
    with pytest.raises(fxcost.ModelRunError, match="module '1' raised"):
        fxcost.analyze(nn.Sequential(nn.Linear(4, 4), nn.Linear(5, 4)), (2, 4), mesh={"pp": 2}, parallelize=pipeline)


def test_an_optimizer_of_the_whole_model_is_refused() -> None:
    """Its state is that of whole parameters; a name, or bytes per parameter, is that of a rank."""
    model = net(layers=1)
    with pytest.raises(fxcost.ShardingError, match="name of an optimizer"):
        analyzed(
            model, training=True, optimizer=torch.optim.Adam(model.parameters()), mesh={"dp": 8}, parallelize=shard
        )


def test_a_missing_part_of_pytorch_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is private in PyTorch may go; that is found before anything is changed."""
    monkeypatch.setattr(private, "_NEEDED", (*private._NEEDED, ("torch.distributed.fsdp", "NoSuchThing.hook")))
    with pytest.raises(fxcost.ShardingError, match=r"has no torch.distributed.fsdp.NoSuchThing.hook"):
        analyzed(net(layers=1), mesh={"dp": 8}, parallelize=shard)


def test_a_missing_part_of_pipelines_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """So may what pipelines need: how stages agree has two ways, and one must be there."""
    monkeypatch.setattr(
        private_pipelines, "AGREEING", {("torch", "_NoSuch.vote"): None, ("torch", "_NoSuch.ask"): None}
    )
    with pytest.raises(fxcost.ShardingError, match=r"has no torch._NoSuch.vote or torch._NoSuch.ask"):
        analyzed(net(layers=2), mesh={"dp": 2}, parallelize=fxcost.parallel.pipeline("dp"))


def test_worlds_do_not_mix() -> None:
    """DTensor remembers what it found for a mesh: never that of a world which is gone, whose groups are others."""
    recipes = {"a": ({"dp": 2, "tp": 4}, 0), "b": ({"tp": 4, "dp": 2}, 5)}
    seen: dict[str, list[Any]] = {name: [] for name in recipes}
    for _ in range(2):
        for name, (sizes, rank) in recipes.items():
            report = analyzed(net(layers=1), mesh=sizes, parallelize=both, rank=rank)
            seen[name].append([(c.kind, c.ranks, c.mesh_dim) for c in report.communication.collectives])
    for name, (sizes, rank) in recipes.items():
        assert seen[name][0] == seen[name][1]
        groups = {dim: ranks for _, ranks, dim in seen[name][0]}
        assert {dim: len(ranks) for dim, ranks in groups.items()} == sizes
        assert all(rank in ranks for ranks in groups.values())
