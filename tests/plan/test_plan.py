"""Plans of what to checkpoint: against steps of models wrapped by hand, all choices of modules, every k-th block."""

from __future__ import annotations

import json
import random
import sys
from functools import partial
from itertools import combinations, pairwise
from typing import Any

import pytest
import torch
from live import LiveStorages, base_of
from torch import nn
from torch.utils.checkpoint import checkpoint

import fxcost
from fxcost.memory.training import Training

from .cases import LONG, QUICK, Case

pytest.importorskip("scipy")

from fxcost.plan.plan import search_of

cases = pytest.mark.parametrize(
    "case", [*QUICK, *(pytest.param(case, marks=pytest.mark.zoo) for case in LONG)], ids=lambda case: case.name
)


class Net(nn.Module):
    """Blocks of different sizes, one of them used twice, and a skip from the first to the last."""

    def __init__(self) -> None:
        super().__init__()
        self.first = self._block(20, 40)
        self.twice = self._block(20, 90)
        self.last = self._block(20, 60)

    @staticmethod
    def _block(n: int, inner: int) -> nn.Module:
        return nn.Sequential(nn.Linear(n, inner), nn.GELU(), nn.Linear(inner, inner), nn.Tanh(), nn.Linear(inner, n))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x)
        return self.last(self.twice(self.twice(y)) + y)


def checkpointed(model: nn.Module, names: tuple[str, ...]) -> nn.Module:
    """The model, with these modules under activation checkpointing."""
    for name in names:
        module = model.get_submodule(name)
        module.forward = partial(checkpoint, module.forward, use_reentrant=False)  # type: ignore[method-assign]
    return model


def step(case: Case, names: tuple[str, ...]) -> Training:
    """A step of a new model of the case with these modules checkpointed."""
    model, inputs = case.make()
    training = fxcost.analyze(checkpointed(model.train(), names), inputs, training=True).training
    assert training is not None
    return training


def real_peak(model: nn.Module, x: torch.Tensor) -> int:
    """Most bytes alive at one time in a real step, beside what is there before."""
    with LiveStorages(base_of(model, x)) as live:
        out = model(x)
        out.sum().backward()
    return live.peak


@cases
def test_the_wrapped_model_peaks_as_planned(case: Case) -> None:
    """Midway between nothing and everything checkpointed: the code wraps the modules, and an analysis agrees."""
    model, inputs = case.make()
    model.train()
    _, search = search_of(model, inputs, {})
    base = search.base.training.peak_bytes
    frontier = search.answer(base)[2]
    plan = fxcost.plan(model, inputs, memory=(base + frontier[-1][0]) // 2)
    assert plan.modules
    assert plan.peak_bytes <= plan.limit < plan.base_peak_bytes == base
    assert not any("forward" in vars(module) for module in model.modules())
    exec(plan.code, {"model": model})
    wrapped = fxcost.analyze(model, inputs, training=True).training
    assert wrapped is not None
    assert (wrapped.peak_bytes, wrapped.recomputed) == (plan.peak_bytes, plan.recomputed)
    assert plan.recomputed.flops > 0


@cases
def test_the_frontier_is_monotone_and_true(case: Case) -> None:
    """Less memory costs more; each point that was foreseen is within a thousandth of a step of its own."""
    model, inputs = case.make()
    _, search = search_of(model.train(), inputs, {})
    frontier = search.answer(search.base.training.peak_bytes)[2]
    assert len(frontier) > 4
    for (peak, flops, _), (lower, more, _) in pairwise(frontier):
        assert lower < peak
        assert more > flops
    for peak, flops, names in frontier[1::5]:
        found = step(case, names)
        assert found.recomputed.flops == flops
        assert abs(found.peak_bytes - peak) <= peak / 1000


@cases
def test_never_worse_than_every_kth_block(case: Case) -> None:
    """For each k, with the memory that every k-th block checkpointed takes: at most as many FLOPs are run again."""
    model, inputs = case.make()
    blocks = case.blocks(model)
    assert len(blocks) >= 4
    _, search = search_of(model.train(), inputs, {})
    for k in range(1, len(blocks) + 1):
        by_hand = step(case, tuple(blocks[::k]))
        _, found, _ = search.answer(by_hand.peak_bytes)
        assert found.training.peak_bytes <= by_hand.peak_bytes
        assert found.training.recomputed.flops <= by_hand.recomputed.flops


def test_the_best_of_all_choices() -> None:
    """Against a step of every choice of blocks and their parts, at the memory that each of them takes."""
    names = [name for name, _ in Net().named_modules() if name]
    case = Case("net", lambda: (Net(), (64, 20)), lambda model: [])
    apart = [
        chosen
        for n in range(4)
        for chosen in combinations(names, n)
        if not any(b.startswith(f"{a}.") for a in chosen for b in chosen)
    ]
    steps = [step(case, chosen) for chosen in random.Random(0).sample(apart, 50)]
    tried = [(found.peak_bytes, found.recomputed.flops) for found in steps]
    model, inputs = case.make()
    _, search = search_of(model.train(), inputs, {})
    for peak, flops in sorted(set(tried)):
        _, found, _ = search.answer(peak)
        assert found.training.peak_bytes <= peak
        assert found.training.recomputed.flops <= flops


def test_a_real_run_peaks_there() -> None:
    """On the CPU, every storage followed: the step of the wrapped model peaks where the plan says."""
    plain, model = (nn.Sequential(*[Net._block(30, 70) for _ in range(4)]) for _ in "ab")
    base = fxcost.plan(model, (500, 30), memory="1GB", optimizer="sgd").base_peak_bytes
    plan = fxcost.plan(model, (500, 30), memory=base * 3 // 4, optimizer="sgd")
    assert plan.modules
    exec(plan.code, {"model": model})
    x = torch.randn(500, 30)
    resident = plan.training.parameter_bytes + plan.training.input_bytes
    assert real_peak(model, x) == plan.peak_bytes - resident
    assert real_peak(plain, x) == plan.base_peak_bytes - resident


def test_what_fits_as_it_is() -> None:
    """Nothing is checkpointed, and the frontier says what could be."""
    plan = fxcost.plan(Net(), (64, 20), memory="1GB", optimizer="sgd")
    assert (plan.modules, plan.code, plan.recomputed_flops, plan.recomputed_macs) == ((), "", 0, 0)
    assert plan.peak_bytes == plan.base_peak_bytes
    assert repr(plan).startswith("<Plan: Net fits without checkpoints: ")
    assert len(plan.frontier) > 1


def test_views() -> None:
    """One line; text with the frontier and the code; the same in HTML; JSON."""
    plan = fxcost.plan(Net(), (64, 20), memory="340KB", optimizer="sgd")
    assert repr(plan).startswith(f"<Plan: checkpoint {len(plan.modules)} module")
    text = str(plan)
    assert "run again" in text
    assert text.endswith(plan.code.rstrip())
    assert text.count("→") == 1
    assert "checkpoint(" not in plan.table("github")
    assert plan._repr_html_().startswith("<pre")
    data = json.loads(plan.to_json())
    assert data == plan.to_dict()
    assert (data["peak_bytes"], data["limit_bytes"]) == (plan.peak_bytes, 340_000)
    assert data["modules"] == list(plan.modules)


def test_picture_and_file(tmp_path: Any) -> None:
    """The frontier as a picture, and JSON in a file."""
    pytest.importorskip("matplotlib")
    plan = fxcost.plan(Net(), (64, 20), memory="340KB", optimizer="sgd")
    plan.plot(tmp_path / "plan.png")
    assert (tmp_path / "plan.png").read_bytes().startswith(b"\x89PNG")
    plan.to_json(tmp_path / "plan.json")
    assert json.loads((tmp_path / "plan.json").read_text()) == plan.to_dict()


def test_reserve_and_loss() -> None:
    """What is reserved is not to be had; a loss of the user's takes part."""
    whole = fxcost.plan(Net(), (64, 20), memory="340KB", optimizer="sgd")
    less = fxcost.plan(Net(), (64, 20), memory="350KB", reserve="10KB", optimizer="sgd")
    assert less == whole
    loss = fxcost.plan(Net(), (64, 20), memory="340KB", optimizer="sgd", loss=lambda out: (out**2).mean())
    assert loss.training.nodes[-1].name == "loss"


@pytest.mark.parametrize(
    ("memory", "said"),
    [
        ("20KB", r"needs .* KiB, and there are 19\.53 KiB: .* KiB are missing, with the \d+ modules checkpointed"),
        ("lots", "'lots' is no size in bytes"),
        (0, "and there are 0 B"),
    ],
)
def test_what_can_not_be(memory: Any, said: str) -> None:
    """Memory that not even the best choice reaches, by how much; a size that is none."""
    with pytest.raises(fxcost.FxcostError, match=said):
        fxcost.plan(Net(), (64, 20), memory=memory, optimizer="sgd")


def test_nothing_to_checkpoint() -> None:
    """A layer keeps its input alone, which is there anyway; a function has no modules; a wrapped model is wrapped."""
    with pytest.raises(fxcost.FxcostError, match="Nothing can be checkpointed: no module keeps anything"):
        fxcost.plan(nn.Sequential(nn.Linear(10, 10)), (4, 10), memory="1KB")
    with pytest.raises(fxcost.FxcostError, match="a function has no modules to checkpoint"):
        fxcost.plan(lambda x: x, (4, 10), memory="1KB")
    wrapped = checkpointed(Net(), ("twice",))
    with pytest.raises(fxcost.FxcostError, match="checkpoints activations itself"):
        fxcost.plan(wrapped, (64, 20), memory="150KB")


class Growing(nn.Module):
    """A block that adds to a list of the model's, as caches do: run again it finds another one."""

    def __init__(self, seen: list[torch.Tensor]) -> None:
        super().__init__()
        self.linear, self.more = nn.Linear(20, 20), nn.Linear(20, 20)
        self.seen = seen

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(x)
        return torch.tanh(self.linear(torch.cat(self.seen).tanh())).sum(0) + self.more(x).tanh()


class Caching(nn.Module):
    """Blocks that can be checkpointed, and others that can't."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[torch.Tensor] = []
        self.good = nn.ModuleList(Net._block(20, 60) for _ in range(3))
        self.bad = nn.ModuleList(Growing(self.seen) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.clear()
        for block in (*self.good, *self.bad):
            x = block(x)
        return x


def test_what_pytorch_can_not_run_again_is_left_out() -> None:
    """Modules whose second run differs from the first are not chosen, and the plan says so."""
    base = fxcost.plan(Caching(), (64, 20), memory="1GB", optimizer="sgd").base_peak_bytes
    plan = fxcost.plan(Caching(), (64, 20), memory=base - 1, optimizer="sgd")
    assert plan.modules
    assert not any(name.startswith("bad") for name in plan.modules)
    assert any(note.startswith("bad.* can't be checkpointed, PyTorch says: ") for note in plan.notes)


def test_batch_norms_are_mentioned() -> None:
    """Their statistics move twice a step."""
    block = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU())
    model = nn.Sequential(*[nn.Sequential(block, nn.Conv2d(3, 3, 1)) for _ in range(3)]).train()
    base = fxcost.plan(model, (4, 3, 16, 16), memory="1GB")
    assert not any("batch norms" in note for note in base.notes)
    plan = fxcost.plan(model, (4, 3, 16, 16), memory=base.base_peak_bytes - 1)
    assert any("twice a step" in note for note in plan.notes)


def test_without_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    """What to install."""
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(fxcost.FxcostError, match=r"pip install 'fxcost\[plan\]'"):
        fxcost.plan(Net(), (64, 20), memory="150KB")
