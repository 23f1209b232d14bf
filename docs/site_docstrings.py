"""Docstrings as the site shows them: examples as code, and roles of Sphinx as plain code. griffe calls `Docstrings`."""

from __future__ import annotations

import re
from typing import Any

ROLE = re.compile(r":(?:func|class|meth|mod|data|attr):`~?\.?([^`]+)`")


def shown(text: str) -> str:
    """A docstring as Markdown.

    >>> shown("Adds, as :func:`add`.\\n\\n>>> 1 + 1\\n2").count("```")
    2
    """
    parts = ROLE.sub(r"`\1`", text).split("\n\n")
    return "\n\n".join(f"```pycon\n{part}\n```" if part.startswith(">>>") else part for part in parts)


try:
    from griffe import Extension
except ImportError:  # the site is not being built
    Extension = object


class Docstrings(Extension):  # type: ignore[misc, unused-ignore]
    """Changes every docstring as it is read."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        """Called by griffe."""
        if getattr(obj, "docstring", None) is not None:
            obj.docstring.value = shown(obj.docstring.value)
