"""What does this PyTorch model cost?

>>> import fxcost, torch
>>> fxcost.analyze(torch.nn.Conv2d(3, 8, 3), (1, 3, 6, 6)).macs
3456

The names below are imported when they are first used, so that `fxcost --help` need not wait for PyTorch.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .text.version import VERSION

if TYPE_CHECKING:
    from . import parallel
    from .analyze import analyze, analyze_graph, trace
    from .communication.links import Link
    from .compare.check import check
    from .compare.diff import diff
    from .compat.summary import summary
    from .conventions import Convention, conventions
    from .errors import FxcostError
    from .families import family
    from .fit import fit
    from .formula.dims import Dim
    from .model.inputs import spec
    from .pipeline.stages import stages
    from .plan.plan import plan
    from .ranks.world import fake_world
    from .records.cost import Cost
    from .records.recording import OpRecord
    from .report import Report
    from .rules import rule
    from .serving.generation import generation
    from .serving.per_token import per_token
    from .speed.devices import Device
    from .speed.peaks import peak
    from .sweeps import sweep
    from .timing.measure import measure
    from .timing.measurement import Measurement

__version__ = VERSION
__all__ = [
    "Convention",
    "Cost",
    "Device",
    "Dim",
    "FxcostError",
    "Link",
    "Measurement",
    "OpRecord",
    "Report",
    "analyze",
    "analyze_graph",
    "check",
    "conventions",
    "diff",
    "fake_world",
    "family",
    "fit",
    "generation",
    "measure",
    "parallel",
    "peak",
    "per_token",
    "plan",
    "rule",
    "spec",
    "stages",
    "summary",
    "sweep",
    "trace",
]

_HOMES = {
    "Convention": "conventions",
    "Cost": "records.cost",
    "Device": "speed.devices",
    "Dim": "formula.dims",
    "FxcostError": "errors",
    "Link": "communication.links",
    "Measurement": "timing.measurement",
    "OpRecord": "records.recording",
    "Report": "report",
    "analyze": "analyze",
    "analyze_graph": "analyze",
    "check": "compare.check",
    "diff": "compare.diff",
    "fake_world": "ranks.world",
    "family": "families",
    "fit": "fit",
    "generation": "serving.generation",
    "measure": "timing.measure",
    "peak": "speed.peaks",
    "per_token": "serving.per_token",
    "plan": "plan.plan",
    "rule": "rules",
    "spec": "model.inputs",
    "stages": "pipeline.stages",
    "summary": "compat.summary",
    "sweep": "sweeps",
    "trace": "analyze",
}


def __getattr__(name: str) -> Any:
    if name == "conventions":  # a room that can be called
        return import_module(".conventions", __name__)
    if name == "parallel":  # ready recipes, each a function of it
        return import_module(".parallel", __name__)
    if name.endswith("Error") and name not in _HOMES:
        _HOMES[name] = "errors"  # the children of FxcostError
    if name not in _HOMES or (_HOMES[name] == "errors" and not hasattr(import_module(".errors", __name__), name)):
        from .errors import nearest

        near = nearest(name, __all__)
        hint = f"; did you mean {' or '.join(near)}?" if near and not name.startswith("_") else ""
        raise AttributeError(f"module 'fxcost' has no attribute {name!r}{hint}", name=name, obj=sys.modules[__name__])
    value = globals()[name] = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


class _Package(ModuleType):
    """A package in which these names are functions, also once submodules of the same names are imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in ("analyze", "fit", "plan") and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
