"""Ranks of a pipeline under PyTorch's own schedules: what all do together, what is in flight, and real tensors."""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleGPipe, ScheduleZBVZeroBubble

import fxcost
from fxcost.ranks.pipelining import SCHEDULES
from fxcost.ranks.private import adapted
from fxcost.ranks.private_pipelines import step_of
from fxcost.report import Report
from tests.ranks.nets import HIDDEN, VOCAB, Net, net, tensor_parallel
from tests.ranks.reference import Watch, local

BATCH, LENGTH, LAYERS = 4, 32, 4
TOKENS = fxcost.spec(BATCH, LENGTH, dtype="int64")
BETWEEN = LENGTH * HIDDEN * 4
"""Bytes of what one microbatch of one sample sends from a stage to the next."""


@cache
def rank(schedule: str, number: int, ranks: int, **how: Any) -> Report:
    recipe = fxcost.parallel.pipeline("pp", schedule=schedule, **how)
    return fxcost.analyze(
        net(layers=LAYERS), TOKENS, training=True, mesh={"pp": ranks}, parallelize=recipe, rank=number, optimizer="sgd"
    )


@cache
def one_device() -> Report:
    return fxcost.analyze(net(layers=LAYERS), TOKENS, training=True)


def sent(reports: list[Report], kind: str) -> Counter[tuple[int | None, int | None, str]]:
    """Bytes from rank to rank in each pass, as those who send them say, or those who receive them."""
    found: Counter[tuple[int | None, int | None, str]] = Counter()
    for number, report in enumerate(reports):
        assert report.training is not None
        for c in report.training.communication.collectives:
            ends = (number, c.peer) if kind == "send" else (c.peer, number)
            if c.kind == kind:
                found[(*ends, c.phase)] += c.payload_bytes
    return found


@pytest.mark.parametrize(("schedule", "ranks"), [*((name, 2) for name in SCHEDULES.values()), ("1F1B", 4)])
def test_ranks_together_do_the_whole_step(schedule: str, ranks: int) -> None:
    """Work and parameters add up to those of one device, what is sent is received; both for every schedule."""
    reports = [rank(schedule, i, ranks) for i in range(ranks)]
    whole = one_device()
    steps = [report.training for report in reports]
    assert whole.training is not None
    for name in ("forward", "backward", "recomputed"):
        assert sum(getattr(step, name).macs for step in steps) == getattr(whole.training, name).macs
    assert sum(report.macs for report in reports) == whole.macs
    assert sum(report.params for report in reports) == whole.params
    assert sum(step.gradient_bytes for step in steps if step) == whole.training.gradient_bytes
    assert sent(reports, "send") == sent(reports, "recv")
    stages = rank_count(schedule, ranks)
    borders = stages - 1 - (schedule in ("ZBVZeroBubble", "DualPipeV"))  # of these one lies within the last rank
    by_phase = {phase: sum(n for (*_, p), n in sent(reports, "send").items() if p == phase) for phase in PASSES}
    assert by_phase == dict.fromkeys(PASSES, borders * BATCH * BETWEEN)
    for report in reports:
        assert report.uncosted == {}
        assert report.training is not None
        assert report.training.uncosted == {}
    assert steps[-1] is not None
    assert steps[-1].by_turns == (schedule not in ("GPipe", "LoopedBFS"))


PASSES = ("forward", "backward")


def rank_count(schedule: str, ranks: int) -> int:
    return ranks if schedule in ("GPipe", "1F1B") else 2 * ranks


def test_what_is_in_flight() -> None:
    """GPipe keeps all microbatches' activations, 1F1B on rank r of n at most n − r; the first stage is the worst.

    Narayanan et al., "Efficient large-scale language model training on GPU clusters using Megatron-LM", 2021.
    """
    ranks = 4
    gpipe, one = ([rank(name, i, ranks).training for i in range(ranks)] for name in ("GPipe", "1F1B"))
    for i in (1, 2):  # stages of one layer each, alike
        a, b = gpipe[i], one[i]
        assert a is not None
        assert b is not None
        assert a.saved_bytes == b.saved_bytes
        buffers = BATCH * BETWEEN  # into which is received, one for each microbatch, from the start to the end
        each = (a.saved_bytes - buffers) // BATCH
        flying = [(step.peak_parts["saved activations"] - buffers) / each for step in (a, b)]
        assert flying[0] in (BATCH, BATCH - 1)  # its peak may come once the first gradients are there
        assert flying[1] == ranks - i
    assert gpipe[2].peak_bytes - one[2].peak_bytes == each  # type: ignore[union-attr]
    assert one[1].peak_bytes > one[2].peak_bytes  # type: ignore[union-attr]


def test_stages_send_what_cuts_say() -> None:
    """`fxcost.stages` of one microbatch says what crosses each cut; with its split points it is what is sent."""
    found = fxcost.stages(fxcost.analyze(net(layers=LAYERS), fxcost.spec(1, LENGTH, dtype="int64")), 3)
    split = tuple(found.split_spec())
    reports = [rank("1F1B", i, 3, split=split) for i in range(3)]
    forward = {ends[:2]: n for ends, n in sent(reports, "send").items() if ends[2] == "forward"}
    assert forward == {(i, i + 1): BATCH * cut.bytes for i, cut in enumerate(found.cuts)}
    assert [report.param_bytes for report in reports] == [stage.param_bytes for stage in found.stages]


def test_microbatches_of_several_samples() -> None:
    """Fewer microbatches send as many bytes in fewer messages."""
    report = rank("1F1B", 0, 2, microbatches=2)
    assert report.training is not None
    sends = [c for c in report.training.communication.collectives if c.kind == "send"]
    assert [c.payload_bytes for c in sends] == [2 * BETWEEN] * 2


class Part(nn.Module):
    """A stage, cut by hand."""

    def __init__(self, whole: Any, index: int, count: int) -> None:
        super().__init__()
        places = [i * LAYERS // count for i in range(count + 1)]
        self.layers = nn.ModuleList(whole.layers[places[index] : places[index + 1]])
        self.first, self.last = index == 0, index == count - 1
        self.around = nn.ModuleDict()
        if self.first:
            self.around["embed"] = whole.tok_embeddings
        if self.last:
            self.around["norm"], self.around["output"] = whole.norm, whole.output

    def forward(self, *crossing: Tensor, x: Tensor | None = None) -> Tensor:
        hidden = self.around["embed"](x) if self.first else crossing[0]
        for layer in self.layers:
            hidden = layer(hidden)
        return self.around["output"](self.around["norm"](hidden)) if self.last else hidden


def on_cpu(kind: Any, indices: list[int], count: int, number: int, ranks: int, tp: int = 1) -> dict[str, Any]:
    """A step of hand-made stages on real tensors, under PyTorch's fake process group; tokens are split over `tp`."""
    with fxcost.fake_world(ranks * tp, rank=number), adapted():  # nobody else votes on whether shapes are known
        torch.manual_seed(0)
        whole, stages = Net(layers=LAYERS), []
        mesh = init_device_mesh("cpu", (ranks, tp), mesh_dim_names=("pp", "tp"))
        if tp > 1:
            tensor_parallel(whole, mesh["tp"], sequence=True)
        tokens = torch.randint(0, VOCAB, (BATCH, LENGTH))
        for i in indices:
            given = torch.empty(1, LENGTH // tp, HIDDEN, requires_grad=True)
            last = torch.empty(1, LENGTH, VOCAB, requires_grad=True)
            ends = {"input_args": () if i == 0 else (given,), "output_args": (last if i == count - 1 else given,)}
            group = mesh["pp"].get_group()
            stages.append(PipelineStage(Part(whole, i, count), i, count, torch.device("cpu"), group=group, **ends))
        del whole
        loss = lambda out, _: out.sum()  # noqa: E731
        schedule = kind(stages if len(stages) > 1 else stages[0], BATCH, loss_fn=loss, scale_grads=False)
        modules = nn.ModuleList(stage.submod for stage in stages)
        rows = [{"x": row} for row in tokens.chunk(BATCH)]
        with (watch := Watch([*modules.parameters(), tokens])):
            step_of(schedule, rows, [None] * BATCH, return_outputs=False)
        parameters = list(modules.parameters())
        return {
            "macs": sum(watch.macs.values()),
            "messages": dict(sorted(Counter(op for _, op in watch.collectives.elements()).items())),
            "params": sum(local(p).numel() for p in parameters),
            "gradients": sum(local(p.grad).untyped_storage().nbytes() for p in parameters if p.grad is not None),
            "peak": watch.peak,
        }


@pytest.mark.parametrize(
    ("name", "kind", "stages"),
    [
        ("GPipe", ScheduleGPipe, ([0], [1])),
        ("1F1B", Schedule1F1B, ([0], [1])),
        ("ZBVZeroBubble", ScheduleZBVZeroBubble, ([0, 3], [1, 2])),
    ],
)
def test_a_rank_is_what_runs_on_real_tensors(name: str, kind: Any, stages: tuple[list[int], list[int]]) -> None:
    """Work, messages, parameters, gradients and the peak, byte for byte, on both ranks; `Watch` shares no code."""
    for number in range(2):
        assert said(rank(name, number, 2)) == on_cpu(kind, stages[number], 2 * len(stages[0]), number, 2)


def said(report: Report) -> dict[str, Any]:
    """Of a report what `on_cpu` has measured."""
    step = report.training
    assert step is not None
    return {
        "macs": step.total.macs,
        "messages": dict(sorted(Counter(c.op for c in step.communication.collectives).items())),
        "params": report.params,
        "gradients": step.gradient_bytes,
        "peak": step.peak_bytes,
    }


def test_three_dimensions() -> None:
    """Stages whose layers are split, sharded within: each dimension sends what it would of its part."""
    parallel = fxcost.parallel
    plan = {f"layers.*.feed_forward.{name}": "colwise" for name in ("w1", "w3")}
    plan["layers.*.feed_forward.w2"] = "rowwise"
    recipe = parallel.together(parallel.fully_shard("dp"), parallel.tensor_parallel("tp", plan), parallel.pipeline())
    mesh = {"pp": 2, "dp": 2, "tp": 2}
    reports = [
        fxcost.analyze(net(layers=LAYERS), TOKENS, training=True, mesh=mesh, parallelize=recipe, rank=r) for r in (0, 4)
    ]
    for report in reports:
        assert report.training is not None
        by_dim = report.training.communication.by_mesh_dim()
        assert by_dim["pp"].payload_bytes == 2 * BATCH * BETWEEN
        # one all-reduce of the tokens forward, and one for each of w1 and w3 backward, for each of two layers
        assert by_dim["tp"].payload_bytes == 3 * 2 * BATCH * BETWEEN
        reduced = [c for c in report.training.communication.collectives if c.kind == "reduce_scatter"]
        assert sum(c.payload_bytes for c in reduced) == 2 * report.param_bytes  # once, after the last microbatch
    split = 4 * LAYERS * 3 * HIDDEN * 512
    whole = one_device().param_bytes
    assert 2 * sum(report.param_bytes for report in reports) == whole - split // 2


def test_weights_on_two_stages_are_named() -> None:
    """An embedding that is the head too stands on the first rank and on the last, and nobody adds up its gradients."""
    model = net(layers=2)
    model.output.weight = model.tok_embeddings.weight
    report = fxcost.analyze(model, TOKENS, mesh={"pp": 2}, parallelize=fxcost.parallel.pipeline(), rank=1)
    assert any("output.weight: a stage of another rank has the same weights" in text for text in report.assumptions)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"schedule": "2F2B"}, "no schedule '2F2B'; choose from GPipe, 1F1B"),
        ({"microbatches": 3}, "a batch of 4 can't be split into 3 microbatches"),
        ({"microbatches": 0}, "into 0 microbatches"),
        ({"stages": 2}, "1F1B has one stage on each rank"),
        ({"schedule": "ZBVZeroBubble", "stages": 3}, "two stages on each rank"),
        ({"schedule": "LoopedBFS", "stages": 0}, "1 or more stages"),
        ({"schedule": "LoopedBFS", "stages": 99}, "too few for 198 stages"),
        ({"split": ["layers.9"]}, "no such module; did you mean 'layers."),
        ({"split": ["layers.1", "layers.2"]}, "2 stages begin at 1 of them"),
        ({"split": ["tok_embeddings"]}, "runs before"),
        ({"dim": "p"}, "no dimension 'p'; did you mean 'pp'"),
    ],
)
def test_bad_input(how: dict[str, Any], said: str) -> None:
    """Each in words of its own."""
    with pytest.raises(fxcost.ShardingError) as caught:
        fxcost.analyze(net(layers=4), TOKENS, mesh={"pp": 2}, parallelize=fxcost.parallel.pipeline(**how))
    assert said in str(caught.value)


class Handing(nn.Module):
    """Layers that are given an object to write into."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Noting() for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        notes = Notes()
        for layer in self.layers:
            x = layer(x, notes)
        return x


class Notes:
    """What a cache is to a language model."""


class Noting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(4, 4)

    def forward(self, x: Tensor, notes: Notes) -> Tensor:
        return self.up(x)


def test_objects_can_not_be_sent() -> None:
    """A cache that layers share is refused, with its type."""
    with pytest.raises(fxcost.ShardingError, match=r"layers.0 is given an object, tests.ranks.test_pipelines.Notes"):
        fxcost.analyze(Handing(), (2, 4), mesh={"pp": 2}, parallelize=fxcost.parallel.pipeline())


def test_command_line(run: Any) -> None:
    """A schedule and its microbatches by name."""
    code, said, _ = run(
        "torchvision:resnet18", "--input", "4,3,32,32", "--mesh", "pp=2", "--parallel", "pp:pp:gpipe:2",
        "--by", "collective",
    )  # fmt: skip
    assert code == 0
    assert "send" in said
    code, _, error = run("torchvision:resnet18", "--mesh", "pp=2", "--parallel", "pp:pp:gpipe:two")
    assert (code, "pp:DIM:SCHEDULE:MICROBATCHES" in error) == (2, True)
