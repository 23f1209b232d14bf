"""Dims: the sizes that a formula leaves open, by name, and inputs in which they stand.

A name stands in a shape where a size would: `("B", 3, "H", "W")`, `fxcost.spec("B", "S", dtype="int64")`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from keyword import iskeyword
from typing import Any

from ..errors import InputError
from ..model.inputs import InputSpec

LARGEST = 4096
"""The upper end of a dim for which none is given."""


@dataclass(frozen=True, slots=True)
class Dim:
    """A size that a formula leaves open: whole numbers from `low` to `high`, both included.

    >>> import fxcost
    >>> fxcost.Dim(8, 4096).high
    4096

    Args:
        low: the smallest size.
        high: the largest; 4096 if none is given.
        at: the size at which the report's own numbers stand; by default a round one in the middle of the range.
        multiple: only multiples of it are meant.

    Raises:
        InputError: the range is empty or has one size only, or `at` is outside.
    """

    low: int = 1
    high: int = LARGEST
    at: int | None = None
    multiple: int = 1

    def __post_init__(self) -> None:
        given = (self.low, self.high, self.multiple, *([] if self.at is None else [self.at]))
        if not all(type(n) is int for n in given):
            raise InputError(f"a dim has whole numbers: {self}")
        if self.low < 0 or self.multiple < 1:
            raise InputError(f"sizes are 0 or more, and multiples of 1 or more: {self}")
        first, last = -(-self.low // self.multiple), self.high // self.multiple
        if first > last:
            raise InputError(f"{self._told()} is empty: low must be below high")
        if first == last:
            size = first * self.multiple
            raise InputError(f"{self._told()} has one size only, {size}: write {size} into the shape instead")
        if self.at is not None and (not self.low <= self.at <= self.high or self.at % self.multiple):
            raise InputError(f"at={self.at} is no size of {self}")

    def _told(self) -> str:
        multiples = f" in multiples of {self.multiple}" if self.multiple > 1 else ""
        return f"the range {self.low} … {self.high}{multiples}"

    @property
    def middle(self) -> int:
        """`at`, or a round size in the middle: the geometric mean rounded to a power of two times `multiple`."""
        if self.at is not None:
            return self.at
        first, last = max(-(-self.low // self.multiple), 1), self.high // self.multiple
        power = 1
        while (2 * power) ** 2 <= first * last:
            power *= 2
        if not first <= power <= last:
            power = first
        return power * self.multiple


Dims = Mapping[str, Dim]
Point = Mapping[str, int]


def as_dims(given: Mapping[str, Any] | Sequence[str] | None, named: Iterator[str]) -> dict[str, Dim]:
    """Dims as the user gave them: a mapping to a :class:`Dim`, a pair or None, or a sequence of names.

    `named` are those that stand in shapes; one that is not given has the default range.

    Raises:
        InputError: a name is no identifier, something given is no dim, or a dim stands in no shape.
    """
    if isinstance(given, str):
        given = [given]
    ranges = dict(given) if isinstance(given, Mapping) else dict.fromkeys(given or ())
    dims = {check_name(name): as_dim(name, value) for name, value in ranges.items()}
    used = dict.fromkeys(named)
    for name in used:
        dims.setdefault(check_name(name), Dim())
    if not dims:
        raise InputError("dims= names no dim: give {'B': fxcost.Dim(1, 64)}, and write 'B' into a shape")
    if unused := [name for name in dims if name not in used]:
        listed = ", ".join(map(repr, unused))
        raise InputError(
            f"no shape has the dim {listed}: write the name where the size would stand, as in fxcost.spec('B', 'S')"
        )
    return {name: dims[name] for name in sorted(dims, key=list(used).index)}


def as_dim(name: str, value: Any) -> Dim:
    """A dim as the user may give it: a :class:`Dim`, a pair of sizes, or None for any size.

    Raises:
        InputError: it is none of these, or its range is empty.
    """
    if value is None:
        return Dim()
    if isinstance(value, Dim):
        return value
    if isinstance(value, (tuple, list, range)) and len(value) == 2:
        try:
            return Dim(*value)
        except InputError as error:
            raise InputError(f"dim {name!r}: {error}") from error
    raise InputError(f"dim {name!r} is {value!r}: give fxcost.Dim(low, high)")


def check_name(name: Any) -> str:
    """A name that can stand for a dim.

    Raises:
        InputError: it is no identifier.
    """
    if not (isinstance(name, str) and name.isidentifier() and not iskeyword(name) and not name.startswith("_")):
        raise InputError(f"{name!r} is no name for a dim: give a word such as 'B' or 'S'")
    return name


def is_named_shape(value: Any) -> bool:
    """True for a tuple of ints and names with a name among them."""
    return (
        isinstance(value, tuple)
        and any(type(n) is str for n in value)
        and all(type(n) is int or (type(n) is str and n.isidentifier()) for n in value)
    )


def names_in(inputs: Any, among: Mapping[str, Any] | Sequence[str] | None) -> Iterator[str]:
    """Names of dims in inputs: those in specs, and those in plain tuples in which one of `among` stands."""
    if isinstance(inputs, InputSpec):
        yield from (n for n in inputs.shape if isinstance(n, str))
    elif is_named_shape(inputs) and set(among or ()) & set(inputs):
        yield from (n for n in inputs if isinstance(n, str))
    elif isinstance(inputs, (tuple, list)):
        for value in inputs:
            yield from names_in(value, among)
    elif isinstance(inputs, Mapping):
        for value in inputs.values():
            yield from names_in(value, among)


def with_sizes(inputs: Any, point: Point) -> Any:
    """The inputs with sizes in place of names."""
    if isinstance(inputs, InputSpec):
        return InputSpec(_sized(inputs.shape, point), inputs.dtype)
    if is_named_shape(inputs) and any(n in point for n in inputs):
        return _sized(inputs, point)
    if type(inputs) in (tuple, list):
        return type(inputs)(with_sizes(value, point) for value in inputs)
    if type(inputs) is dict:
        return {key: with_sizes(value, point) for key, value in inputs.items()}
    return inputs


def _sized(shape: tuple[int | str, ...], point: Point) -> tuple[int, ...]:
    return tuple(point[n] if isinstance(n, str) else n for n in shape)
