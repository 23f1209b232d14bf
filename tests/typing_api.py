"""Uses the public API as a typed program would. Checked by mypy in test_public_api.py, never run."""

from __future__ import annotations

from typing import assert_type

import torch
from torch import fx, nn

import fxcost

model = nn.Sequential(nn.Linear(3, 4), nn.ReLU())

report = fxcost.analyze(model, (2, 3))
assert_type(report, fxcost.Report)
assert_type(report.macs, int)
assert_type(report.flops, int)
assert_type(report.params, int)
assert_type(report.cost, fxcost.Cost)
assert_type(report.cost_of("0"), fxcost.Cost)
assert_type(report.by_module(), dict[str, fxcost.Cost])
assert_type(report.uncosted, dict[str, int])
assert_type(report.assumptions, tuple[str, ...])
assert_type(report.capture, str)
assert_type(report.graph, fx.GraphModule)
assert_type(report.table(), str)
assert_type(report.nodes[0].name, str)
assert_type(report.nodes[0].cost, fxcost.Cost)

fxcost.analyze(model, [fxcost.spec(2, 3, dtype=torch.float16)], {"flag": True}, capture="concrete", strict=True)
fxcost.analyze(lambda x: x @ x, torch.ones(3, 3), dtype="bfloat16", leaf_modules=(nn.Sequential, "encoder.layer"))

graph = fxcost.trace(model, (2, 3))
assert_type(graph, fx.GraphModule)
assert_type(fxcost.analyze_graph(graph, (5, 3)), fxcost.Report)

assert_type(report.cost + report.cost, fxcost.Cost)
assert_type(report.cost * 3, fxcost.Cost)

try:
    fxcost.analyze(model, (2, 4))
except fxcost.FxcostError as error:
    assert_type(str(error), str)
