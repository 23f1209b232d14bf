"""One of several names, or an error that lists them."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from ..errors import UnknownNameError


def choose(what: str, given: str, choices: Sequence[str]) -> str:
    """`given` if it is one of the choices.

    Raises:
        UnknownNameError: it is not; the message names the nearest, and lists all.
    """
    if given in choices:
        return given
    near = get_close_matches(given.lower(), choices, n=1)
    hint = f"did you mean {near[0]!r}? There are" if near else "choose one of"
    raise UnknownNameError(f"no {what} {given!r}; {hint} {', '.join(choices)}")
