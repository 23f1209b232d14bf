"""The report's sums, on recordings written by hand."""

from __future__ import annotations

import dataclasses
import pickle
import subprocess
import sys

import pytest
import torch
from hand_made import (
    ADD,
    ADD_COST,
    BLOCK_COST,
    CONV,
    CONV_COST,
    HEAD_COST,
    LINEAR,
    RELU_COST,
    Builder,
    deep_chain,
    module,
    operation,
    parameter,
    residual_net,
    spec,
)
from hypothesis import given
from hypothesis import strategies as st

from fxcost.errors import FxcostError, UnknownNameError
from fxcost.records.cost import Cost
from fxcost.records.recording import ModuleCall
from fxcost.report import Report


def test_totals_are_the_sum_of_all_nodes() -> None:
    """1 stem, 3 blocks of (conv, relu, add) and a head: each number added by hand."""
    report = residual_net()
    assert report.macs == 13_824 + 3 * 18_432 + 5_120
    assert report.flops == 2 * report.macs + 3 * 512 + 3 * 512 + 20
    assert report.bytes_read == 1_984 + 3 * (2_640 + 2_048 + 4_096) + 12_328
    assert report.bytes_written == 2_048 + 3 * 3 * 2_048 + 80
    assert report.activations == 512 + 9 * 512 + 20
    assert report.transcendentals == 0
    assert report.cost.macs == report.macs


def test_parameters_count_each_piece_of_memory_once() -> None:
    """The head's weight is tied, its bias frozen, and a 0-d integer buffer stands beside them."""
    report = residual_net()
    assert report.params == 108 + 3 * 144 + 2_560 + 10
    assert report.trainable_params == report.params - 10
    assert (report.buffers, report.buffer_bytes) == (1, 8)
    assert report.param_bytes == 4 * report.params
    assert report.params_by_dtype == {"float32": report.params}


def test_windows_of_one_storage_are_told_apart() -> None:
    """Two halves of one storage are two parameters, the same half twice is one, a storage of no number stands alone."""
    records = (
        parameter("a", shape=(4,), storage=0),
        parameter("b", shape=(4,), storage=0, offset=4),
        parameter("c", shape=(4,), storage=0, offset=4, trainable=False),
        parameter("d", shape=(3,), dtype=torch.bfloat16),
        parameter("e", shape=(3,), dtype=torch.bfloat16),
    )
    report = Builder().report((module("", "Net"),), records)
    assert report.params == 4 + 4 + 3 + 3
    assert report.trainable_params == report.params, "a window that one of its names trains is trained"
    assert report.param_bytes == 4 * 8 + 2 * 6
    assert report.params_by_dtype == {"float32": 8, "bfloat16": 6}
    assert [p.names for p in report.parameters][1] == ("b", "c")


def test_macs_go_to_the_dtype_of_the_first_numeric_input() -> None:
    """A mask is no operand; integer matmuls are told apart from floating-point ones."""
    mask, half, whole = spec(2, dtype=torch.bool), spec(2, dtype=torch.float16), spec(2, dtype=torch.int8)
    build = Builder()
    build.node("a", "call_function", "f", operations=(operation(LINEAR, Cost(macs=5), (mask, half)),))
    build.node("b", "call_function", "f", operations=(operation(LINEAR, Cost(macs=7), (whole,)),))
    build.node("c", "call_function", "f", operations=(operation(ADD, Cost(other_flops=9), (half,)),))
    assert build.report((module("", "Net"),)).macs_by_dtype == {"float16": 5, "int8": 7}


def test_modules_include_their_children_and_the_root_is_the_total() -> None:
    """A block costs its convolution and its addition; what a shared module does stands under its own name."""
    report = residual_net()
    costs = report.by_module()
    assert costs[""] == report.cost
    assert costs["blocks.1"] == BLOCK_COST + ADD_COST
    assert costs["blocks"] == (BLOCK_COST + ADD_COST) * 3
    assert costs["relu"] == RELU_COST * 3
    assert "blocks.1.act" not in costs
    assert report.by_module(own=True)["blocks.1"] == ADD_COST
    assert Cost.total(report.by_module(own=True).values()) == report.cost


def test_cost_of_takes_modules_aliases_and_nodes() -> None:
    """A name is looked up among modules, then their aliases, then nodes."""
    report = residual_net()
    assert report.cost_of("stem") == CONV_COST
    assert report.cost_of("blocks.2.act") == RELU_COST * 3
    assert report.cost_of("add_1") == ADD_COST
    assert report.cost_of("") == report.cost


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    """The error is an FxcostError and a LookupError, and names what was meant."""
    report = residual_net()
    with pytest.raises(UnknownNameError, match=r"no module or node named 'block\.1'.*'blocks\.1'"):
        report.cost_of("block.1")
    with pytest.raises(FxcostError, match="by_module"):
        report.cost_of("???")
    assert issubclass(UnknownNameError, LookupError)


def test_uncosted_operators_are_counted() -> None:
    """An operator without a rule is named with its runs, its traffic keeps its own family, its node is not costed."""
    report = residual_net(uncosted=True)
    assert report.uncosted == {"aten.grid_sampler_3d.default": 1}
    assert report.costed_nodes == len(report.nodes) - 1
    assert report.by_family()["uncosted"].bytes_read == 12_328
    assert residual_net().uncosted == {}


@pytest.mark.parametrize("uncosted", [False, True])
def test_operators_and_families_add_up_to_the_total(uncosted: bool) -> None:
    """Free and uncosted operators are among them."""
    report = residual_net(uncosted)
    assert Cost.total(report.by_operator().values()) == report.cost
    assert Cost.total(report.by_family().values()) == report.cost
    assert report.by_operator()["aten.flatten.using_ints"] == Cost()
    assert (report.operators[0].name, report.operators[0].count) == ("aten.convolution.default", 4)


def test_operations_stand_in_modules_that_the_model_does_not_list() -> None:
    """A scope joins the node's module; a module made inside a forward gets its place below the known ones."""
    build = Builder()
    inner = operation(CONV, CONV_COST, scope="made.deep")
    build.node("a", "call_module", "net", "net", operations=(inner, operation(ADD, ADD_COST)))
    report = build.report((module("", "Net"), module("net", "Net")))
    assert list(report.by_module()) == ["", "net", "net.made", "net.made.deep"]
    assert report.cost_of("net.made") == CONV_COST
    assert report.cost_of("net") == CONV_COST + ADD_COST
    assert report.modules["net.made"].type_name == ""


def test_calls_are_counted_from_what_capture_saw() -> None:
    """A module's calls and the result of its first one; containers are seen only there."""
    build = Builder()
    build.node("a", "call_module", "net.fc", "net.fc", (spec(2),))
    calls = tuple(ModuleCall(name, (), (), [spec(2), spec(3)], 0, 1) for name in ("net", "net.fc", "net.fc"))
    report = build.report((module("", "Net"), module("net", "Net"), module("net.fc", "Linear")), calls=calls)
    assert report.modules["net"].calls == 1
    assert report.modules["net.fc"].calls == 2
    assert report.modules["net"].outputs == (spec(2), spec(3))


names = st.lists(st.sampled_from("abc"), max_size=4).map(".".join)
costs = st.builds(Cost, **{f.name: st.integers(0, 10**20) for f in dataclasses.fields(Cost)})


@given(st.lists(st.tuples(names, names, costs), max_size=12), st.lists(names, max_size=6))
def test_any_tree_adds_up(runs: list[tuple[str, str, Cost]], listed: list[str]) -> None:
    """Own costs add up to the total, and a module is its own cost plus its children, whatever the model lists."""
    build = Builder()
    for i, (name, scope, cost) in enumerate(runs):
        build.node(f"n{i}", "call_function", "f", name, operations=(operation(ADD, cost, scope=scope),))
    records = tuple(parameter(f"{name}.weight".lstrip("."), shape=(3,)) for name in dict.fromkeys(listed))
    report = build.report(tuple(module(name, "M") for name in dict.fromkeys(["", *listed])), records)
    modules = report.modules
    assert Cost.total(report.by_module(own=True).values()) == report.cost == modules[""].cost
    for entry in modules.values():
        children = [modules[child] for child in entry.children]
        assert entry.cost == entry.own + Cost.total(child.cost for child in children)
        held = entry.own_parameters.params + sum(child.parameters.params for child in children)
        assert entry.parameters.params == held
    assert modules[""].parameters.params == report.params


def test_alike_modules_are_known_and_others_told_apart() -> None:
    """Equal blocks have one likeness, which neither their names nor their storages change."""
    modules = residual_net().modules
    assert modules["blocks.0"].likeness == modules["blocks.2"].likeness
    assert modules["blocks.0.conv"].likeness != modules["stem"].likeness


def test_depth_is_no_limit() -> None:
    """2,000 modules inside each other: sums, and every view, without recursion."""
    report = deep_chain(2_000)
    assert report.cost_of("m") == ADD_COST * 2_000
    assert len(report.by_module()) == 2_001
    assert report.table(depth=2_000, summary=False).count("\n") == 3 + 2_000 + 1 + 1_999
    assert '"depth"' not in report.to_json()
    assert report.to_dot(collapse=3_000).count("{") == report.to_dot(collapse=3_000).count("}")
    assert len(report.to_networkx()) == 2_000


def test_a_report_is_immutable() -> None:
    """Fields cannot be set, and what it hands out does not change it."""
    report = residual_net()
    with pytest.raises(dataclasses.FrozenInstanceError):
        report.nodes = ()  # type: ignore[misc]
    report.by_module().clear()
    report.uncosted["x"] = 1
    assert report.by_module()[""] == report.cost
    assert report.uncosted == {}


def test_an_empty_graph_has_a_report() -> None:
    """Nothing ran: all numbers are 0 and every view still works."""
    report = Builder().report((module("", "Empty"),))
    assert report.flops == report.params == 0
    assert "0 of 0 nodes costed" in str(report)
    assert report.table("node", format="github").count("\n") > 3
    assert report.to_dot().startswith("digraph")
    assert len(report.to_networkx()) == 0


def test_numbers_stay_exact_beyond_64_bits() -> None:
    """Sums are Python ints."""
    build = Builder()
    for i in range(3):
        build.node(f"n{i}", "call_function", "f", operations=(operation(LINEAR, Cost(macs=10**30 + 1)),))
    assert build.report((module("", "Net"),)).macs == 3 * 10**30 + 3


def test_the_graph_is_made_from_the_recording_when_asked_for() -> None:
    """`graph` is a GraphModule, made once."""
    graph = torch.fx.symbolic_trace(torch.nn.ReLU()).graph
    build = Builder()
    for node in graph.nodes:
        build.node(node.name, node.op, str(node.target), out=(spec(2),))
    report = build.report((module("", "ReLU"),))
    report = Report(dataclasses.replace(report.recording, graph=graph), report.nodes)
    assert isinstance(report.graph, torch.fx.GraphModule)
    assert report.graph is report.graph
    assert [node.meta["fxcost"].name for node in report.graph.graph.nodes] == [node.name for node in report.nodes]


def test_importing_a_report_imports_no_view() -> None:
    """tabulate is loaded when the first table is made."""
    code = "import sys, fxcost.report; print('tabulate' in sys.modules, 'fxcost.views.as_dot' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_head_cost_is_the_one_of_the_fixture() -> None:
    """The last family's cost is the head's alone."""
    assert residual_net().by_family()["matmul"] == HEAD_COST


def test_views_do_not_keep_a_report_from_being_copied() -> None:
    """The sums can be pickled."""
    report = residual_net()
    assert pickle.loads(pickle.dumps(report.to_dict())) == report.to_dict()
