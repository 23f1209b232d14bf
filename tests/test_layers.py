"""The house keeps its order: rooms use what docs/architecture.md lets them use, files stand in no circle.

An import counts wherever it stands: at the top of a file, in a function, and where it is for types alone.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import networkx as nx
import pytest
from architecture import DOT, PAGE, ROOT, SVG, dot, rooms, stamp

PACKAGE = ROOT / "fxcost"
ROOMS = rooms()
FILES = sorted(PACKAGE.rglob("*.py"))
MOST_LINES = 400


def name_of(path: Path) -> str:
    """A file's path in the package, as a test's name."""
    return str(path.relative_to(PACKAGE))


def room_of(path: Path, package: Path = PACKAGE) -> str:
    """The room that a file stands in: its folder, or for a file at the top itself."""
    return path.relative_to(package).parts[0].removesuffix(".py")


def imports(path: Path, package: Path = PACKAGE) -> Iterator[tuple[Path, int]]:
    """(imported file of the package, line) of every import in a file, once for each name."""
    inside = path.relative_to(package.parent).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(inside[: len(inside) - node.level + 1]) if node.level else ""
            names = [".".join(filter(None, (base, node.module, alias.name))) for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module") and node.args:
            first = node.args[0]
            if isinstance(first, ast.Constant):
                names = [".".join(inside) + first.value if first.value.startswith(".") else first.value]
        for name in names:
            found = file_of(name.split("."), package)
            if found not in (None, path):
                yield found, node.lineno


def file_of(name: list[str], package: Path) -> Path | None:
    """The file that an imported name is in: a module, or the one that defines it; None outside of the package."""
    if name[0] != package.name:
        return None
    place = package.joinpath(*name[1:])
    for path in (place / "__init__.py", place.with_suffix(".py")):
        if path.exists():
            return path
    return file_of(name[:-1], package)


def arrows(package: Path = PACKAGE) -> nx.DiGraph[Path]:
    """Which file imports which; an edge knows its first line."""
    graph: nx.DiGraph[Path] = nx.DiGraph()
    for path in sorted(package.rglob("*.py")):
        for found, line in imports(path, package):
            if not graph.has_edge(path, found):
                graph.add_edge(path, found, line=line)
    return graph


ARROWS = arrows()


def used_by(room: str) -> dict[str, str]:
    """The rooms that a room's files import, each with the first place."""
    found: dict[str, str] = {}
    for a, b, line in ARROWS.edges(data="line"):
        if room_of(a) == room != room_of(b):
            found.setdefault(room_of(b), f"{name_of(a)}:{line}")
    return found


def circles(graph: nx.DiGraph[Path]) -> list[list[Path]]:
    """Files that import each other, directly or by way of others."""
    return [sorted(part) for part in nx.strongly_connected_components(graph) if len(part) > 1]


def test_every_room_is_in_the_table() -> None:
    """A new room, or file at the top, says in one line what it is for and what it may use."""
    assert {room_of(path) for path in FILES} == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_uses_what_the_table_says(room: str) -> None:
    """No import leads to another room; and what the table allows is used, so that the picture is true."""
    found = used_by(room)
    assert {name: place for name, place in found.items() if name not in ROOMS[room].uses} == {}
    assert set(ROOMS[room].uses) - set(found) == set(), "not used: take it out of the table"


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_stand_on_those_above_them_in_the_table(room: str) -> None:
    """The table goes from the ground up, so rooms form no circle; what a room takes, an earlier one gives."""
    order = list(ROOMS)
    earlier = order[: order.index(room)]
    assert set(ROOMS[room].uses) <= set(earlier)
    assert set(ROOMS[room].takes) <= {record for name in earlier for record in ROOMS[name].gives}


def test_files_import_in_no_circle() -> None:
    """Also not within a room, and also not for types."""
    assert [[name_of(path) for path in circle] for circle in circles(ARROWS)] == []


def test_what_rooms_give_are_classes() -> None:
    """The records that the table names are there."""
    defined = {name for path in FILES for name in re.findall(r"^class (\w+)", path.read_text("utf-8"), re.M)}
    assert {record for room in ROOMS.values() for record in room.gives} <= defined


@pytest.mark.parametrize(
    "line",
    [
        "from .views import page",
        "from .views.page import draw",
        "import fxcost.views.page",
        "from fxcost.views import page as p",
        "def f():\n    from .views.page import draw",
        "if TYPE_CHECKING:\n    from .views.page import draw",
        "import_module('.views.page', __name__)",
    ],
)
def test_a_bad_import_would_be_found(tmp_path: Path, line: str) -> None:
    """However it is written; and so would be a circle between two files."""
    package = tmp_path / "fxcost"
    (package / "views").mkdir(parents=True)
    for name, text in {"report.py": line, "views/__init__.py": "", "views/page.py": "from .. import report"}.items():
        (package / name).write_text(text)
    found = arrows(package)
    assert (package / "report.py", package / "views" / "page.py") in found.edges
    assert room_of(package / "views" / "page.py", package) == "views"
    assert circles(found) == [[package / "report.py", package / "views" / "page.py"]]


@pytest.mark.parametrize("room", [room for room in ROOMS if (PACKAGE / room).is_dir()])
def test_rooms_say_what_they_are_for(room: str) -> None:
    """What comes in, what goes out, and what may be used, of which the table knows."""
    said = ast.get_docstring(ast.parse((PACKAGE / room / "__init__.py").read_text(encoding="utf-8"))) or ""
    text = " ".join(said.split())
    assert "In: " in text
    assert "Out: " in text
    allowed = re.search(r"May use (.*?)\.( |$)", text)
    assert allowed is not None
    assert set(re.findall(r"`(\w+)`", allowed[1])) <= set(ROOMS[room].uses)


def test_the_picture_is_current() -> None:
    """`python tests/architecture.py` draws it anew."""
    text = dot(ROOMS)
    assert DOT.read_text(encoding="utf-8") == text
    assert SVG.read_text(encoding="utf-8").endswith(stamp(text))


def test_pages_name_what_is_there() -> None:
    """Every file that they name exists, and "`name` in `file`" is true."""
    text = PAGE.read_text(encoding="utf-8") + (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:fxcost|tests|docs|benchmarks)/[\w./]+)`", text)
    assert [path for path in named if not (ROOT / path).exists()] == []
    inside = re.findall(r"`(\w+)`\s+(?:in\s+|of\s+|\()`(fxcost/[\w/]+\.py)`", text)
    assert len(inside) > 20
    assert [pair for pair in inside if pair[0] not in (ROOT / pair[1]).read_text(encoding="utf-8")] == []


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_are_short(path: Path) -> None:
    """What is longer has two jobs."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


@pytest.mark.parametrize("path", sorted((PACKAGE / "rules" / "formulas").rglob("*.py")), ids=lambda path: path.stem)
def test_formulas_know_no_torch(path: Path) -> None:
    """Formulas are arithmetic on sizes: they import neither torch nor numpy."""
    tree = ast.parse(path.read_text())
    names = [a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names]
    names += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert [name for name in names if name.split(".")[0] in ("torch", "numpy")] == []


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_only_the_cli_prints(path: Path) -> None:
    """Library code returns values: no print, no warning, no stream."""
    if room_of(path) in ("cli", "__main__", "compat", "integrations"):
        pytest.skip("the command line, and the drop-ins and callbacks that print because those of other tools do")
    called = {ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)}
    assert called & {"print", "warnings.warn", "sys.stdout.write", "sys.stderr.write"} == set()
