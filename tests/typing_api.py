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
assert_type(fxcost.Report.from_json(report.to_json()), fxcost.Report)
assert_type(fxcost.Report.from_dict(report.to_dict()), fxcost.Report)
assert_type(report.to_speedscope(weight="time", device="h100"), str)
assert_type(report.to_model_explorer("net.json"), str)
assert_type(report.to_svg(collapse=2), str)
assert_type(report.to_png("net.png"), bytes)
assert_type(report.to_markdown(depth=1), str)
assert_type(report.nodes[0].name, str)
assert_type(report.nodes[0].cost, fxcost.Cost)

fxcost.analyze(model, [fxcost.spec(2, 3, dtype=torch.float16)], {"flag": True}, capture="concrete", strict=True)
fxcost.analyze(lambda x: x @ x, torch.ones(3, 3), dtype="bfloat16", leaf_modules=(nn.Sequential, "encoder.layer"))

found = fxcost.sweep([("timm:resnet18", (1, 3, 224, 224)), {"model": model, "inputs": (2, 3)}], processes=2)
assert_type(found.errors, dict[str, str])
assert_type([row.macs for row in found], list[int | None])
assert_type(found.to_csv(), str)

graph = fxcost.trace(model, (2, 3))
assert_type(graph, fx.GraphModule)
assert_type(fxcost.analyze_graph(graph, (5, 3)), fxcost.Report)

assert_type(report.cost + report.cost, fxcost.Cost)
assert_type(report.cost * 3, fxcost.Cost)

roofline = report.roofline("h100", dtype="tf32", fusion="pointwise")
assert_type(roofline.latency_s, float)
assert_type(roofline.nodes[0].bound, str)
assert_type(fxcost.Device.named("h100"), fxcost.Device)
assert_type(fxcost.Device.calibrate("cpu", dtypes=[torch.float32], seconds=1.0), fxcost.Device)
measurement = fxcost.measure(model, (2, 3), warmup=1, runs=2, device="h100", training=True)
assert_type(measurement, fxcost.Measurement)
assert_type(measurement.mfu, float)
assert_type(measurement.throughput, float | None)

changes = fxcost.diff(report, report)
assert_type(bool(changes), bool)
assert_type(changes.totals[0].change, int)
assert_type(changes.rows[0].name, str)
assert_type(changes.to_markdown(), str)
verdict = fxcost.check(report, max_macs="4.2G", baseline=report, tolerance="1%")
assert_type(verdict.ok, bool)
assert_type(verdict.broken[0].actual, int)
assert_type(report.explain("0").cost, fxcost.Cost)
assert_type(report.explain("0").operations[0].terms[0].formula, str)

try:
    fxcost.analyze(model, (2, 4))
except fxcost.FxcostError as error:
    assert_type(str(error), str)
