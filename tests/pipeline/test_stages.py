"""Cuts against all possible ones, bytes against parts that run, split points against PyTorch's own pipelining."""

from __future__ import annotations

from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.distributed.pipelining import pipeline
from torch.fx.passes.split_module import split_module

import fxcost
from fxcost.pipeline import cutting
from fxcost.pipeline.cutting import cheapest_cuts, smallest_largest
from fxcost.pipeline.stages import Stages
from tests.ranks.nets import Net, net

TOKENS = fxcost.spec(2, 32, dtype="int64")


def parts(costs: list[int], cuts: tuple[int, ...] | list[int]) -> list[int]:
    borders = [0, *cuts, len(costs)]
    return [sum(costs[a:b]) for a, b in pairwise(borders)]


rows = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=8)


@given(rows, st.integers(1, 8), st.integers(0, 5), st.booleans())
def test_cuts_are_the_best_of_all(row: list[tuple[int, int]], k: int, more: int, long: bool) -> None:
    """Against every way to cut: the least largest part, then the least that is sent, then the most even parts."""
    costs, crossing = [cost for cost, _ in row], [n for _, n in row]
    k = min(k, len(costs))
    ways = list(combinations(range(1, len(costs)), k - 1))
    least = min(max(parts(costs, cuts)) for cuts in ways)
    assert smallest_largest(costs, k) == least
    fits = [cuts for cuts in ways if max(parts(costs, cuts)) <= least + more]
    price = lambda cuts: sum(crossing[c] for c in cuts)  # noqa: E731
    squares = lambda cuts: sum(p * p for p in parts(costs, cuts))  # noqa: E731
    found = (cutting._quickly if long else cheapest_cuts)(costs, crossing, k, least + more)
    assert tuple(found) in fits
    assert price(found) == min(map(price, fits))
    if not long:
        assert squares(found) == min(squares(cuts) for cuts in fits if price(cuts) == price(found))


def received(graph: torch.fx.GraphModule, found: Stages, inputs: Any) -> list[int]:
    """Bytes that each part of a graph, cut up by PyTorch and run, is given by the parts before it."""
    split = split_module(graph, None, found.part)  # type: ignore[arg-type]
    given: dict[str, int] = {}

    class Run(torch.fx.Interpreter):
        def run_node(self, n: torch.fx.Node) -> Any:
            if n.op == "call_module":
                args, _ = self.fetch_args_kwargs_from_env(n)
                made = [a for a, node in zip(args, n.args, strict=True) if node.op != "placeholder"]  # type: ignore[union-attr]
                given[str(n.target)] = sum(a.numel() * a.element_size() for a in made if isinstance(a, torch.Tensor))
            return super().run_node(n)

    with torch.no_grad():
        Run(split).run(inputs)
    return [given[f"submod_{i}"] for i in range(1, len(found.stages))]


class Skipping(nn.Module):
    """Each layer reads what all before it made: much crosses every cut."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8 * (i + 1), 8) for i in range(5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        seen = [x]
        for layer in self.layers:
            seen.append(layer(torch.cat(seen, 1)))
        return seen[-1]


@pytest.mark.parametrize("by", ["module", "node"])
@pytest.mark.parametrize("k", [2, 3])
def test_what_crosses_is_what_parts_are_given(by: str, k: int) -> None:
    """PyTorch cuts the graph into modules and runs them; a stage gets from the one before all that is alive."""
    report = fxcost.analyze(net(layers=4), TOKENS)
    found = fxcost.stages(report, k, by=by)
    tokens = torch.zeros(2, 32, dtype=torch.int64, device="meta")
    assert [cut.bytes for cut in found.cuts] == received(report.graph, found, tokens)


def test_what_skips_a_stage_crosses_all_cuts() -> None:
    """A tensor that later stages read is alive at every cut before them; the model's inputs stand apart.

    Before layer i stand what the layers before it made, but for the last cut, and the whole of it in a row.
    """
    report = fxcost.analyze(Skipping(), (4, 8))
    found = fxcost.stages(report, 5, by="module")
    one = 4 * 8 * 4
    assert [cut.bytes for cut in found.cuts] == [one * n for n in (1 + 2, 2 + 3, 3 + 4, 5)]
    assert [cut.input_bytes for cut in found.cuts] == [one, one, one, 0]
    assert [cut.bytes for cut in found.cuts] == received(report.graph, found, torch.empty(4, 8, device="meta"))


def test_stages_are_the_whole_model() -> None:
    """Costs, nodes and parameters add up to the report's; training says what each saves."""
    report = fxcost.analyze(net(layers=4), TOKENS, training=True)
    for by in ("module", "node"):
        found = fxcost.stages(report, 3, by=by)
        assert sum(stage.cost.macs for stage in found.stages) == report.macs
        assert sum(stage.param_bytes for stage in found.stages) == report.param_bytes
        assert [name for stage in found.stages for name in stage.nodes] == [node.name for node in report.nodes]
        assert report.training is not None
        assert sum(stage.saved_bytes or 0 for stage in found.stages) == report.training.saved_bytes
        assert max(found.costs) * 3 == pytest.approx(found.imbalance * sum(found.costs))


def test_one_stage_is_the_model() -> None:
    """It needs what the model needs, and nobody waits."""
    report = fxcost.analyze(net(), TOKENS)
    [stage] = fxcost.stages(report, 1).stages
    assert stage.cost == report.cost
    assert stage.peak_bytes == report.memory.peak_bytes
    assert fxcost.stages(report, 1).bubble(4) == 0.0


def test_bubbles() -> None:
    """(k − 1) / (m + k − 1) of the time, for equal stages; a simulation of 1F1B's forward half says the same."""
    model = nn.Sequential(*(nn.Linear(8, 8, bias=False) for _ in range(8)))
    found = fxcost.stages(fxcost.analyze(model, (2, 8)), 4)
    assert found.imbalance == 1.0
    for m in (1, 4, 16):
        done = [[0] * (m + 1) for _ in range(4 + 1)]
        for stage in range(1, 5):
            for batch in range(1, m + 1):
                done[stage][batch] = max(done[stage - 1][batch], done[stage][batch - 1]) + 1
        assert found.bubble(m) == pytest.approx(1 - m / done[4][m])


def test_split_points_are_those_of_pytorch() -> None:
    """`pipeline` cuts the model where we say, into stages with the same parameters."""
    model = Net(layers=4)
    found = fxcost.stages(fxcost.analyze(model, TOKENS), 3)
    pipe = pipeline(model, mb_args=(torch.zeros(2, 32, dtype=torch.int64),), split_spec=found.split_spec())
    assert pipe.num_stages == 3
    theirs = [sum(4 * p.numel() for p in pipe.get_stage_module(i).parameters()) for i in range(3)]
    assert theirs == [stage.param_bytes for stage in found.stages]


def test_blocks_are_units() -> None:
    """Of a transformer its layers, the embedding, the norm and the head; a list in a list is one."""
    found = fxcost.stages(fxcost.analyze(net(layers=2), TOKENS), 5)
    assert [unit for stage in found.stages for unit in stage.units] == [
        "tok_embeddings", "layers.0", "layers.1", "norm", "output",
    ]  # fmt: skip
    nested = nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), nn.Linear(2, 2))
    cuts = fxcost.stages(fxcost.analyze(nested, (1, 2)), 3).cuts
    assert [cut.before for cut in cuts] == ["0.1", "1"]


def test_the_head_weighs_as_much_as_layers() -> None:
    """With a large vocabulary: slack lets the slowest stage be slower where less is sent, never by more."""
    report = fxcost.analyze(net(layers=8, vocab=8192), TOKENS)
    tight, loose = (fxcost.stages(report, 4, by="node", slack=slack) for slack in (0.0, 0.5))
    assert max(tight.costs) <= max(loose.costs) <= 1.5 * max(tight.costs)
    assert sum(cut.bytes for cut in loose.cuts) <= sum(cut.bytes for cut in tight.cuts)


@pytest.mark.parametrize(
    ("how", "error", "said"),
    [
        ({"k": 0}, fxcost.PipelineError, "k is 1 to 5"),
        ({"k": 6}, fxcost.PipelineError, "by='node' cuts anywhere"),
        ({"k": 2, "by": "layer"}, fxcost.UnknownNameError, "module, node"),
        ({"k": 2, "balance": "time"}, fxcost.UnknownNameError, "flops, macs, bytes"),
        ({"k": 2, "slack": -1.0}, fxcost.PipelineError, "slack"),
        ({"k": "2"}, fxcost.InputError, "whole number"),
    ],
)
def test_bad_input(how: dict[str, Any], error: type[Exception], said: str) -> None:
    """Each in words of its own."""
    report = fxcost.analyze(net(), TOKENS)
    with pytest.raises(error) as caught:
        fxcost.stages(report, **how)
    assert said in str(caught.value)
    found = fxcost.stages(report, 2, by="node")
    with pytest.raises(fxcost.PipelineError, match="no split points"):
        found.split_spec()
    with pytest.raises(fxcost.PipelineError, match="1 or more"):
        found.bubble(0)
    with pytest.raises(fxcost.PipelineError, match="a report of fxcost"):
        fxcost.stages(net(), 2)


def test_command_line(run: Any, tmp_path: Path) -> None:
    """Of a model as of a report in a file, to the same stages."""
    path = str(tmp_path / "report.json")
    assert run("torchvision:resnet18", "--json", path)[0] == 0
    code, said, _ = run("stages", "torchvision:resnet18", "-k", "3", "--microbatches", "8")
    assert code == 0
    assert "Bubble with 8 microbatches: " in said
    assert run("stages", path, "-k", "3", "--microbatches", "8")[1] == said
    code, _, error = run("stages", "torchvision:resnet18", "-k", "99")
    assert (code, "k is 1 to" in error) == (2, True)
