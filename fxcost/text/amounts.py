"""Amounts as people write them: 4.2G multiply-accumulates, 2GiB of memory, a tolerance of 1%.

All arithmetic is exact. Nothing here imports torch, so that the command line can.
"""

from __future__ import annotations

import re
from fractions import Fraction

from ..errors import InputError, shown

_DECIMAL = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "p": 10**15, "b": 10**9}
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
LONGEST = 100
"""Digits of a number."""
_NUMBER = r"\s*(\d[\d_,]*(?:\.\d+)?)\s*"


def parse_count(count: int | str) -> int:
    """A count, or text: "4.2G", "26M", "1_000_000". A billion may also be "B"; a fraction is rounded down.

    >>> parse_count("4.2G"), parse_count("25,557,032"), parse_count(12), parse_count("7B")
    (4200000000, 25557032, 12, 7000000000)

    Raises:
        InputError: the text is no count, or the count is negative.
    """
    if isinstance(count, int):
        return _not_negative(count)
    found = re.fullmatch(rf"{_NUMBER}([kmgtpb]?)", count.strip().lower()) if isinstance(count, str) else None
    if found is None:
        raise InputError(f"{shown(count)} is no count; write 4.2G, 26M or a plain number")
    return int(_number(found[1]) * _DECIMAL[found[2]])


def parse_bytes(size: int | str) -> int:
    """A number of bytes, or text: "24GiB", "80 GB", "512M".

    >>> parse_bytes("1.5KiB"), parse_bytes("80GB"), parse_bytes(12)
    (1536, 80000000000, 12)

    Raises:
        InputError: the text is no size, or the size is negative.
    """
    if isinstance(size, int):
        return _not_negative(size, "number of bytes")
    found = re.fullmatch(rf"{_NUMBER}([kmgt]?i?)b?\s*", size.lower()) if isinstance(size, str) else None
    if found is None or found[2] not in _UNITS:
        raise InputError(f"{shown(size)} is no size in bytes; write 24GiB, 80GB or a plain number")
    return round(_number(found[1]) * _UNITS[found[2]])


def parse_share(share: float | str) -> Fraction:
    """A share: text such as "1%", or a fraction of one.

    >>> parse_share("1%"), parse_share("0.5 %"), parse_share(0.25)
    (Fraction(1, 100), Fraction(1, 200), Fraction(1, 4))

    Raises:
        InputError: the text is no share, or the share is negative.
    """
    text = str(share).strip() if isinstance(share, (str, int, float)) else ""
    found = re.fullmatch(r"(\d+(?:\.\d+)?(?:e-?\d{1,3})?)\s*(%?)", text)
    if found is None or len(text) > LONGEST:
        raise InputError(f"{shown(share)} is no share; write 1% or 0.01")
    return Fraction(found[1]) / (100 if found[2] else 1)


def _number(digits: str) -> Fraction:
    if len(digits) > LONGEST:
        raise InputError(f"a number of {len(digits)} digits is too long; write 4.2G, 24GiB or the like")
    return Fraction(digits.replace(",", "").replace("_", ""))


def _not_negative(n: int, what: str = "count") -> int:
    if n < 0:
        raise InputError(f"{n} is no {what}")
    return n
