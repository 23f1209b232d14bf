"""The public names are pinned: adding or losing one is a decision, not an accident."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import fxcost
from fxcost import errors

HERE = Path(__file__).parent

NAMES = [
    "Convention",
    "Cost",
    "Device",
    "Dim",
    "FxcostError",
    "Link",
    "Measurement",
    "OpRecord",
    "Report",
    "analyze",
    "analyze_graph",
    "check",
    "conventions",
    "diff",
    "fake_world",
    "family",
    "fit",
    "generation",
    "measure",
    "parallel",
    "peak",
    "per_token",
    "plan",
    "rule",
    "spec",
    "stages",
    "summary",
    "sweep",
    "trace",
]


def test_the_names_are_these() -> None:
    """`__all__` lists the public names literally, few enough to be read at once."""
    assert sorted(fxcost.__all__) == NAMES
    assert len(fxcost.__all__) <= 30


@pytest.mark.parametrize("name", NAMES)
def test_every_name_can_be_imported_and_is_documented(name: str) -> None:
    """Each is found, keeps its own name, and has a docstring."""
    value = getattr(fxcost, name)
    assert value.__name__.removeprefix("fxcost.") == name
    assert inspect.getdoc(value)


def test_what_a_user_sees_is_public() -> None:
    """`dir(fxcost)` offers the public names alone, also when rooms of the same package are imported."""
    import fxcost.speed.devices

    assert dir(fxcost) == NAMES
    assert set(NAMES) <= set(fxcost.__all__)


@pytest.mark.parametrize("first", ["import fxcost.conventions as room", "import fxcost; room = fxcost.conventions"])
def test_the_room_of_conventions_can_be_called(first: str) -> None:
    """`fxcost.conventions()` is public, and `fxcost.conventions` a module, whichever is imported first."""
    code = (
        f"{first}; from fxcost.conventions import lookup; print('thop' in room(), lookup('thop').name, room.__name__)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=HERE.parent
    ).stdout
    assert out.split() == ["True", "thop", "fxcost.conventions"]


@pytest.mark.parametrize("name", ["analyze", "fit", "plan"])
def test_a_function_is_not_hidden_by_its_module(name: str) -> None:
    """`fxcost.analyze` stays the function once the module of that name is imported."""
    code = f"import fxcost, importlib; importlib.import_module('fxcost.{name}'); print(callable(fxcost.{name}))"
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=HERE.parent
    ).stdout
    assert out.split() == ["True"]


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A typo is answered as any module answers it."""
    with pytest.raises(AttributeError, match="no attribute 'analyse'"):
        fxcost.analyse  # noqa: B018


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        (
            "analyze",
            "model inputs kwargs * capture dtype leaf_modules rules strict real_limit training optimizer loss "
            "dims verify autocast mesh parallelize rank",
        ),
        ("family", "factory dims inputs kwargs * verify options"),
        ("sweep", "items * executor processes timeout memory path retry progress options"),
        (
            "measure",
            "model inputs kwargs * warmup runs device place training loss nodes operators capture clock",
        ),
        ("trace", "model inputs kwargs * capture dtype leaf_modules"),
        ("analyze_graph", "graph_module inputs kwargs * dtype rules strict training optimizer loss"),
    ],
)
def test_signatures_are_pinned(name: str, parameters: str) -> None:
    """Positional parameters in this order; options by name only."""
    found: list[str] = []
    for parameter in inspect.signature(getattr(fxcost, name)).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in found:
            found.append("*")
        found.append(parameter.name)
    assert " ".join(found) == parameters


def test_every_error_is_an_fxcost_error() -> None:
    """One `except fxcost.FxcostError` catches all; each class says when it is raised."""
    classes = [c for _, c in inspect.getmembers(errors, inspect.isclass) if c.__module__ == errors.__name__]
    assert len(classes) > 10
    assert all(issubclass(c, fxcost.FxcostError) and c.__doc__ for c in classes)


def test_importing_waits_for_torch_until_it_is_used() -> None:
    """`import fxcost` alone does not import PyTorch, so that `fxcost --help` is quick."""
    code = "import sys, fxcost; print('torch' in sys.modules, fxcost.__version__)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.split() == ["False", fxcost.__version__]


def test_the_public_api_is_typed() -> None:
    """A user's code with the public names passes mypy --strict, and gets the types that it expects."""
    run = [sys.executable, "-m", "mypy", "tests/typing_api.py"]  # strict by pyproject.toml, whose cache it shares
    out = subprocess.run(run, capture_output=True, text=True, cwd=HERE.parent)
    assert [line for line in out.stdout.splitlines() if line.startswith("tests")] == []
    assert out.returncode in (0, 1), out.stderr
