"""Numbers that count what is done with them, to run reference algorithms on.

A :class:`Number` behaves like a float and books every operation in a :class:`Tally`. A reference algorithm is plain
Python over numpy arrays of such numbers, written from the operator's definition; :func:`prove` runs it and asserts
that its values are PyTorch's and its counts are the rule's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from recording import price

from fxcost import Cost


@dataclass
class Tally:
    """What was counted so far."""

    macs: int = 0
    flops: int = 0
    transcendentals: int = 0
    zero_accumulators: int = 0

    @property
    def cost(self) -> Cost:
        return Cost(
            macs=self.macs,
            other_flops=self.flops,
            transcendentals=self.transcendentals,
            zero_accumulators=self.zero_accumulators,
        )


_tally = Tally()


@contextmanager
def counting() -> Iterator[Tally]:
    """A fresh tally, to which all numbers count until the block ends."""
    global _tally
    before, _tally = _tally, Tally()
    try:
        yield _tally
    finally:
        _tally = before


def _float(x: Any) -> float:
    return x.value if isinstance(x, Number) else float(x)


def _counted(function: Callable[..., Any], *operands: Any, transcendental: bool = False) -> Any:
    _tally.flops += 1
    _tally.transcendentals += transcendental
    try:
        result = function(*map(_float, operands))
    except (ValueError, ZeroDivisionError, OverflowError):  # where PyTorch has nan or inf
        result = math.nan
    return result if isinstance(result, bool) else Number(result)


class Number:
    """A float whose arithmetic and comparisons are counted."""

    __slots__ = ("value",)
    __hash__ = None

    def __init__(self, value: float) -> None:
        self.value = float(value)

    def __float__(self) -> float:
        return self.value

    def __bool__(self) -> bool:
        return bool(self.value)

    def __repr__(self) -> str:
        return f"Number({self.value})"

    def __add__(self, other: Any) -> Number:
        return _counted(lambda a, b: a + b, self, other)

    def __radd__(self, other: Any) -> Number:
        return _counted(lambda a, b: a + b, other, self)

    def __sub__(self, other: Any) -> Number:
        return _counted(lambda a, b: a - b, self, other)

    def __rsub__(self, other: Any) -> Number:
        return _counted(lambda a, b: a - b, other, self)

    def __mul__(self, other: Any) -> Number:
        return _counted(lambda a, b: a * b, self, other)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Number:
        return _counted(lambda a, b: a / b, self, other)

    def __rtruediv__(self, other: Any) -> Number:
        return _counted(lambda a, b: a / b, other, self)

    def __neg__(self) -> Number:
        return _counted(lambda a: -a, self)

    def __abs__(self) -> Number:
        return _counted(abs, self)

    def __lt__(self, other: Any) -> bool:
        return _counted(lambda a, b: a < b, self, other)

    def __le__(self, other: Any) -> bool:
        return _counted(lambda a, b: a <= b, self, other)

    def __gt__(self, other: Any) -> bool:
        return _counted(lambda a, b: a > b, self, other)

    def __ge__(self, other: Any) -> bool:
        return _counted(lambda a, b: a >= b, self, other)

    def __eq__(self, other: Any) -> bool:
        return _counted(lambda a, b: a == b, self, other)

    def __ne__(self, other: Any) -> bool:
        return _counted(lambda a, b: a != b, self, other)


class Accumulator:
    """A dot product in the making: starts at a bias or at zero, and takes multiply-accumulates."""

    def __init__(self, start: Any = None) -> None:
        self.value = 0.0 if start is None else _float(start)
        _tally.zero_accumulators += start is None

    def add(self, a: Any, b: Any) -> None:
        """One multiply-accumulate."""
        _tally.macs += 1
        self.value += _float(a) * _float(b)

    @property
    def result(self) -> Number:
        return Number(self.value)


def dot(a: Any, b: Any, start: Any = None) -> Number:
    """Σ aᵢ bᵢ, from `start` or zero."""
    accumulator = Accumulator(start)
    for x, y in zip(a, b, strict=True):
        accumulator.add(x, y)
    return accumulator.result


def total(items: Any, step: Callable[[Any, Any], Any] = lambda a, b: a + b) -> Any:
    """Left fold of at least one item: n − 1 steps."""
    items = list(items)
    result = items[0]
    for item in items[1:]:
        result = step(result, item)
    return result


def where(condition: Any, a: Any, b: Any) -> Any:
    """Selects and counts nothing; both sides were computed."""
    return a if condition else b


def _round_half_even(x: float) -> float:
    return float(round(x))


def _function(function: Callable[..., Any], transcendental: bool) -> Callable[..., Any]:
    return lambda *operands: _counted(function, *operands, transcendental=transcendental)


_PLAIN = {"floor": math.floor, "ceil": math.ceil, "trunc": math.trunc, "round": _round_half_even}
_TRANSCENDENTAL = [
    *(math.sqrt, math.exp, math.exp2, math.expm1, math.log, math.log2, math.log10, math.log1p, math.pow),
    *(math.sin, math.cos, math.tan, math.asin, math.acos, math.atan, math.atan2),
    *(math.sinh, math.cosh, math.tanh, math.asinh, math.acosh, math.atanh, math.erf, math.erfc, math.lgamma),
]
FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: _function(function, False) for name, function in _PLAIN.items()},
    **{function.__name__: _function(function, True) for function in _TRANSCENDENTAL},
    "rsqrt": _function(lambda x: 1 / math.sqrt(x), True),
    "max": _function(max, False),
    "min": _function(min, False),
    "abs": abs,
    "where": where,
    "pi": math.pi,
    "inf": math.inf,
}
"""The functions of a reference algorithm, by the names that expressions in the tables use."""

exp, log, sqrt, rsqrt, tanh, power = (FUNCTIONS[n] for n in ("exp", "log", "sqrt", "rsqrt", "tanh", "pow"))
maximum, minimum, floor = (FUNCTIONS[n] for n in ("max", "min", "floor"))


def sigmoid(x: Any) -> Number:
    """1 / (1 + exp(−x)): four operations."""
    return 1 / (1 + exp(-x))


def numbers(value: Any) -> Any:
    """Floating-point tensors as arrays of counting numbers; integer ones as integer arrays; the rest as it is."""
    if isinstance(value, torch.Tensor):
        if not value.is_floating_point():
            return value.numpy()
        if value.dim() == 0:
            return Number(value.item())
        array = np.empty(tuple(value.shape), dtype=object)
        for i in np.ndindex(array.shape):
            array[i] = Number(value[i].item())
        return array
    if isinstance(value, (tuple, list)):
        return type(value)(numbers(v) for v in value)
    return value


def tensor(array: Any) -> torch.Tensor:
    """The values of an array of numbers."""
    if isinstance(array, Number):
        return torch.tensor(array.value, dtype=torch.float64)
    floats = np.vectorize(float, otypes=[float])(array) if np.size(array) else np.zeros(np.shape(array))
    return torch.from_numpy(np.asarray(floats, dtype=float))


def prove(call: Callable[..., Any], reference: Callable[..., Any], *args: Any) -> Cost:
    """Assert that `reference` computes what `call` does, and that the rules count what the reference did."""
    with counting() as tally:
        mine = reference(*numbers(args))
    theirs = call(*args)
    pairs = zip(mine, theirs, strict=False) if isinstance(mine, tuple) else [(mine, theirs)]
    for a, b in pairs:
        torch.testing.assert_close(tensor(a), b.detach().double(), rtol=1e-6, atol=1e-8, equal_nan=True)
    assert counts(price(call, *args)) == tally.cost
    return tally.cost


def counts(cost: Cost) -> Cost:
    """A cost without its traffic and activations."""
    return Cost(
        macs=cost.macs,
        other_flops=cost.other_flops,
        transcendentals=cost.transcendentals,
        zero_accumulators=cost.zero_accumulators,
    )


def filled(shape: tuple[int, ...], scale: int = 1) -> np.ndarray:
    """An empty array for a reference algorithm's results."""
    return np.empty(tuple(n * scale for n in shape), dtype=object)
