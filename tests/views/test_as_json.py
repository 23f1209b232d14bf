"""JSON and CSV: exact, complete, and read back."""

from __future__ import annotations

import csv
import json
from io import StringIO
from pathlib import Path

from hand_made import ADD, ADD_COST, Builder, module, operation, residual_net, spec

from fxcost.records.cost import Cost
from fxcost.records.plain import COST_FIELDS
from fxcost.views.as_json import SCHEMA


def test_json_reads_back_as_the_dict() -> None:
    """All is plain data, with a version of the layout and of what made it."""
    report = residual_net(True, ("Routing is uniform.",))
    data = json.loads(report.to_json())
    assert data == report.to_dict()
    assert data["schema"] == SCHEMA == "fxcost.report/1"
    assert data["torch"].startswith("2.")
    assert data["fxcost"]


def test_json_has_the_totals_and_what_they_rest_on() -> None:
    """Exact integers, uncosted operators, assumptions and coverage."""
    report = residual_net(True, ("Routing is uniform.",))
    data = report.to_dict()
    assert data["totals"]["macs"] == report.macs == 69_120
    assert data["totals"]["flops"] == report.flops
    assert data["parameters"]["params"] == report.params
    assert data["parameters"]["tensors"][4]["names"] == ["head.weight", "tied.weight"]
    assert data["uncosted"] == {"aten.grid_sampler_3d.default": 1}
    assert data["assumptions"] == ["Routing is uniform."]
    assert data["coverage"] == {"nodes": 14, "costed_nodes": 13}
    assert data["model"] == {
        "type": "Net",
        "capture": "symbolic",
        "inputs": [{"name": "x", "tensors": [{"shape": [2, 3, 8, 8], "dtype": "float32", "bytes": 1536}]}],
    }


def test_the_parts_of_the_json_add_up() -> None:
    """Nodes, operations, own costs of modules, operators and families each add up to the totals."""
    data = residual_net().to_dict()
    for name in COST_FIELDS:
        total = data["totals"][name]
        assert sum(node["cost"][name] for node in data["nodes"]) == total
        assert sum(op["cost"][name] for node in data["nodes"] for op in node["operations"]) == total
        assert sum(m["own_cost"][name] for m in data["modules"]) == total
        assert sum(entry["cost"][name] for entry in data["operators"]) == total
        assert sum(entry["cost"][name] for entry in data["families"]) == total


def test_modules_name_their_parents() -> None:
    """The tree can be made again from a flat list, in which parents come first."""
    seen: set[str] = set()
    for entry in residual_net().to_dict()["modules"]:
        assert entry["parent"] is None or entry["parent"] in seen
        seen.add(entry["name"])


def test_numbers_are_integers_of_any_size() -> None:
    """10^30 MACs stay exact in JSON and CSV."""
    build = Builder()
    build.node("n", "call_function", "f", operations=(operation(ADD, Cost(macs=10**30 + 1)),))
    report = build.report((module("", "Net"),))
    assert json.loads(report.to_json())["totals"]["macs"] == 10**30 + 1
    assert f",{10**30 + 1}," in report.to_csv()


def test_files_hold_what_is_returned(tmp_path: Path) -> None:
    """Each view returns what it writes."""
    report = residual_net()
    for view, name in ((report.to_json, "r.json"), (report.to_csv, "r.csv"), (report.to_dot, "r.dot")):
        text = view(tmp_path / name)
        assert (tmp_path / name).read_bytes().decode() == text == view()


def test_csv_has_a_line_per_node() -> None:
    """Read by the csv module, the numbers add up, and missing prices are named."""
    report = residual_net(True)
    lines = list(csv.DictReader(StringIO(report.to_csv())))
    assert [line["name"] for line in lines] == [node.name for node in report.nodes]
    assert sum(int(line["macs"]) for line in lines) == report.macs
    assert lines[2]["input_shapes"] == "2×4×8×8"
    assert lines[-2]["uncosted"] == "aten.grid_sampler_3d.default"


def test_csv_quotes_what_needs_it() -> None:
    """Commas, quotes and newlines in a target stay in their field."""
    build = Builder()
    build.node("n", "call_function", 'f,"g"\nh', out=(spec(2),), operations=(operation(ADD, ADD_COST),))
    (line,) = csv.DictReader(StringIO(build.report((module("", "Net"),)).to_csv(), newline=""))
    assert line["target"] == 'f,"g"\nh'
