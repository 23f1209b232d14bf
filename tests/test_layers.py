"""Data flows one way: capture → propagate → rules → report → views. Nothing imports what comes after it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "fxcost"
LAYERS = {
    "records": (
        "errors",
        "sketch",
        "records",
        "cost",
        "user_code",
        "spelling",
        "optimizers",
        "codec",
        "amounts",
        "limits",
        "derivation",
    ),
    "propagate": (
        "registry",
        "flex",
        "units",
        "unit_gradients",
        "higher_order",
        "meta_gradients",
        "closed_forms",
        "meta_kernels",
        "sparse",
        "nested",
        "autocast",
        "autocast_gradients",
        "storages",
        "recorder",
        "products",
        "cells",
        "values",
        "host",
        "modules",
        "isolate",
        "unchanged",
        "inputs",
        "purity",
        "world",
        "remembered",
        "repeats",
        "run_errors",
        "propagate",
    ),
    "capture": ("vocabulary", "symbolic", "drawing", "concrete", "step_recorder", "step", "capture"),
    "rules": ("rules",),
    "pricing": ("pricing", "graph", "parameters", "module_tree", "experts", "sums", "alignment"),
    "readers": (
        "conventions",
        "skeleton",
        "lifetimes",
        "devices",
        "device_table",
        "stopwatch",
        "calibration",
        "efficiency",
        "fusion",
    ),
    "views": ("views",),
    "report": ("memory", "training", "roofline", "report", "reading", "diff", "check", "explain", "measurement"),
    "analyze": ("analyze", "fit", "shapes", "real", "replay", "measure"),
    "entry": ("sources", "load", "sweeps", "budgets", "pytest_plugin", "compat", "cli", "__main__", "__init__"),
}
"""Layers from the bottom up; a module may import from its own layer and from those below.

Views stand below the report, which hands itself to them: they know it as a type only.
"""
RANK = {name: rank for rank, names in enumerate(LAYERS.values()) for name in names}


def files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def part(path: Path) -> str:
    """The layer's name for a file: its top-level module or package."""
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """(top-level module of fxcost, line) of all imports that run, those inside functions among them."""
    tree = ast.parse(path.read_text())
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    package = path.relative_to(PACKAGE.parent).with_suffix("").parts[:-1]
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, [base, node.module]))
            names = [f"{module}.{alias.name}" for alias in node.names] if module == "fxcost" else [module]
        else:
            continue
        yield from ((name.split(".")[1], node.lineno) for name in names if name.startswith("fxcost."))


def test_every_module_has_a_layer() -> None:
    """A new module must say where it stands."""
    assert {part(path) for path in files()} <= set(RANK)


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_import_goes_backwards(path: Path) -> None:
    """A module imports from its own layer or from below, also where it imports inside a function."""
    found = [(name, line) for name, line in imports(path) if name in RANK]
    allowed = {("registry", "rules")}  # `fxcost.rule` looks whether a rule is built in already
    backward = [(n, line) for n, line in found if RANK[n] > RANK[part(path)] and (part(path), n) not in allowed]
    assert backward == []


def test_a_backward_import_would_be_found() -> None:
    """The parser sees relative, absolute and local imports, and not those for types alone."""
    seen = [name for name, _ in imports(PACKAGE / "report.py")]
    assert {"memory", "experts", "views"} <= set(seen)
    assert RANK["capture"] > RANK["propagate"] > RANK["records"]


@pytest.mark.parametrize("path", sorted((PACKAGE / "rules" / "formulas").rglob("*.py")), ids=lambda path: path.stem)
def test_formulas_know_no_torch(path: Path) -> None:
    """Formulas are arithmetic on sizes: they import neither torch nor numpy."""
    tree = ast.parse(path.read_text())
    names = [a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names]
    names += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert [name for name in names if name.split(".")[0] in ("torch", "numpy")] == []


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_cli_prints(path: Path) -> None:
    """Library code returns values: no print, no warning, no stream."""
    if part(path) in ("cli", "__main__", "compat"):
        pytest.skip("the command line, and the drop-in functions that print because those of other tools do")
    called = {ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)}
    assert called & {"print", "warnings.warn", "sys.stdout.write", "sys.stderr.write"} == set()
