"""Functions of whole numbers that are no polynomials, which symbolic sizes may keep as they are."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps


def keepable(function: Callable[[int, int], int]) -> Callable[[int, int], int]:
    """Let a size that stands for many (it has a method `kept`) answer for itself in place of the function."""

    @wraps(function)
    def asked(a: int, b: int) -> int:
        for number in (a, b):
            if hasattr(number, "kept"):
                answer: int = number.kept(function.__name__, (a, b))
                return answer
        return function(a, b)

    return asked


@keepable
def gcd(a: int, b: int) -> int:
    """The greatest common divisor.

    >>> gcd(12, 8)
    4
    """
    return math.gcd(a, b)
