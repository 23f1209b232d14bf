"""Text in a notebook: as it is printed, in the notebook's own colours, scrolled sideways and never wrapped."""

from __future__ import annotations

from html import escape

_STYLE = "font:12px/1.25 ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace;color:inherit;background:none;" + (
    "overflow:auto;max-height:40em;margin:0;white-space:pre"
)


def preformatted(text: str) -> str:
    """A fragment of HTML that shows a text as a terminal would.

    >>> preformatted("a < b").endswith(">a &lt; b</pre>")
    True
    """
    return f'<pre style="{_STYLE}">{escape(text)}</pre>'
