"""Settings of all tests, and comparison of views with golden files."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from hypothesis import settings

# CI draws the same examples each time, so that it fails for what a change did; runs by hand go on searching.
settings.register_profile("search", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "search")

os.environ.pop("FORCE_COLOR", None)  # which some CI sets: tests compare what a pipe gets

collect_ignore = ["typing_api.py"]  # for mypy's eyes, not to be run
GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Golden files are written only when asked for."""
    parser.addoption("--update-goldens", action="store_true", help="write golden files instead of comparing with them")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Without a model library, as on the lowest PyTorch supported, the tests that build its models are skipped."""
    try:
        return (yield)
    except ModuleNotFoundError as error:
        if error.name not in ("torchvision", "timm", "transformers"):
            raise
        pytest.skip(f"{error.name} is not installed")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs a command line in this process: exit code, standard output, error stream."""
    from fxcost import cli

    def run(*args: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = cli.main([str(arg) for arg in args])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compares a text with tests/golden/NAME, to the byte; `--update-goldens` writes the file instead."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--update-goldens"):
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(text.encode())
        assert path.exists(), f"no golden file {name}; run pytest --update-goldens and look at what it wrote"
        assert text == path.read_bytes().decode(), f"{name} differs; if that is right, run pytest --update-goldens"

    return compare
