"""transformers' own plans, and experts on other ranks: nothing is lost, and what is assumed is said."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn

import fxcost
from fxcost.report import Report

TOKENS = fxcost.spec(2, 64, dtype="int64")
SIZES = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 8}


def model_of(kind: str, **more: Any) -> Any:
    """A small causal model of a type, on meta."""
    transformers = pytest.importorskip("transformers", "5.0")
    config = transformers.CONFIG_MAPPING[kind](**SIZES, num_key_value_heads=8, vocab_size=512, use_cache=False, **more)
    with torch.device("meta"):
        return transformers.AutoModelForCausalLM.from_config(config)


def step(model: Any, mesh: dict[str, int], **how: Any) -> Report:
    return fxcost.analyze(model, TOKENS, training=True, mesh=mesh, parallelize=fxcost.parallel.transformers(**how))


def macs(report: Report) -> tuple[int, int]:
    assert report.training is not None
    return report.training.forward.macs, report.training.backward.macs


@pytest.mark.parametrize("tied", [False, True])
def test_the_plan_of_a_llama(tied: bool) -> None:
    """An eighth of the work each; five all-reduces a layer in the backward pass; weights that are tied stay tied."""
    model = model_of("llama", tie_word_embeddings=tied)
    whole = fxcost.analyze(model, TOKENS, training=True)
    report = step(model, {"tp": 8})
    assert tuple(8 * n for n in macs(report)) == macs(whole)
    assert report.training is not None
    backward = [c for c in report.training.communication.collectives if c.phase == "backward"]
    assert sum(c.kind == "all_reduce" and c.module.startswith("model.layers.") for c in backward) == 5 * 2
    assert report.unsharded_params == whole.params
    norms = 5 * 64
    assert report.params == (whole.params - norms) // 8 + norms
    both = fxcost.parallel.together(fxcost.parallel.fully_shard("dp"), fxcost.parallel.tensor_parallel("tp"))
    mixed = fxcost.analyze(model, TOKENS, training=True, mesh={"dp": 2, "tp": 8}, parallelize=both)
    assert macs(mixed) == macs(report)
    own = step(model, {"fsdp": 2, "tp": 8})
    assert macs(own) == macs(report)
    assert own.params == mixed.params


def test_experts_by_all_to_all() -> None:
    """Ranks send each other's tokens: evenly many, so a rank does what one device does on its tokens; said, not silent.

    Counts of tokens went through a collective and were unknown before: 38 % of the work was lost without a word.
    """
    model = model_of("mixtral", num_local_experts=8)
    whole = fxcost.analyze(model, TOKENS, training=True)
    for ranks, experts in ((8, 8), (8, 4)):
        report = step(model, {"fsdp": ranks}, ep_size=experts, ep_implementation="all_to_all")
        assert macs(report) == macs(whole)
        assert any("evenly many tokens" in text for text in report.assumptions)
        assert report.training is not None
        sent = report.training.communication.by_kind()["all_to_all"]
        tokens = 2 * 64 * 2 * 64 * 4
        counts = 2 * 8 * 8
        assert sent.payload_bytes == 2 * 4 * tokens + counts
        assert report.redundancy == 1.0


def test_experts_by_all_reduce() -> None:
    """All ranks have all tokens, each computes those of its experts: the same share as if every expert were split."""
    model = model_of("mixtral", num_local_experts=8)
    split = step(model, {"tp": 4})
    report = step(model, {"tp": 4}, ep_size=4, ep_implementation="all_reduce")
    assert macs(report) == macs(split)
    assert any("2 of 8 experts" in text for text in report.assumptions)
    assert not any("of 2 experts" in text for text in report.assumptions)  # each token goes to 2 of 8


class Asks(nn.Module):
    """A model that asks a number of what it has received."""

    def __init__(self, run: Any) -> None:
        super().__init__()
        self.run = run

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.new_zeros(int(self.run(x)))


def ready(model: nn.Module, mesh: Any) -> None:
    model.register_buffer("ready", torch.empty(0, device="meta"))


def gathered(x: torch.Tensor) -> torch.Tensor:
    out = torch.empty(4, dtype=torch.int64)
    dist.all_gather_into_tensor(out, torch.tensor([5]))
    return out.sum()


def exchanged(x: torch.Tensor) -> torch.Tensor:
    out = torch.empty(4, dtype=torch.int64)
    dist.all_to_all_single(out, torch.tensor([1, 2, 3, 4]))
    return out.sum()


def functional(kind: str) -> Any:
    from torch.distributed import _functional_collectives

    return lambda x: _functional_collectives.all_reduce(torch.tensor(6), kind, dist.group.WORLD).item()


@pytest.mark.parametrize(
    ("run", "size"),
    [(gathered, 20), (exchanged, 12), (functional("sum"), 24), (functional("max"), 6)],
)
def test_numbers_go_through_collectives(run: Any, size: int) -> None:
    """On rank 2 of four that do the same: gathered 4 × 5, four times the third number, a sum and a maximum of sixes."""
    report = fxcost.analyze(Asks(run), (3,), mesh={"dp": 4}, parallelize=ready, rank=2)
    assert report.nodes[-1].inputs[0].shape == (size,)
    assert any("the same on all of them" in text for text in report.assumptions)
