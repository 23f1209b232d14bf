"""Colour for people at a terminal. Text that goes to a file or a pipe is left as it is, to the byte.

`NO_COLOR` (set to anything) turns colour off, `FORCE_COLOR` turns it on where there is no terminal; the former goes
first. Views know nothing of this: what they return is coloured here, by what it looks like.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import TextIO

import click

FRAME = re.compile(r"[╭╮╰╯├┤┬┴┼─│]+")
LABEL = re.compile(r"^[A-Z][\w ,()]*?(?=  )", re.M)
WARNING = re.compile(r"^(?:Not costed|Assumed|not costed \w+):?(?= )", re.M)
HEADING = re.compile(r"^(?=.* \(\w+ capture\)$).*$", re.M)
GOOD = re.compile(r"^(?:ok(?=   )|within budget$)", re.M)
BAD = re.compile(r"^(?:OVER(?=  )|over budget.*$)", re.M)
MORE = re.compile(r"(?<= )\+\d[\d.]*(?: [KMGTPEZYRQ]?i?B?|%)?(?= )")
LESS = re.compile(r"(?<= )-\d[\d.]*(?: [KMGTPEZYRQ]?i?B?|%)?(?= )")
ADDED, REMOVED = re.compile(r"(?<= )added(?= )"), re.compile(r"(?<= )removed(?= )")

STYLES = (
    (HEADING, {"bold": True}),
    (WARNING, {"fg": "yellow", "bold": True}),
    (GOOD, {"fg": "green"}),
    (BAD, {"fg": "red", "bold": True}),
    (LABEL, {"bold": True}),  # after the verdicts, which look like labels
    (FRAME, {"dim": True}),
)
CHANGES = ((MORE, {"fg": "red"}), (LESS, {"fg": "green"}), (ADDED, {"fg": "red"}), (REMOVED, {"fg": "green"}))
"""In a diff, less is better."""


def wanted(stream: TextIO) -> bool:
    """True if what goes to a stream shall have colour."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def painted(text: str, *, changes: bool = False) -> str:
    """Text with colours: frames dim, headings bold, verdicts green or red; of a diff also what is more or less."""
    for pattern, style in (*STYLES, *(CHANGES if changes else ())):
        text = pattern.sub(_styled(style), text)
    return text


def _styled(style: dict[str, object]) -> Callable[[re.Match[str]], str]:
    return lambda found: click.style(found[0], **style)  # type: ignore[arg-type]
