"""Prices of records: what follows from the record alone, and what a rule may override."""

import torch
from torch import nn

import fxcost
from tests.recording import price

aten = torch.ops.aten


def test_an_operator_that_produces_nothing_moves_nothing():
    """An empty lookup does not read its table."""
    table, rows = torch.empty(1000, 16), torch.empty(0, dtype=torch.int64)
    assert price(aten.embedding.default, table, rows).bytes_moved == 0


def test_memory_for_results_is_not_read():
    """`out=` receives results: 2 × 4 floats are read and 4 are written."""
    x, y, out = torch.empty(4), torch.empty(4), torch.empty(4)
    cost = price(aten.add.out, x, y, out=out)
    assert (cost.bytes_read, cost.bytes_written, cost.activations) == (32, 16, 4)


def test_attention_has_one_activation_per_output_element():
    """What a kernel keeps for its backward (the log-sum-exp) is no activation."""
    q = (2, 3, 5, 4)
    cost = fxcost.analyze(nn.functional.scaled_dot_product_attention, [q, q, q]).cost
    assert cost.activations == 2 * 3 * 5 * 4


def test_equal_layers_are_priced_once():
    """Two equal layers cost the same; an operation that is equal to another is asked of its rule once."""
    layers = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    first, second = [n for n in fxcost.analyze(layers, (2, 4), capture="symbolic").nodes if n.kind == "call_module"]
    assert [op.cost for op in first.operations] == [op.cost for op in second.operations]
    assert first.cost.macs == 2 * 4 * 4


def test_a_rule_that_reads_something_else_is_asked_anew() -> None:
    """What a rule of the user's reads may have changed since the last analysis."""
    state = {"each": 5}

    def rule(_op: fxcost.OpRecord) -> fxcost.Cost:
        return fxcost.Cost(other_flops=state["each"])

    def counted() -> int:
        return fxcost.analyze(nn.Tanh(), (2, 4), rules={aten.tanh: rule}).flops

    assert counted() == 5
    state["each"] = 9
    assert counted() == 9
    library = torch.library.Library("test_pricing_anew", "FRAGMENT")
    library.define("twice(Tensor x) -> Tensor")
    library.impl("twice", torch.empty_like, "Meta")
    fxcost.rule(torch.ops.test_pricing_anew.twice)(rule)
    for state["each"] in (1, 2, 1):
        assert fxcost.analyze(lambda x: torch.ops.test_pricing_anew.twice(x), (2, 4)).flops == state["each"]
