"""What an operator costs: rules, one file per family of operators, and the formulas that they put numbers into."""

from .built_in import BUILT_IN
from .user import default_registry, rule

__all__ = ["BUILT_IN", "default_registry", "rule"]
