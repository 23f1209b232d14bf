"""One of several names, or an error that lists them."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import UnknownNameError, nearest, shown


def choose(what: str, given: str, choices: Sequence[str]) -> str:
    """`given` if it is one of the choices.

    Raises:
        UnknownNameError: it is not; the message names the nearest, and lists all.
    """
    if isinstance(given, str) and given in choices:
        return given
    near = nearest(given.lower() if isinstance(given, str) else given, choices, n=1)
    hint = f"did you mean {near[0]!r}? There are" if near else "choose one of"
    raise UnknownNameError(f"no {what} {shown(given)}; {hint} {', '.join(choices)}")
