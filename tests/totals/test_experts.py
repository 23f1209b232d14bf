"""Mixture of experts: top-k routing, active parameters, experts that a batch touches."""

import itertools
from fractions import Fraction

import pytest
import torch
from torch import nn

import fxcost
from fxcost.rules.formulas import distinct

HIDDEN, INNER, EXPERTS, CHOSEN, LAYERS, HEADS, KV, VOCABULARY = 32, 48, 8, 2, 2, 4, 2, 100


def tiny_mixtral(implementation):
    """A Mixtral with 8 experts, 2 for each token."""
    transformers = pytest.importorskip("transformers")
    config = transformers.MixtralConfig(
        hidden_size=HIDDEN,
        intermediate_size=INNER,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KV,
        vocab_size=VOCABULARY,
        num_local_experts=EXPERTS,
        num_experts_per_tok=CHOSEN,
        experts_implementation=implementation,
    )
    return transformers.MixtralForCausalLM._from_config(config).eval()


@pytest.mark.parametrize("implementation", ["grouped_mm", "eager"])
def test_experts_cost_by_top_k_routing(implementation):
    """Projections, attention over all pairs, router, two experts of three matrices for each token, and the head."""
    tokens = 6
    report = fxcost.analyze(
        tiny_mixtral(implementation), {"input_ids": fxcost.spec(1, tokens, dtype="int64")}, {"use_cache": False}
    )
    attention = 2 * tokens * HIDDEN * HIDDEN + 2 * tokens * HIDDEN * (HIDDEN * KV // HEADS) + 2 * tokens**2 * HIDDEN
    routed = tokens * HIDDEN * EXPERTS + CHOSEN * tokens * 3 * HIDDEN * INNER
    assert report.macs == LAYERS * (attention + routed) + tokens * HIDDEN * VOCABULARY
    assert report.uncosted == {}


def test_active_parameters():
    """Of 8 experts a token uses 2: six experts' matrices in each layer are idle."""
    report = fxcost.analyze(tiny_mixtral("grouped_mm"), {"input_ids": fxcost.spec(1, 6, dtype="int64")})
    assert report.params - report.active_params == LAYERS * (EXPERTS - CHOSEN) * 3 * HIDDEN * INNER
    (layer, _) = report.expert_layers
    assert (layer.experts, layer.chosen, layer.tokens, layer.touched) == (EXPERTS, CHOSEN, 6, 7)


def test_the_report_says_how_many_experts_are_touched():
    """The assumption names the routing, the expected number of experts, and the bytes of their weights."""
    report = fxcost.analyze(tiny_mixtral("grouped_mm"), {"input_ids": fxcost.spec(1, 1, dtype="int64")})
    (sentence,) = [text for text in report.assumptions if text.startswith("mixture of experts")]
    assert "2 layers" in sentence
    assert "2 of 8 experts" in sentence
    assert "touch 2 of them" in sentence
    assert f"{2 * 2 * 3 * HIDDEN * INNER * 4:,} bytes" in sentence
    assert sentence in str(report)


def test_a_batch_reads_the_experts_that_it_touches():
    """One token reads two experts' weights, many tokens read all: the rest of the traffic grows with the tokens."""
    one, many = (
        fxcost.analyze(tiny_mixtral("grouped_mm"), {"input_ids": fxcost.spec(1, n, dtype="int64")}) for n in (1, 400)
    )

    def weights_read(report, tokens):
        total = sum(cost.bytes_read for name, cost in report.by_operator().items() if "grouped_mm" in name)
        rows = tokens * CHOSEN
        return total - LAYERS * 4 * (rows * HIDDEN + rows * INNER + 2 * EXPERTS)

    expert = 3 * HIDDEN * INNER * 4
    assert weights_read(one, 1) == LAYERS * 2 * expert
    assert weights_read(many, 400) == LAYERS * EXPERTS * expert


@pytest.mark.parametrize(("groups", "rows"), [(1, 3), (2, 1), (2, 5), (3, 4), (4, 5), (5, 0)])
def test_distinct_is_the_mean_over_all_routings(groups, rows):
    """Every way in which rows can fall on groups, counted."""
    ways = list(itertools.product(range(groups), repeat=rows))
    mean = Fraction(sum(len(set(way)) for way in ways), len(ways))
    assert distinct(groups, rows) == int(mean + Fraction(1, 2))


def test_a_dense_model_has_no_expert_layers():
    """All its parameters are active, and nothing is assumed."""
    report = fxcost.analyze(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 5)), (2, 3))
    assert report.expert_layers == ()
    assert report.active_params == report.params
    assert report.assumptions == ()


def test_stacked_weights_without_routing_are_no_experts():
    """A module with a 3-dimensional weight and an integer input of another shape is not taken for one."""

    class Heads(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(4, 3, 5))

        def forward(self, x, which):
            return torch.einsum("ni,hio->nho", x, self.weight) * which

    report = fxcost.analyze(Heads(), [(2, 3), fxcost.spec(1, dtype="int64")])
    assert report.expert_layers == ()
