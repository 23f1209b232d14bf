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

if TYPE_CHECKING:
    from .analyze import analyze, analyze_graph, trace
    from .check import check
    from .conventions import Convention, conventions
    from .cost import Cost
    from .devices import Device
    from .diff import diff
    from .errors import FxcostError
    from .fit import fit
    from .inputs import spec
    from .measure import measure
    from .measurement import Measurement
    from .registry import rule
    from .report import Report
    from .sweeps import sweep

__version__ = "0.1.0"
__all__ = [
    "Convention",
    "Cost",
    "Device",
    "FxcostError",
    "Measurement",
    "Report",
    "analyze",
    "analyze_graph",
    "check",
    "conventions",
    "diff",
    "fit",
    "measure",
    "rule",
    "spec",
    "sweep",
    "trace",
]

_HOMES = {
    "Convention": "conventions",
    "Cost": "cost",
    "Device": "devices",
    "FxcostError": "errors",
    "Measurement": "measurement",
    "Report": "report",
    "analyze": "analyze",
    "analyze_graph": "analyze",
    "check": "check",
    "conventions": "conventions",
    "diff": "diff",
    "fit": "fit",
    "measure": "measure",
    "rule": "registry",
    "spec": "inputs",
    "sweep": "sweeps",
    "trace": "analyze",
}


def __getattr__(name: str) -> Any:
    if name.endswith("Error") and name not in _HOMES:
        _HOMES[name] = "errors"  # the children of FxcostError
    if name not in _HOMES or (_HOMES[name] == "errors" and not hasattr(import_module(".errors", __name__), name)):
        raise AttributeError(f"module 'fxcost' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """A package in which a public name is never hidden by the submodule of that name (`analyze`)."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in __all__ and isinstance(value, ModuleType)):  # what importing a submodule would set
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
