"""Numbers as text."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fxcost.text import units


@pytest.mark.parametrize(
    ("n", "text"),
    [(0, "0"), (999, "999"), (1_000, "1.00 K"), (999_994, "999.99 K"), (999_995, "1.00 M"), (10**9, "1.00 G")],
)
def test_counts_round_into_the_next_prefix(n: int, text: str) -> None:
    """Rounding never leaves 1000.00 of a unit."""
    assert units.count(n) == text


@pytest.mark.parametrize(("n", "text"), [(-1_500, "-1.50 K"), (-3, "-3")])
def test_negative_counts_keep_their_sign(n: int, text: str) -> None:
    """Differences are counts too."""
    assert units.count(n) == text


def test_bytes_are_binary() -> None:
    """ResNet-50's 25,557,032 float32 parameters are 97.49 MiB."""
    assert units.byte_size(4 * 25_557_032) == "97.49 MiB"


def test_what_is_larger_than_all_prefixes_is_still_written() -> None:
    """The last prefix takes any number."""
    assert units.count(10**36) == "1000000.00 Q"


@given(st.integers(0, 10**32))
def test_a_count_reads_back_within_its_rounding(n: int) -> None:
    """Text and number differ by at most half of the last digit."""
    number, _, prefix = units.count(n).partition(" ")
    scale = 1000 ** units.SI_PREFIXES.index(prefix)
    hundredths = int(re.sub(r"\.", "", number)) if "." in number else int(number) * 100
    assert abs(100 * n - hundredths * scale) * 2 <= scale


def test_a_share_of_nothing_is_no_number() -> None:
    """Division by zero is a dash."""
    assert units.percent(0, 0) == units.NOTHING
