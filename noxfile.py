"""Tasks, each in an environment of its own: `nox -l` lists them, `nox -s tests-3.12 -- tests/rules` runs one.

`uv` or `virtualenv` makes the environments; PyTorch's CPU build is taken, which is far smaller.
"""

from __future__ import annotations

import nox

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
CPU = "https://download.pytorch.org/whl/cpu"
nox.options.sessions = ["checks"]


def _install(session: nox.Session, extras: str) -> None:
    session.install("torch", "torchvision", "--index-url", CPU)
    session.install("-e", f".[{extras}]")


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The tests, or those that are named after `--`."""
    _install(session, "test")
    session.run("pytest", *(session.posargs or ("-n", "2")), env={"OMP_NUM_THREADS": "1"})


@nox.session(python=PYTHONS[0])
def checks(session: nox.Session) -> None:
    """Style and types."""
    _install(session, "test")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")


@nox.session(python=PYTHONS[0])
def docs(session: nox.Session) -> None:
    """The documentation site, built strictly into build/site; `nox -s docs -- serve` shows it."""
    _install(session, "docs")
    session.run("mkdocs", *(session.posargs or ("build", "--strict")))
