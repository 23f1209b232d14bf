"""Do the tests notice when a number is computed wrongly? Mutants of a file, each of which a test should fail on.

    python benchmarks/mutation.py fxcost/rules/linalg.py --sample 30
    python benchmarks/mutation.py fxcost/memory --sample 20 --seed 1 --json mutants.json
    python benchmarks/mutation.py fxcost/rules fxcost/memory --draw 200

Needs `cosmic-ray`, whose operators make the mutants: another operator, comparison, number or constant, a condition
turned round. Nothing is written into the working tree: this process loads PyTorch once, and each mutant runs in a fork
of it that imports the package with the changed text of the one file. First the tests of that file run, those that
`TESTS` names for it or the file that mirrors it; a mutant that they do not notice meets those of its room. `--draw`
takes mutants of all files together, so that the share of those killed is an estimate for all of them. Left out are
mutants in annotations, and decorators; survivors are printed as a difference, for a person to say whether the
mutant is equivalent.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import importlib.abc
import importlib.util
import json
import os
import random
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import cosmic_ray.plugins
import parso
from cosmic_ray.mutating import mutate_code

ROOT = Path(__file__).parent.parent
PACKAGE = "fxcost"
PRELOADED = ("torch", "torchvision", "hypothesis", "pytest", "networkx", "tabulate", "jinja2", "torch.testing")
LEFT_OUT = ("BitOr", "RemoveDecorator", "VariableInserter", "VariableReplacer", "_Pow", "Shift", "_Is_", "_IsNot_")
"""Operators whose mutants are in annotations, fail at once, or are equivalent as a rule."""
TESTS: dict[str, tuple[str, ...]] = {
    "rules/common.py": ("rules/test_pointwise.py", "rules/test_reduce.py", "rules/test_coverage.py"),
    "rules/expressions.py": ("rules/test_pointwise.py", "rules/test_coverage.py"),
    "rules/fft.py": ("rules/test_linalg.py", "rules/test_coverage.py"),
    "rules/masked.py": ("rules/test_attention.py",),
    "rules/movement.py": ("rules/test_indexing.py", "rules/test_coverage.py"),
    "rules/registry.py": ("rules/test_coverage.py", "rules/test_pricing.py"),
    "rules/rng.py": ("rules/test_pointwise.py", "rules/test_coverage.py"),
    "rules/sorting.py": ("rules/test_indexing.py", "rules/test_reduce.py", "rules/test_coverage.py"),
    "rules/sparse.py": ("rules/test_coverage.py", "rules/test_matmul.py", "meta/test_sparse.py"),
    "rules/user.py": ("test_analyze.py",),
    "rules/backward_pointwise.py": ("rules/test_backward.py", "rules/test_coverage.py"),
    "rules/formulas/contraction.py": ("rules/test_matmul.py", "rules/test_attention.py"),
    "rules/formulas/gradient.py": ("rules/test_backward.py", "rules/test_backward_places.py"),
    "rules/formulas/masked.py": ("rules/test_attention.py",),
    "rules/formulas/normalization.py": ("rules/test_norm.py", "rules/test_backward.py"),
    "rules/formulas/places.py": ("rules/test_pool.py", "rules/test_conv.py", "rules/test_backward_places.py"),
    "rules/formulas/recurrent.py": ("rules/test_rnn.py", "rules/test_backward_rnn.py"),
    "rules/formulas/reduction.py": ("rules/test_reduce.py", "rules/test_loss.py", "rules/test_backward.py"),
    "rules/formulas/window.py": ("rules/test_conv.py", "rules/test_pool.py"),
    "memory/analysis.py": ("memory/test_memory.py",),
    "memory/at_peak.py": ("memory/test_as_memory.py", "memory/test_memory.py"),
    "memory/lifetimes.py": ("memory/test_memory.py", "memory/test_training.py"),
    "memory/optimizers.py": ("memory/test_training.py",),
    "totals": ("test_report.py", "test_laws.py", "test_analyze.py", "compare", "ranks/test_closed_forms.py"),
    "conventions": ("conventions/test_agreement.py", "conventions/test_running.py"),
}
"""Tests of files (or of a room's) that no test file mirrors by name."""


Mutant = tuple[str, Any, int]


def mutants(text: str) -> Iterator[Mutant]:
    """(operator's name and line, operator, number of the place) of each mutant of a file."""
    every = list(nodes(parso.parse(text)))
    for name in sorted(cosmic_ray.plugins.operator_names()):
        if any(part in name for part in LEFT_OUT):
            continue
        operator = cosmic_ray.plugins.get_operator(name)()
        places = [place for node in every for place in operator.mutation_positions(node)]
        for i, (start, _) in enumerate(places):
            yield f"{name.removeprefix('core/')} at line {start[0]}", operator, i


def nodes(node: Any) -> Iterator[Any]:
    """A tree's nodes in the order in which cosmic-ray numbers places."""
    yield node
    for child in getattr(node, "children", ()):
        yield from nodes(child)


def module_name(path: Path) -> str:
    """The dotted name of a file of the package."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


class Changed(importlib.abc.SourceLoader):
    """Loads one module of the package from another text."""

    def __init__(self, path: Path, text: str) -> None:
        self._path, self._text = path, text

    def get_filename(self, fullname: str) -> str:
        return str(self._path)

    def get_data(self, path: str | bytes) -> bytes:
        return self._text.encode()

    def path_stats(self, path: str | bytes) -> Any:
        raise OSError  # so that no compiled file is read or written

    def find_spec(self, name: str, path: Any, target: ModuleType | None = None) -> Any:
        if name != module_name(self._path):
            return None
        return importlib.util.spec_from_file_location(name, self._path, loader=self)


def passes(path: Path, text: str, tests: Sequence[str], limit_s: float) -> bool:
    """True if the tests pass on a changed text of a file; what fails, hangs or can't be imported does not."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            quiet = os.open(os.devnull, os.O_WRONLY)
            os.dup2(quiet, 1)
            os.dup2(quiet, 2)
            signal.alarm(int(limit_s))
            sys.meta_path.insert(0, Changed(path, text))  # type: ignore[arg-type]
            importlib.import_module(module_name(path))  # now: pytest loads what is a plugin of it in its own way
            import pytest

            options = ["-x", "-q", "--no-header", "-p", "no:cacheprovider", "-p", "no:randomly", "--tb=no"]
            status = int(pytest.main([*options, *(str(ROOT / test) for test in tests)]))
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def preload() -> None:
    """Load here what the package loads of others, so that no fork has to."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        for name in (*PRELOADED, PACKAGE, f"{PACKAGE}.conventions", f"{PACKAGE}.cli"):
            importlib.import_module(name)
        names = [name for name in sys.modules if name.split(".")[0] not in (PACKAGE, "__main__")]
        os.write(writing, json.dumps(names).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        names = json.loads(pipe.read())
    os.waitpid(child, 0)
    for name in names:
        with suppress(Exception):  # what can't be loaded alone is loaded by each fork
            importlib.import_module(name)


def counts(path: Path) -> bool:
    """True for what computes numbers: not a room's front, nor its views."""
    return path.name != "__init__.py" and not path.name.startswith("as_")


def tests_of(path: Path) -> tuple[list[str], list[str]]:
    """The tests that run first, and those of the room."""
    inside = path.relative_to(ROOT / "fxcost")
    named = TESTS.get(str(inside)) or TESTS.get(inside.parts[0]) or ()
    mirrored = [Path(inside.parts[0]) / f"test_{path.name}", inside.parent / f"test_{path.name}"]
    first = [f"tests/{test}" for test in dict.fromkeys([*map(str, mirrored), *named])]
    return [test for test in first if (ROOT / test).exists()], [f"tests/{inside.parts[0]}"]


def shown(before: str, after: str) -> str:
    """The lines that a mutant changes."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0)
    return "\n".join(line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---"))


def run(path: Path, chosen: Sequence[Mutant], limit_s: float, wide: bool) -> dict[str, Any]:
    """Score of one file."""
    name, before, (first, room) = str(path.relative_to(ROOT)), path.read_text(encoding="utf-8"), tests_of(path)
    survivors, started, rounds = [], time.monotonic(), [(first, limit_s)] if first else []
    rounds += [(room, 10 * limit_s)] if wide or not first else []
    if not passes(path, before, *rounds[0]):
        print(
            f"left out: {name}, whose tests {rounds[0][0]} do not pass, or do not run, on the file as it is", flush=True
        )
        return {"file": name, "run": 0, "killed": 0, "survivors": []}
    for where, operator, place in chosen:
        text = mutate_code(before, operator, place) or before
        if all(passes(path, text, tests, limit) for tests, limit in rounds):
            survivors.append({"where": where, "difference": shown(before, text)})
            print(f"survived: {name}, {where}\n{survivors[-1]['difference']}", flush=True)
    killed = len(chosen) - len(survivors)
    print(f"{name}: {killed} of {len(chosen)} killed; {time.monotonic() - started:.0f} s", flush=True)
    return {"file": name, "run": len(chosen), "killed": killed, "survivors": survivors}


def drawn(files: Sequence[Path], sample: int | None, draw: int | None, seed: int) -> dict[Path, list[Mutant]]:
    """The mutants to run, by file: all of them, some of each file, or some of all files together."""
    found = {file: list(mutants(file.read_text(encoding="utf-8"))) for file in files}
    if draw is not None:
        every = [(file, mutant) for file in files for mutant in found[file]]
        some = random.Random(seed).sample(every, min(draw, len(every)))
        found = {file: [mutant for at, mutant in some if at == file] for file in files}
    if sample is not None:
        found = {
            file: random.Random(f"{seed} {file.name}").sample(every, min(sample, len(every)))
            for file, every in found.items()
        }
    return {file: chosen for file, chosen in found.items() if chosen}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="+", type=Path, help="files, or folders with all files below")
    parser.add_argument("--sample", type=int, help="mutants of each file, at random; all by default")
    parser.add_argument("--draw", type=int, help="mutants of all files together, at random")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--limit", type=float, default=120.0, help="seconds for the tests of one mutant")
    parser.add_argument("--narrow", action="store_true", help="do not ask the tests of the whole room")
    parser.add_argument("--json", type=Path, help="where to write the results")
    chosen = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    os.chdir(ROOT)
    preload()
    given = [p.resolve() for p in chosen.paths]
    files = [f for p in given for f in (sorted(p.rglob("*.py")) if p.is_dir() else [p]) if counts(f)]
    some = drawn(files, chosen.sample, chosen.draw, chosen.seed)
    results = [run(file, mutants, chosen.limit, not chosen.narrow) for file, mutants in some.items()]
    ran, killed = sum(r["run"] for r in results), sum(r["killed"] for r in results)
    print(f"{killed} of {ran} killed ({killed / ran:.1%})" if ran else "no mutants")
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
