"""How many of the recorded figures of other tools the conventions reproduce: the table of docs/conventions.md.

    python benchmarks/agreement.py [--capture concrete] [--small]

A case counts as reproduced if every figure of the tool is the same (integers, and strings to the character), or if
the tool refused the model and the convention refuses it too. Cases that a tool can't be given (torchstat takes one
image) are left out. The tools themselves are not needed: tests/conventions/recorded.json has what they printed.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parent.parent / "tests"
sys.path.insert(0, str(TESTS))

from peer_cases import NETWORKS, SMALL, build  # noqa: E402
from tabulate import tabulate  # noqa: E402

import fxcost  # noqa: E402
from fxcost.report import Report  # noqa: E402


def outcome(tool: str, report: Report, expected: Any) -> str:
    """ "same", "refused" (by both) or "different"."""
    try:
        found = report.counts(tool)
    except fxcost.ConventionError:
        return "refused" if isinstance(expected, str) else "different"
    if isinstance(expected, str):
        return "different"
    return "same" if {name: found.get(name) for name in expected} == expected else "different"


def main() -> None:
    """Print the table, and what differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--capture", default="auto", choices=["auto", "symbolic", "concrete"])
    parser.add_argument("--small", action="store_true", help="modules and functions only, no networks")
    options = parser.parse_args()
    recorded = json.loads((TESTS / "conventions" / "recorded.json").read_text())
    tally: dict[tuple[str, str], Counter[str]] = {}
    different: list[str] = []
    warnings.simplefilter("ignore")
    groups = {"small": SMALL} if options.small else {"networks": NETWORKS, "small": SMALL}
    for group, cases in groups.items():
        for case in cases:
            model, inputs = build(case)
            report = fxcost.analyze(model, inputs, capture=options.capture)
            for tool, figures in recorded["figures"].items():
                if figures[case] is None:
                    continue
                result = outcome(tool, report, figures[case])
                tally.setdefault((tool, group), Counter())[result] += 1
                if result == "different":
                    different.append(f"{tool} on {case}")
    print(table(tally, list(groups), recorded["versions"]))
    print("\nNot reproduced: " + (", ".join(sorted(different)) or "nothing"))


def table(tally: dict[tuple[str, str], Counter[str]], groups: list[str], versions: dict[str, str]) -> str:
    """The counts in Markdown."""
    lines = []
    for tool in dict.fromkeys(tool for tool, _ in tally):
        cells = []
        for group in groups:
            found = tally[tool, group]
            cells.append(f"{found['same']} of {found['same'] + found['different']}")
        refused = sum(tally[tool, group]["refused"] for group in groups)
        lines.append([f"`{tool}`", versions[tool].split(".post")[0], *cells, refused])
    return tabulate(lines, headers=["convention", "version", *groups, "refused by both"], tablefmt="github")


if __name__ == "__main__":
    main()
