"""What the numbers and words of records can be: marks for their annotations, which a reader of files goes by.

`Count` is an int for everybody else. A count is bounded far above all that a model can have, so that the quotient of
any two, as a float, is one: a page that shows it must not fail.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True, slots=True)
class Between:
    """Marks a whole number: at least `least`, at most `most`."""

    least: int
    most: int


@dataclass(frozen=True, slots=True)
class OneOf:
    """Marks a word: one of `words`."""

    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Filled:
    """Marks a tuple that is never empty."""


MOST = 2**256
"""No count comes near: an exaflop machine that had run since the Big Bang would have done 2**119 operations."""
LARGEST = 2**63 - 1
"""The largest size, stride or position that PyTorch can have."""

Count = Annotated[int, Between(0, MOST)]
"""How many: FLOPs, bytes, elements."""
Size = Annotated[int, Between(0, LARGEST)]
"""A size, stride or offset of a tensor."""
Position = Annotated[int, Between(0, LARGEST)]
"""A place in a sequence that begins at 0."""
Storage = Annotated[int, Between(-1, LARGEST)]
"""The number of a storage; -1 where it has none."""
