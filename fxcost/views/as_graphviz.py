"""The graph drawn by Graphviz: SVG and PNG, from the text of as_dot.py.

The program `dot` does the drawing; it comes with Graphviz, not from PyPI.
"""

from __future__ import annotations

import shutil
import subprocess

from ..errors import DrawingError, MissingLibraryError


def drawn(dot: str, kind: str) -> bytes:
    """What Graphviz makes of a text in its language; `kind` is a format of its own: "svg", "png".

    Raises:
        MissingLibraryError: there is no program `dot` on the path.
        DrawingError: Graphviz failed; the message is its own.
    """
    program = shutil.which("dot")
    if program is None:
        raise MissingLibraryError(
            "drawing needs Graphviz's program dot: apt-get install graphviz, brew install graphviz, or "
            "https://graphviz.org/download; to_dot() gives the text without it"
        )
    ran = subprocess.run([program, f"-T{kind}"], input=dot.encode(), capture_output=True, check=False)
    if ran.returncode:
        raise DrawingError(f"Graphviz failed: {ran.stderr.decode(errors='replace').strip() or ran.returncode}")
    return ran.stdout
