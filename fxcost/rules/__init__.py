"""What an operator costs: rules, one file per family of operators, and the formulas that they put numbers into.

In: `OpRecord`s. Out: `OpCost` and `NodeCost`, made by pricing.py. A *formula* takes sizes and returns integers
(formulas/, without torch), a *rule* unpacks an `OpRecord` and calls formulas, the *registry* says which rule prices
which operator. built_in.py lists the families, user.py has what users register. May use `records`, and `meta` for the
operators that it defines.
"""

from .built_in import BUILT_IN
from .user import default_registry, rule

__all__ = ["BUILT_IN", "default_registry", "rule"]
