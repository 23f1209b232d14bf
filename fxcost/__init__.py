"""What does this PyTorch model cost?

>>> import fxcost, torch
>>> fxcost.analyze(torch.nn.Conv2d(3, 8, 3), (1, 3, 6, 6)).macs
3456
"""

from .analyze import analyze, analyze_graph, trace
from .errors import FxcostError
from .inputs import spec
from .records import Cost
from .registry import rule
from .report import Report

__version__ = "0.1.0"
__all__ = ["Cost", "FxcostError", "Report", "analyze", "analyze_graph", "rule", "spec", "trace"]
