"""The FLOP count that NumPy prints for a contraction, which several tools take over with its rounding."""

from __future__ import annotations

from collections.abc import Sequence

from ..records.recording import TensorSpec


def normalized(equation: str) -> str:
    """An equation with its letters renamed in order of appearance.

    >>> normalized("bhqd, bhkd -> bhqk")
    'abcd,abed->abce'
    """
    equation = equation.replace(" ", "")
    letters = dict.fromkeys(c for c in equation if c.isalpha())
    return equation.translate({ord(c): 97 + i for i, c in enumerate(letters)})


def printed_count(equation: str, operands: Sequence[TensorSpec]) -> float:
    """NumPy's "Optimized FLOP count": one more than the cost, printed with four significant digits."""
    import numpy

    shapes = [numpy.broadcast_to(numpy.zeros(()), spec.shape) for spec in operands]
    _, report = numpy.einsum_path(normalized(equation), *shapes, optimize="optimal")
    line = next(line for line in report.splitlines() if "optimized flop" in line.lower())
    return float(line.split(":")[-1])
