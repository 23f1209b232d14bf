"""The rooms of the package, as the table in docs/architecture.md lists them, and the picture that is drawn from it.

`python tests/architecture.py` writes docs/images/architecture.dot and has Graphviz draw architecture.svg.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import networkx as nx

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"
DOT, SVG = (ROOT / "docs" / "images" / f"architecture.{kind}" for kind in ("dot", "svg"))


@dataclass(frozen=True, slots=True)
class Room:
    """A folder of fxcost, or a file at its top: the classes that it takes and gives, and the rooms that it may use."""

    name: str
    takes: tuple[str, ...]
    gives: tuple[str, ...]
    uses: tuple[str, ...]


def rooms() -> dict[str, Room]:
    """The rows of the table, from the ground up, by name: "records", "report"."""
    table = PAGE.read_text(encoding="utf-8").partition("\n## Rooms\n")[2].partition("\n## ")[0]
    found = {}
    for row in re.findall(r"^\| `.*$", table, re.M):
        name, _, takes, gives, uses = (re.findall(r"`(\w+)", cell) for cell in row[1:-1].split("|"))
        found[name[0]] = Room(name[0], tuple(takes), tuple(gives), tuple(uses))
    return found


def dot(table: Mapping[str, Room]) -> str:
    """The road for Graphviz: dark arrows carry records; pale ones say what else is used, if no longer way does."""
    makers = {record: room.name for room in table.values() for record in room.gives}
    carried: dict[tuple[str, str], list[str]] = {}
    for room in table.values():
        for record in room.takes:
            carried.setdefault((makers[record], room.name), []).append(record)
    used = nx.DiGraph([(below, room.name) for room in table.values() for below in room.uses])
    thin = [edge for edge in nx.transitive_reduction(used).edges if edge not in carried]
    lines = [
        "digraph fxcost {",
        '  graph [rankdir=TB, nodesep=0.25, ranksep=0.45, fontname="Helvetica"]',
        '  node [shape=box, style="rounded,filled", fillcolor="#eef3f8", color="#4c78a8", fontname="Helvetica"]',
        '  edge [color="#1f3a5f", fontname="Helvetica", fontsize=10]',
        *(f'  "{room.name}"' for room in table.values()),
        *(f'  "{a}" -> "{b}" [label="{", ".join(records)}"]' for (a, b), records in carried.items()),
        *(f'  "{a}" -> "{b}" [color="#b8c4d0", arrowsize=0.6]' for a, b in sorted(thin)),
        "}",
    ]
    return "\n".join(lines) + "\n"


def stamp(text: str) -> str:
    """The line that a picture ends in, which says from which DOT text it was drawn."""
    return f"<!-- drawn from architecture.dot, sha256 {sha256(text.encode()).hexdigest()} -->\n"


def draw() -> None:
    """Write both files."""
    text = dot(rooms())
    DOT.write_text(text, encoding="utf-8")
    svg = subprocess.run(["dot", "-Tsvg"], input=text, capture_output=True, text=True, check=True).stdout
    SVG.write_text(svg + stamp(text), encoding="utf-8")


if __name__ == "__main__":
    draw()
