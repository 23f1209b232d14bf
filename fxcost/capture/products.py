"""Products of sizes inside a function that stays whole in the graph.

`B * (H // window)` in Python is no torch call, so no mode sees it; a trace by torch.jit does, and torchprofile
counts it. So the sizes that such a function reads from a tensor are integers that note when they are multiplied.
"""

from __future__ import annotations

from typing import Any

import torch

from ..meta.segments import Segment


class Size(int):
    """An integer that came from a tensor's shape; what is computed from it and other integers is one too."""

    segment: Segment

    def __mul__(self, other: Any) -> Any:
        if not isinstance(other, int):
            return int(self) * other
        factors = int(self), int(other)
        self.segment.note("_operator.mul", False, factors, {}, None, len(self.segment.operations))
        return _as_size(factors[0] * factors[1], self.segment)

    def __add__(self, other: Any) -> Any:
        return _as_size(int(self) + other, self.segment)

    def __sub__(self, other: Any) -> Any:
        return _as_size(int(self) - other, self.segment)

    def __rsub__(self, other: Any) -> Any:
        return _as_size(other - int(self), self.segment)

    def __floordiv__(self, other: Any) -> Any:
        return _as_size(int(self) // other, self.segment)

    def __mod__(self, other: Any) -> Any:
        return _as_size(int(self) % other, self.segment)

    def __neg__(self) -> Any:
        return _as_size(-int(self), self.segment)

    __rmul__, __radd__ = __mul__, __add__

    def __reduce__(self) -> Any:
        return int, (int(self),)


def noting_products(value: Any, segment: Segment) -> Any:
    """What asking a tensor for its size gave, as :class:`Size`."""
    if isinstance(value, torch.Size):
        return torch.Size([_as_size(n, segment) for n in value])
    return _as_size(value, segment)


def _as_size(value: Any, segment: Segment) -> Any:
    if type(value) is not int:
        return value
    size = Size(value)
    size.segment = segment
    return size
