"""What a picture draws: collapsing, folding and columns."""

from __future__ import annotations

import pytest
from hand_made import ADD, ADD_COST, LINEAR, Builder, deep_chain, module, operation, residual_net, spec, transformer
from torch import nn

import fxcost
from fxcost.records.cost import Cost
from fxcost.records.recording import ModuleCall
from fxcost.report import Report
from fxcost.views.blocks import MOST_LEVELS, Blocks, Box, Cluster, blocks, readable_blocks
from fxcost.views.columns import broken, column_breaks, crosses

REPORTS = [residual_net(), transformer(5), transformer(5, calls=False), deep_chain(6)]


def drawn_cost(drawing: Blocks) -> Cost:
    """The cost of all boxes."""
    return Cost.total(Cost.total(n.cost for n in drawing.nodes[b.start : b.stop]) * b.times for b in drawing.boxes)


@pytest.mark.parametrize("report", REPORTS)
@pytest.mark.parametrize("collapse", [1, 2, 3, 99])
@pytest.mark.parametrize("fold", [False, True])
def test_no_cost_is_lost_or_drawn_twice(report: Report, collapse: int, fold: bool) -> None:
    """Boxes add up to the total, and each node has a box, whatever is collapsed or folded."""
    drawing = blocks(report, collapse, fold)
    assert drawn_cost(drawing) == report.cost
    assert set(drawing.box_of) == set(range(len(drawing.boxes)))
    assert all(start < stop for start, stop in drawing.edges())


def names(drawing: Blocks) -> list[tuple[str, str, int]]:
    """Modules (or first nodes), last modules and times of the boxes."""
    return [(box.module or drawing.nodes[box.start].name, box.last_module, box.times) for box in drawing.boxes]


@pytest.mark.parametrize("calls", [True, False])
def test_repeated_layers_are_one_box(calls: bool) -> None:
    """With capture's calls or without them; calls on sizes are not drawn."""
    report = transformer(5, calls)
    assert names(blocks(report, 2)) == [
        ("x", "", 1),
        ("mask", "", 1),
        ("embed", "", 1),
        ("layers.0", "layers.4", 5),
        ("head", "", 1),
        ("output", "", 1),
    ]
    assert len(blocks(report, 2, fold=False).boxes) == 10
    assert [name for name, _, _ in names(blocks(report, 1))][3:4] == ["layers"]


def test_the_inside_of_a_repeated_layer_is_drawn_once() -> None:
    """Three boxes, each five times, in a cluster that says so; edges come from the mask, and lead to the head."""
    drawing = blocks(transformer(5), 9)
    assert [(name, times) for name, _, times in names(drawing)][3:6] == [("attn_0", 5), ("fc_0", 5), ("add_0", 5)]
    (layers,) = [item for item in drawing.root.items if isinstance(item, Cluster)]
    (layer,) = layers.items
    assert isinstance(layer, Cluster)
    assert (layers.module, layers.repeats) == ("layers", 1)
    assert (layer.module, layer.last_module, layer.repeats) == ("layers.0", "layers.4", 5)
    assert sorted(drawing.edges()) == [(0, 2), (1, 3), (2, 3), (2, 5), (3, 4), (4, 5), (5, 6), (6, 7)]


def test_a_different_layer_is_not_folded() -> None:
    """Same class, another cost."""
    build = Builder().node("x", "placeholder", "x", out=(spec(2),))
    for i, cost in enumerate((1, 1, 2, 1)):
        build.node(f"n{i}", "call_module", f"l.{i}", f"l.{i}", (spec(2),), (operation(LINEAR, Cost(macs=cost)),))
    modules = (module("", "Net"), *(module(f"l.{i}", "Linear") for i in range(4)))
    assert [times for _, _, times in names(blocks(build.report(modules), 9))] == [1, 2, 1, 1]


def chain(parts: list[str], reads: dict[int, tuple[str, ...]] | None = None) -> Report:
    """A Sequential of leaf modules, alike if their class is."""
    build = Builder().node("x", "placeholder", "x", out=(spec(2),))
    modules = [module("", "Sequential")]
    for i, part in enumerate(parts):
        modules.append(module(str(i), part))
        op = operation(ADD, ADD_COST)
        build.node(f"n{i}", "call_module", str(i), str(i), (spec(2),), (op,), (reads or {}).get(i))
    return build.report(tuple(modules))


def test_a_repeated_pattern_is_a_cluster() -> None:
    """(Linear, ReLU) × 100 is two boxes."""
    drawing = blocks(chain(["Linear", "ReLU"] * 100), 1)
    assert [times for _, _, times in names(drawing)] == [1, 100, 100]
    cluster = drawing.root.items[1]
    assert isinstance(cluster, Cluster)
    assert (cluster.module, cluster.repeats) == ("", 100)


def test_what_is_wired_differently_is_not_folded() -> None:
    """The third of four equal layers reads the input beside the one before it."""
    drawing = blocks(chain(["Linear"] * 4, {2: ("n1", "n0")}), 1)
    assert [times for _, _, times in names(drawing)] == [1, 2, 2]
    assert drawn_cost(drawing) == ADD_COST * 4


def test_parallel_experts_are_folded() -> None:
    """Modules numbered in sequence that read the same input."""
    drawing = blocks(chain(["Expert"] * 8, dict.fromkeys(range(8), ("x",))), 1)
    assert [times for _, _, times in names(drawing)] == [1, 8]


def test_equal_functions_side_by_side_are_not_folded() -> None:
    """Three views of one tensor are three boxes."""
    build = Builder().node("x", "placeholder", "x", out=(spec(2),))
    for i in range(4):
        build.node(f"v{i}", "call_function", "view", "", (spec(2),), (operation(ADD, ADD_COST),), ("x",))
    assert len(blocks(build.report((module("", "Net"),)), 1).boxes) == 5


def test_a_module_called_twice_in_a_row_is_two_boxes() -> None:
    """Only capture's calls tell the two apart; folded, they are one box that stands for two."""
    build, op = Builder().node("x", "placeholder", "x", out=(spec(2),)), operation(ADD, ADD_COST)
    for i in range(4):
        build.node(f"n{i}", "call_function", "operator.add", "block", (spec(2),), (op,))
    modules = (module("", "Net"), module("block", "Block"))
    calls = tuple(ModuleCall("block", (), (), spec(2), start, start + 2) for start in (1, 3))
    seen = blocks(build.report(modules, calls=calls), 1, fold=False)
    assert [(box.start, box.stop) for box in seen.boxes] == [(0, 1), (1, 3), (3, 5)]
    assert names(blocks(build.report(modules, calls=calls), 1))[1] == ("block", "block", 2)
    assert [(box.start, box.stop) for box in blocks(build.report(modules), 1).boxes] == [(0, 1), (1, 5)]


def test_projections_of_different_names_are_not_folded() -> None:
    """Query, key and value are alike in all but their names."""
    build, op = Builder().node("x", "placeholder", "x", out=(spec(2),)), operation(ADD, ADD_COST)
    for name in ("q_proj", "k_proj", "v_proj"):
        build.node(name, "call_module", name, name, (spec(2),), (op,), ("x",))
    modules = (module("", "Net"), *(module(name, "Linear") for name in ("q_proj", "k_proj", "v_proj")))
    assert [times for _, _, times in names(blocks(build.report(modules), 1))] == [1, 1, 1, 1]


def test_a_shared_module_does_not_tear_its_callers_apart() -> None:
    """ReLU stands at the root, but runs inside the blocks' calls."""
    report = residual_net()
    assert ("blocks.0", "blocks.2", 3) in names(blocks(report, 2))


def test_the_automatic_picture_is_as_deep_as_it_stays_readable() -> None:
    """Eight boxes show the inside of the layers, six do not."""
    report = transformer(5)
    assert len(readable_blocks(report, 8).boxes) == 8
    assert len(readable_blocks(report, 7).boxes) == 6


def test_a_flat_graph_of_many_nodes_is_merged() -> None:
    """2,000 different operations outside of any module become few boxes, and cost the same."""
    build = Builder().node("x", "placeholder", "x", out=(spec(1),))
    for i in range(2_000):
        build.node(f"n{i}", "call_function", "f", "", (spec(i + 2),), (operation(ADD, Cost(other_flops=i)),))
    report = build.node("output", "output", "output").report((module("", "Net"),))
    drawing = readable_blocks(report, 40)
    assert 30 <= len(drawing.boxes) <= 42
    assert drawn_cost(drawing) == report.cost
    assert sorted(drawing.edges()) == [(i, i + 1) for i in range(len(drawing.boxes) - 1)]
    assert len([item for item in drawing.root.items if isinstance(item, Box)]) == len(drawing.boxes)
    assert "f … f, 51 operations" in report.to_dot()


def test_deep_nesting_is_cut() -> None:
    """Graphviz is never given thousands of nested clusters."""
    assert len(blocks(deep_chain(1_000), 5_000).boxes) == MOST_LEVELS


def test_a_short_chain_stays_in_one_column() -> None:
    """Ten boxes."""
    assert column_breaks([()] * 10, {(i, i + 1) for i in range(9)}) == []


def test_a_long_chain_breaks_into_equal_columns() -> None:
    """80 boxes in four columns of 20."""
    assert column_breaks([()] * 80, {(i, i + 1) for i in range(79)}) == [20, 40, 60]


def test_a_break_goes_between_clusters() -> None:
    """20 boxes in four clusters of 5: the break in the middle is between two, and cuts none."""
    frames = [(i // 5,) for i in range(20)]
    edges = {(i, i + 1) for i in range(19)}
    breaks = column_breaks(frames, edges)
    assert breaks == [10]
    assert broken(frames, breaks) == set()
    assert crosses(breaks, (9, 10))
    assert not crosses(breaks, (10, 11))


def test_a_frame_around_all_is_broken_unless_it_is_repeated() -> None:
    """One cluster holds everything: a break goes through it, between its children; never through a folded one."""
    frames = [(0, 1 + i // 5) for i in range(20)]
    edges = {(i, i + 1) for i in range(19)}
    assert broken(frames, column_breaks(frames, edges)) == {0}
    assert column_breaks(frames, edges, whole={0}) == []


def test_no_break_where_many_tensors_pass() -> None:
    """Every box reads the first four."""
    edges = {(i, i + 1) for i in range(79)} | {(j, i) for i in range(5, 80) for j in range(4)}
    assert column_breaks([()] * 80, edges) == []


class _Left(nn.Linear):
    """A class that costs what its neighbour costs."""


class _Right(nn.Linear):
    """The neighbour."""


def test_modules_of_two_classes_are_not_one() -> None:
    """Neighbours that alternate are a pattern of two, however alike their costs; each has its own numbers."""
    model = nn.Sequential(*((_Left, _Right)[i % 2](8, 8) for i in range(12)))
    text = fxcost.analyze(model, (1, 8)).to_dot()
    assert "0 … 10  _Left" in text
    assert "1 … 11  _Right" in text
    assert "×12" not in text
