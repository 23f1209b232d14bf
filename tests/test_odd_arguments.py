"""Every public function, given anything at all for any of its arguments: it answers, or raises an error of ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

import fxcost

X = (2, 4)


def net() -> nn.Module:
    """A small model that trains."""
    return nn.Sequential(nn.Linear(4, 3), nn.ReLU())


@dataclass(frozen=True)
class Question:
    """A public function, what it is given as a rule, and the arguments in whose places odd values are put."""

    function: Callable[..., Any]
    given: dict[str, Any] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    positional: tuple[str, ...] = ()

    def ask(self, argument: str, value: Any) -> Any:
        """The answer with an odd value."""
        given = {**self.given, argument: value}
        return self.function(*(given.pop(name) for name in self.positional), **given)


REPORT = fxcost.analyze(net(), X, training=True)
ROOFLINE = REPORT.roofline("h100")
DIFF = fxcost.diff(REPORT, fxcost.analyze(nn.Linear(4, 3), X))
DEVICE = {"name": "mine", "flops_per_s": {"float32": 1e12}, "bytes_per_s": 1e10, "memory_bytes": 2**30}
MODEL = {"model": net(), "inputs": X}


def of(function: Callable[..., Any], *arguments: str, positional: tuple[str, ...] = (), **given: Any) -> Question:
    """A question."""
    return Question(function, given, arguments, positional)


def written(path: Any) -> Callable[..., Any]:
    return path


ANALYZE = ("model", "inputs", "kwargs", "dtype", "rules", "strict", "training", "optimizer", "loss")
QUESTIONS: dict[str, Question] = {
    "analyze": of(fxcost.analyze, *ANALYZE, "capture", "leaf_modules", "real_limit", **MODEL),
    "analyze, training": of(fxcost.analyze, "optimizer", "loss", "inputs", training=True, **MODEL),
    "analyze, concrete": of(fxcost.analyze, "inputs", "kwargs", "dtype", capture="concrete", **MODEL),
    "analyze, embedding": of(fxcost.analyze, "inputs", model=nn.Embedding(10, 4), capture="concrete"),
    "analyze, two inputs": of(lambda model, x: fxcost.analyze(model, [X, x]), "x", model=lambda a, b: a),
    "analyze, by name": of(lambda model, x: fxcost.analyze(model, {"input": x}), "x", model=nn.Linear(4, 4)),
    "analyze_graph": of(
        lambda model, **given: fxcost.analyze_graph(model, **given),
        *ANALYZE,
        model=torch.fx.symbolic_trace(net()),
        inputs=X,
    ),
    "trace": of(fxcost.trace, "model", "inputs", "kwargs", "capture", "dtype", "leaf_modules", **MODEL),
    "fit": of(
        fxcost.fit,
        "model",
        "inputs",
        "kwargs",
        "memory",
        "training",
        "optimizer",
        "reserve",
        "capture",
        "dtype",
        memory="1MB",
        **MODEL,
    ),
    "check": of(
        lambda report, **limits: fxcost.check(report, **limits),
        *(
            "report",
            "max_macs",
            "max_flops",
            "max_param_bytes",
            "max_peak_memory",
            "no_uncosted",
            "baseline",
            "tolerance",
        ),
        report=REPORT,
        max_params=100,
    ),
    "check, baseline": of(fxcost.check, "tolerance", "baseline", report=REPORT, baseline=REPORT),
    "diff": of(fxcost.diff, "before", "after", before=REPORT, after=REPORT),
    "diff.text": of(DIFF.text, "format", "depth"),
    "rule": of(
        lambda op=torch.ops.aten.mm, **given: fxcost.rule(op, **given)(lambda record: fxcost.Cost()),
        "op",
        "family",
        "override",
    ),
    "spec": of(lambda size, dtype=None: fxcost.spec(size, 4, dtype=dtype), "size", "dtype", size=2),
    "spec of a shape": of(lambda shape: fxcost.spec(shape), "shape"),
    "Device": of(
        fxcost.Device,
        *DEVICE,
        "source",
        "keys",
        "overhead_s",
        "efficiency",
        **DEVICE,
    ),
    "Device.named": of(fxcost.Device.named, "name"),
    "Device.peak": of(fxcost.Device.named("h100").peak, "dtype"),
    "Device.ridge": of(fxcost.Device.named("h100").ridge, "dtype"),
    "Device.calibrate": of(fxcost.Device.calibrate, "place", "dtypes", "seconds", seconds=0.01, dtypes=["float32"]),
    "Device.fitted": of(fxcost.Device.named("h100").fitted, "measurements"),
    "Convention": of(
        lambda **given: REPORT.counts(fxcost.Convention(**given)),
        "name",
        "summary",
        "unit",
        "tallies",
        "figures",
        "unseen",
        "family",
        name="mine",
        summary="",
        unit="MACs",
        tallies={"macs": lambda seen: ()},
    ),
    "report.roofline": of(REPORT.roofline, "device", "dtype", "fusion", device="h100"),
    "roofline.table": of(ROOFLINE.table, "top", "format", "sort"),
    "report.explain": of(REPORT.explain, "name", "rules"),
    "report.count": of(REPORT.count, "convention"),
    "report.counts": of(REPORT.counts, "convention"),
    "report.reconcile": of(lambda convention: REPORT.reconcile(convention), "convention"),
    "report.compared": of(
        lambda convention, format="plain": REPORT.compared(convention, format=format),  # noqa: A006
        "convention",
        "format",
        convention="macs",
    ),
    "report.table": of(REPORT.table, "by", "depth", "top", "sort", "columns", "format", "fold", "summary"),
    "report.cost_of": of(REPORT.cost_of, "name"),
    "report.canonical": of(REPORT.canonical, "module"),
    "report.by_module": of(REPORT.by_module, "own"),
    "report.to_dot": of(REPORT.to_dot, "path", "collapse", "fold"),
    "report.to_svg": of(REPORT.to_svg, "path", "collapse", "fold"),
    "report.to_markdown": of(REPORT.to_markdown, "path", "depth"),
    "report.to_dataframe": of(REPORT.to_dataframe, "by"),
    "report.to_speedscope": of(REPORT.to_speedscope, "path", "weight", "device"),
    **{
        f"report.to_{kind}": of(getattr(REPORT, f"to_{kind}"), "path")
        for kind in ("json", "csv", "html", "model_explorer")
    },
    "Report.from_json": of(fxcost.Report.from_json, "source"),
    "Report.from_dict": of(fxcost.Report.from_dict, "data"),
    "memory.table": of(REPORT.memory.table, "top", "format"),
    "memory.chart": of(REPORT.memory.chart, "width", "height"),
    "memory.plot": of(REPORT.memory.plot, "path"),
    "training.table": of(REPORT.training.table, "top", "format"),
    "training.chart": of(REPORT.training.chart, "width", "height"),
}
