"""What a picture draws: collapsing, folding and columns."""

from __future__ import annotations

import pytest
import torch
from hand_made import ADD, ADD_COST, LINEAR, Builder, deep_chain, module, operation, residual_net, spec, transformer
from torch import nn

import fxcost
from fxcost.records.cost import Cost
from fxcost.records.recording import ModuleCall
from fxcost.report import Report
from fxcost.views.blocks import MOST_LEVELS, Blocks, Box, Cluster, blocks, call_paths, readable_blocks
from fxcost.views.columns import broken, column_breaks, column_of

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
        build.node(
            f"n{i}", "call_function", f"f{i * i % 1013}", "", (spec(i + 2),), (operation(ADD, Cost(other_flops=i)),)
        )
    report = build.node("output", "output", "output").report((module("", "Net"),))
    drawing = readable_blocks(report, 40)
    assert 30 <= len(drawing.boxes) <= 42
    assert drawn_cost(drawing) == report.cost
    assert sorted(drawing.edges()) == [(i, i + 1) for i in range(len(drawing.boxes) - 1)]
    assert len([item for item in drawing.root.items if isinstance(item, Box)]) == len(drawing.boxes)
    assert "f0 … f474, 51 operations" in report.to_dot()


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
    assert [column_of(breaks, i) for i in (0, 9, 10, 19)] == [0, 0, 1, 1]


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
    assert "0, 2 … 10\\l_Left" in text
    assert "1, 3 … 11\\l_Right" in text
    assert "×12" not in text


class Branched(nn.Module):
    """A block of two branches."""

    def __init__(self, wide: int) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(8, wide), nn.Sequential(nn.Linear(8, wide), nn.ReLU())
        self.last = nn.Linear(wide, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.left(x) + self.right(x))


class Grown(nn.Module):
    """Ten blocks of one structure, each of another width, under names that are no numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(8, 8)
        for i in range(10):
            setattr(self, f"block{'ab'[i // 5]}{'vwxyz'[i % 5]}", Branched(3 + i))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for child in self.children():
            x = child(x)
        return x


def test_blocks_of_other_sizes_fold_where_nothing_could_be_shown_else() -> None:
    """Their branches are drawn once, cost what all of them cost, and say their sizes from the first to the last."""
    report = fxcost.analyze(Grown(), (2, 8))
    assert len(readable_blocks(report, 40, fold=False).boxes) == 13
    drawing = readable_blocks(report, 40)
    (folded,) = [item for item in drawing.root.items if isinstance(item, Cluster)]
    assert (folded.module, folded.last_module, folded.repeats) == ("blockav", "blockbz", 10)
    assert len(folded.items) == 4
    costs = [Cost.total(node.cost for node in nodes) for nodes in drawing.members()]
    assert Cost.total(costs) == report.cost
    text = report.to_dot()
    assert "left  Linear ×10\\n2×3 … 2×12" in text
    assert "blockav … blockbz" in text
    assert all(item.repeats == 1 for item in blocks(report, 2).root.items if isinstance(item, Cluster))


def test_a_pattern_says_which_modules_it_takes() -> None:
    """Layers in turn: every second one, which "0–18" would not say."""
    report = fxcost.analyze(
        nn.Sequential(*(f() for _ in range(10) for f in (lambda: nn.Linear(8, 8), nn.ReLU))), (2, 8)
    )
    text = report.to_dot()
    assert "0, 2 … 18  Linear ×10" in text
    assert "1, 3 … 19  ReLU ×10" in text


def test_a_module_with_one_child_is_around_it() -> None:
    """Both run through the same nodes; the outer one returns last."""
    report = fxcost.analyze(nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), nn.Linear(4, 4)), (2, 4))
    inside = nn.Sequential(nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.ReLU())), nn.Linear(4, 4))
    assert [part for part, _ in call_paths(fxcost.analyze(inside, (2, 4)), 9)[1]] == ["0", "0.0", "0.0.0"]
    assert [part for part, _ in call_paths(report, 9)[1]] == ["0", "0.0"]
