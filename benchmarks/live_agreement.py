"""How many of the figures that the tools themselves print, here and now, the conventions reproduce.

    python benchmarks/live_agreement.py [MODEL …] [--batch 1] [--rows live.jsonl]

Without names: all of torchvision's classification networks. Needs the extras `zoo` and `peers`; a tool that is not
installed is left out. Each network runs for real once or twice per tool, which takes an hour in all; `--rows` keeps
what was found, and a network that stands there is not run again. benchmarks/agreement.py compares with recorded
figures.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch
import torchvision
from tabulate import tabulate

import fxcost
from tests.conventions.tools import TOOLS, installed

Row = dict[str, Any]
SIZES = {"inception_v3": 299}
"""Edge of the image, where it is not 224."""


def compare(name: str, batch: int) -> Row:
    """One network: tool → nothing (every figure is the same), or what differs as [the tool's, ours]."""
    torch.manual_seed(0)
    size = SIZES.get(name, 224)
    model = torchvision.models.get_model(name, weights=None).eval()
    x = torch.randn(batch, 3, size, size)
    report = fxcost.analyze(model, (x,))
    found: Row = {}
    for tool, (_, run) in TOOLS.items():
        if not installed(tool) or (tool == "torchstat" and batch > 1):
            continue
        try:
            figures = run(model, (x,))
        except Exception as error:
            figures = {"refused": type(error).__name__}
        try:
            ours = report.counts(tool)
        except fxcost.ConventionError as error:
            ours = {"refused": figures.get("refused", str(error))}
        found[tool] = {key: [value, ours.get(key)] for key, value in figures.items() if ours.get(key) != value}
    return {"model": name, "batch": batch, "differs": found}


def table(rows: list[Row]) -> str:
    """Tool × networks with every figure the same, in Markdown, and what differs."""
    tools = [tool for tool in TOOLS if any(tool in row["differs"] for row in rows)]
    lines = []
    for tool in tools:
        met = [row for row in rows if tool in row["differs"]]
        different = [row["model"] for row in met if row["differs"][tool]]
        lines.append([f"`{tool}`", f"{len(met) - len(different)} of {len(met)}", ", ".join(different)])
    return tabulate(lines, headers=["convention", "networks", "not the same"], tablefmt="github")


def main() -> None:
    """Run the tools, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rows", type=Path, help="JSON lines: what is done already, added to")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    names = options.models or torchvision.models.list_models(module=torchvision.models)
    known = options.rows.read_text().splitlines() if options.rows and options.rows.exists() else []
    done = {(row["model"], row["batch"]): row for row in map(json.loads, known)}
    rows = []
    for name in names:
        row = done.get((name, options.batch)) or compare(name, options.batch)
        rows.append(row)
        if options.rows and (name, options.batch) not in done:
            with options.rows.open("a") as file:
                file.write(json.dumps(row) + "\n")
        print(f"{len(rows)}/{len(names)} {name}", {t: d for t, d in row["differs"].items() if d}, file=sys.stderr)
        gc.collect()
    print(table(rows))


if __name__ == "__main__":
    main()
