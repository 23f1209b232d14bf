"""Where along one dim a formula holds: from few analyses, which sizes go together, and where that ends.

Both ends of the range are looked at, and a size between them. Where they have no formula together, sizes next to each
other tell whether that is a matter of range (a crop, a branch, a table of 512 positions: the end is found by bisection)
or of steps (padding to 64, a stride of 32: the step is read off the sizes that were seen). Where each size runs
operators of its own number (a loop over the sequence, depth), the dim is *uneven*: sums are fitted instead of sizes.

A domain is seen, not proven: what happens between the points, at 200 ≤ S ≤ 210 alone, is not found.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import gcd, lcm
from typing import TypeAlias

from ..errors import FxcostError
from .dims import Dim
from .domain import Range
from .lift import Lift, MisfitError
from .observation import Observation
from .probing import Lattice, Line, reason

LARGEST_STEP = 1024
USUAL_STEPS = (224, 64, 96, 320, 256, 2)
"""Steps to try where sizes tell nothing: strides, windows of 7, patches of 14, frames of audio."""
LEAST_SIZES = 4
"""A lattice with fewer sizes in the range says too little."""

Refusal: TypeAlias = "MisfitError | FxcostError"


@dataclass(frozen=True, slots=True)
class Axis:
    """What was found along a dim: its range, and the sizes on which that rests. `uneven`: streams differ in length."""

    name: str
    range: Range
    sizes: tuple[int, ...]
    uneven: bool = False
    causes: tuple[tuple[str, int, int], ...] = ()
    """For each end of the range: its name, the size at which it broke, a size at which all is well."""

    @property
    def lattice(self) -> Lattice:
        """The sizes of the range."""
        return Lattice(self.range.low, self.range.high, self.range.step)


def search(line: Line, dim: Dim, steps: Sequence[int], also: Sequence[int] = ()) -> Axis:
    """The range of a dim around the point that the line goes through.

    Args:
        line: analyses along the dim.
        dim: what the user asked for.
        steps: steps that other dims were found to have, which are tried first.
        also: further sizes to look at; the range ends before those that do not fit.
    """
    base = line.base[line.axis]
    whole = Lattice(-(-dim.low // dim.multiple) * dim.multiple, dim.high // dim.multiple * dim.multiple, dim.multiple)
    probes = tuple(dict.fromkeys((*_probes(whole, base), *also)))
    refused = line.why_not(probes, whole)
    if refused is None:
        return _ended(line, whole, probes, also)
    rounded = _rounded(line, probes)
    stepped = _stepped(line, whole, base, probes, steps, also) if rounded else None
    if stepped is not None and stepped.range.above is None and stepped.range.low <= base:
        return stepped
    near = _near(whole, base)
    beside = (base, whole.size(min(whole.index(base) + 1, whole.count - 1)), whole.first)
    for sizes in (tuple(dict.fromkeys(beside)), near):
        if len(sizes) > 2 and line.why_not(sizes, whole) is None:
            if steps and not rounded and stepped is None and _is_narrow(line, whole, sizes):
                stepped = _stepped(line, whole, base, (*probes, *near), steps, also)
                if stepped is not None and _span(stepped) * 16 > whole.last - whole.first:
                    return stepped
            found = _ended(line, whole, sizes, also)
            if stepped is None and not rounded and _span(found) * 16 < whole.last - whole.first:
                stepped = _stepped(line, whole, base, (*probes, *near), steps, also)
            return found if stepped is None or _span(found) >= _span(stepped) else stepped
    if _grows(line, near):
        uneven = _uneven(line, whole)
        if uneven is not None:
            return uneven
    stepped = stepped or _stepped(line, whole, base, (*probes, *near), steps, also)
    return stepped or _fixed(line, base, near, line.why_not(near, whole) or refused)


def _span(axis: Axis) -> int:
    return axis.range.high - axis.range.low


def _is_narrow(line: Line, whole: Lattice, sizes: Sequence[int]) -> bool:
    """True if what sizes have in common does not hold a sixteenth of the range away, on either side."""
    lift, away = line.lift(sizes, whole), whole.count // 16 + 1
    indices = [whole.index(sizes[0]) + sign * away for sign in (1, -1)]
    sides = [whole.size(k) for k in indices if 0 <= k < whole.count]
    return all(line.parts_from(lift, size, whole) is not None for size in sides)


def _rounded(line: Line, sizes: Sequence[int]) -> bool:
    """True if analyses have one structure, and no formula all the same: sizes are rounded to something."""
    first = line.seen(sizes[0])
    if first is None or len(sizes) < 3:
        return False
    return all((found := line.seen(size)) is not None and _alike(first, found) for size in sizes)


def _stepped(
    line: Line, whole: Lattice, base: int, seen: Sequence[int], steps: Sequence[int], also: Sequence[int]
) -> Axis | None:
    """What is found along every second, every 32nd size …, with the reason why not along all."""
    for step in _steps(line, whole, seen, steps):
        found = _on_lattice(line, whole, base, step, also)
        if found is not None and step not in steps:
            found = _reduced(line, whole, base, found, also)
        if found is not None:
            at = next((n for n in seen if n not in found.range and found.range.low < n < found.range.high), None)
            at = at if at is not None else min(found.range.low + whole.step, found.range.high - whole.step)
            why = line.why_not((*found.sizes, at), whole)
            told = reason(at, why) if why is not None else None
            causes = (*found.causes, ("between", at, found.sizes[0]))
            return replace(found, range=replace(found.range, between=told), causes=causes)
    return None


def _probes(lattice: Lattice, base: int) -> tuple[int, ...]:
    """The base, the upper end, and a size in the upper half that has nothing to do with the base."""
    k, last, at = lattice.index(base), lattice.count - 1, max(lattice.count * 5 // 8, 1)
    others = (n for n in range(at, last) if n != k and all((n - k) % p for p in (2, 3, 5, 7)))
    middle = next(others, next((n for n in (at, at - 1, at + 1) if 0 <= n <= last and n not in (k, last)), last))
    return tuple(dict.fromkeys(map(lattice.size, (k, last, middle))))


def _near(lattice: Lattice, base: int) -> tuple[int, ...]:
    """The base and the sizes next to it."""
    k, last = lattice.index(base), lattice.count - 1
    start = min(k, max(last - 2, 0))
    return tuple(lattice.size(n) for n in dict.fromkeys((k, start, start + 1, start + 2)) if n <= last)


# Where a formula ends -------------------------------------------------------------------------------------------


def _ended(line: Line, lattice: Lattice, sizes: Sequence[int], also: Sequence[int]) -> Axis:
    """The range around sizes that have a formula together: both ends are looked at, and sizes that may not fit."""
    lift = line.lift(sizes, lattice)
    base = line.base[line.axis] if line.base[line.axis] in sizes else sizes[0]
    good = list(sizes)
    causes: list[tuple[str, int, int]] = []
    reasons = {}
    ends = {}
    for name, last in (("below", lattice.first), ("above", lattice.last)):
        far = last
        for size in also:
            if (base < size < far or far < size < base) and (size - lattice.first) % lattice.step == 0:
                far = size if line.parts_from(lift, size, lattice) is not None else far
        end, broken = _limit(line, lift, lattice, base, far)
        ends[name] = end
        if end not in good:
            good.append(end)
        if broken is not None:
            size, why = broken
            reasons[name] = reason(size, why)
            causes.append((name, size, end))
    found = Range(ends["below"], ends["above"], lattice.step, reasons.get("below"), reasons.get("above"))
    inner = [size for size in good if size in found]
    return Axis(line.name, found, tuple(dict.fromkeys(inner)), False, tuple(causes))


def _limit(line: Line, lift: Lift, lattice: Lattice, good: int, far: int) -> tuple[int, tuple[int, Refusal] | None]:
    """The last size on the way to `far` at which a formula holds; and where it holds no more, and why."""
    why = line.parts_from(lift, far, lattice)
    if why is None:
        return far, None
    inside, outside, step = good, far, lattice.step if far > good else -lattice.step
    guesses = _guesses(line, lattice, good, far)
    raised = why.__cause__ or why  # what the model said, without what we advise
    named = {*line.ends, *(int(n) for n in re.findall(r"\d+", str(raised)))} & set(guesses)
    while outside - inside != step:
        low, high = sorted((inside, outside))
        between = [g for g in guesses if low < g < high]
        said = [g for g in between if g in named]
        if far < good and outside == far:
            size = far - step  # what is special is often the smallest size alone: a batch of one
        elif said:
            size = said[0]
        elif inside in named or (inside in guesses and not between):
            size = inside + step
        else:
            half = lattice.size((lattice.index(inside) + lattice.index(outside)) // 2)
            size = between[len(between) // 2] if between else half
        refused = line.parts_from(lift, size, lattice)
        if refused is None:
            inside = size
        else:
            outside, why = size, refused
    return inside, (outside, why)


def _guesses(line: Line, lattice: Lattice, good: int, far: int) -> list[int]:
    """Sizes at which something may end: as other dims do, at those of parameters (tables), and at powers of two."""
    base = line.at(good)
    tables = {n for item in base.items if item.kind == "parameter" for n in item.sizes}
    powers = {1 << i for i in range(max(good, far).bit_length())}
    likely, (low, high) = {*tables, *powers, *line.ends}, sorted((good, far))
    return sorted(n for n in likely if low <= n <= high and (n - lattice.first) % lattice.step == 0)


# Steps ----------------------------------------------------------------------------------------------------------


def _steps(line: Line, whole: Lattice, seen: Sequence[int], known: Sequence[int]) -> Iterator[int]:
    """Steps to try, the likeliest first: those of other dims, what sizes tell, and ones with many divisors.

    What holds along every 8th size holds along every 64th: whether fewer would do is looked at afterwards.
    """
    most = min(LARGEST_STEP, (whole.last - whole.first) // (LEAST_SIZES - 1))
    tried: set[int] = {whole.step}
    for step in (*known, *_told(line, seen), *USUAL_STEPS):
        step = lcm(step, whole.step)
        if step not in tried and step <= most:
            tried.add(step)
            yield step


def _reduced(line: Line, whole: Lattice, base: int, found: Axis, also: Sequence[int]) -> Axis:
    """The same with a smaller step, where the sizes between have the formula too."""
    for prime in (2, 3, 5, 7):
        while found.range.step % (prime * whole.step) == 0 and not found.uneven:
            step = found.range.step // prime
            known = (
                n for n in line.sizes() if n in Range(found.range.low, found.range.high, step) and n not in found.range
            )
            between = next(known, found.range.low + step)
            finer = Lattice(found.range.low, found.range.high, step)
            if step == whole.step or line.why_not((*found.sizes, between), finer) is not None:
                break
            smaller = _on_lattice(line, whole, base, step, also)
            if smaller is None or _span(smaller) < _span(found):
                break
            found = smaller
    return found


def _told(line: Line, sizes: Sequence[int]) -> list[int]:
    """Steps read off what was seen: the denominators of slopes, and what padded sizes have in common."""
    seen = [(size, found) for size in dict.fromkeys(sizes) if (found := line.seen(size)) is not None]
    slopes, common = 1, 1
    groups: list[list[tuple[int, Observation]]] = []
    for size, found in seen:
        alike = next((g for g in groups if _alike(g[0][1], found)), None)
        if alike is None:
            groups.append([(size, found)])
        else:
            alike.append((size, found))
    for group in groups:
        if len(group) < 2:
            continue
        columns = {
            column
            for row in zip(*(found.items for _, found in group), strict=True)
            for column in zip(*(item.sizes for item in row), strict=True)
        }
        at = [size for size, _ in group]
        for column in columns:
            if len(set(column)) == 1:
                continue
            denominator = _slope(at, column)
            if lcm(slopes, denominator) <= LARGEST_STEP:
                slopes = lcm(slopes, denominator)
            divisor = gcd(*column)
            if denominator == 1 and list(column) != at and 1 < divisor <= LARGEST_STEP:
                common = divisor if common == 1 else gcd(common, divisor)
    return [step for step in dict.fromkeys((slopes, lcm(slopes, max(common, 1)))) if step > 1]


def _alike(one: Observation, other: Observation) -> bool:
    return len(one.items) == len(other.items) and all(
        a.structure == b.structure for a, b in zip(one.items, other.items, strict=True)
    )


def _slope(at: Sequence[int], column: Sequence[int]) -> int:
    """The denominator of the slope of a line that comes within one of each value.

    Of all that do so, one of few odd factors is meant, strides and windows being what they are: 1/32 before 1/31.
    """
    low, high = min(range(len(at)), key=at.__getitem__), max(range(len(at)), key=at.__getitem__)
    run, rise = at[high] - at[low], column[high] - column[low]
    near = (q for q in range(1, LARGEST_STEP + 1) if ((rise - 1) * q // run + 1) * run < (rise + 1) * q)
    return min(near, key=lambda q: q * (q // (q & -q)), default=1)


def _on_lattice(line: Line, whole: Lattice, base: int, step: int, also: Sequence[int]) -> Axis | None:
    """What is found along the sizes of one residue class: multiples of the step first, else those of the base's."""
    for residue in dict.fromkeys((0, base % step)):
        first = whole.first + (residue - whole.first) % step
        lattice = Lattice(first, first + (whole.last - first) // step * step, step)
        if first > whole.last or lattice.count < LEAST_SIZES:
            continue
        start = min(max(lattice.size(round((base - first) / step)), first), lattice.size(lattice.count - 2))
        if line.seen(start) is None:
            continue
        probes = _probes(lattice, start)
        if line.why_not(probes, lattice) is None and len(probes) > 2:
            return _ended(line, lattice, probes, also)
        near = _near(lattice, start)
        if len(near) > 2 and line.why_not(near, lattice) is None:
            found = _ended(line, lattice, near, also)
            if found is not None and len(found.range) >= LEAST_SIZES:
                return found
        if _grows(line, near):
            return _uneven(line, lattice)
    return None


# Uneven dims ----------------------------------------------------------------------------------------------------


def _grows(line: Line, sizes: Sequence[int]) -> bool:
    """True if the number of operators grows evenly from one size to the next."""
    counts = [len(found.items) for size in sorted(sizes) if (found := line.seen(size)) is not None]
    return len(counts) > 2 and counts[1] != counts[0] and counts[2] - counts[1] == counts[1] - counts[0]


UNEVEN_NODES = 5


def _uneven(line: Line, lattice: Lattice) -> Axis | None:
    """A dim on which the number of operators hangs: small sizes on which sums can be fitted, and the upper end."""
    for start in range(min(3, lattice.count)):
        last = min(start + UNEVEN_NODES, lattice.count) - 1
        sizes = [lattice.size(k) for k in range(start, last + 1)]
        if len(sizes) >= 3 and all(line.seen(size) is not None for size in (*sizes, lattice.last)):
            found = Range(sizes[0], lattice.last, lattice.step)
            causes: tuple[tuple[str, int, int], ...] = ()
            if start:
                low = lattice.size(start - 1)
                failed = _failure(line, low)
                if failed is not None:
                    found = replace(found, below=reason(low, failed))
                    causes = (("below", low, sizes[0]),)
            return Axis(line.name, found, tuple(dict.fromkeys((*sizes, lattice.last))), True, causes)
    return None


def _failure(line: Line, size: int) -> FxcostError | None:
    try:
        line.at(size)
    except FxcostError as error:
        return error
    return None


def _fixed(line: Line, base: int, near: Sequence[int], why: Refusal) -> Axis:
    """A dim that has no formula: it stays at one size."""
    at = next((size for size in near if size != base and line.seen(size) is None), None)
    if at is not None:
        failed = _failure(line, at)
        assert failed is not None
        told = reason(at, failed)
    else:
        at = next((size for size in near if size != base), base)
        told = reason(at, why)
    return Axis(line.name, Range(base, base, 1, between=told), (base,), False, (("between", at, base),))
