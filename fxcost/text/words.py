"""Names that users gave, made fit to be shown."""

from __future__ import annotations


def printable(text: str) -> str:
    """Text whose line ends and other control characters are replaced.

    >>> printable("a\\nb")
    'a�b'
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def shortened(text: str, width: int) -> str:
    """`text`, its middle left out where it is longer than `width`.

    >>> shortened("encoder.layers.encoder_layer_11", 16)
    'encoder…layer_11'
    """
    width = max(width, 8)
    if len(text) <= width:
        return text
    return f"{text[: (width - 1) // 2]}…{text[len(text) - width // 2 :]}"
