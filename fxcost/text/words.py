"""Names that users gave, made fit to be shown."""

from __future__ import annotations

import re


def printable(text: str) -> str:
    """Text whose line ends and other control characters are replaced.

    >>> printable("a\\nb")
    'a�b'
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


_FRAMES = re.compile(r"\s*Exception raised from .* \(most recent call first\):(?:\s*frame #\d.*)*")
"""What PyTorch adds to a message of C++: where in its own code it was raised."""


def one_line(message: str, longest: int) -> str:
    """An error's message in one line: without line ends, control characters and frames of C++, and of bounded length.

    >>> one_line("bad\\n  size\\nException raised from f at a.cpp:1 (most recent call first):\\nframe #0: g", 80)
    'bad size'
    """
    return shortened(printable(" ".join(_FRAMES.sub("", message).split())), longest)


def shortened(text: str, width: int) -> str:
    """`text`, its middle left out where it is longer than `width`.

    >>> shortened("encoder.layers.encoder_layer_11", 16)
    'encoder…layer_11'
    """
    width = max(width, 8)
    if len(text) <= width:
        return text
    return f"{text[: (width - 1) // 2]}…{text[len(text) - width // 2 :]}"
