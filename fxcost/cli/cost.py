"""`fxcost MODEL`: count what a model costs, and write views of the report."""

from __future__ import annotations

from typing import Any

import click

from .group import fxcost
from .model import ModelOptions, analyse, comma_separated, model_options
from .output import FAILED, GOOD, emit, fail, write

LAYOUT = ("by", "depth", "top", "sort", "columns", "format")
"""Options that go to `Report.table` as they are; without any of them, what `print(report)` shows is printed."""


@fxcost.command()
@model_options
@click.option("--by", type=click.Choice(["module", "node", "operator", "family"]), help="Rows of the table.")
@click.option("--depth", type=click.IntRange(min=0), help="Levels of modules to show.")
@click.option("--top", type=click.IntRange(min=1), help="Show only so many rows, the largest first.")
@click.option("--sort", metavar="COLUMN", help="Sort the rows, largest first.")
@click.option("--columns", metavar="A,B,…", callback=comma_separated, help="Columns: name,output,params,macs,bytes …")
@click.option("--format", metavar="FORMAT", help="Any format of tabulate: github, html, plain, tsv …")
@click.option(
    "--as",
    "tools",
    metavar="A,B,…",
    callback=comma_separated,
    help="What other tools print, and why: thop,fvcore …",
)
@click.option("--dot", metavar="PATH", help="Write the graph for Graphviz; - is the standard output.")
@click.option("--json", metavar="PATH", help="Write the whole report as JSON.")
@click.option("--csv", metavar="PATH", help="Write the nodes as CSV.")
@click.option("--memory", is_flag=True, help="Also show the peak of memory, what is alive then, and a chart.")
@click.option("--training", is_flag=True, help="Also cost a training step, in training mode: backward, optimizer …")
@click.option(
    "--optimizer",
    metavar="NAME",
    help="For --training: sgd, momentum, adam, adamw (default), adafactor, lion, or bytes per parameter.",
)
@click.option("--plot", metavar="PATH", help="Draw memory over time (PNG, SVG, PDF); needs matplotlib.")
@click.option("--strict", is_flag=True, help="Fail (exit code 1) if an operator ran that has no rule.")
def cost(*, dot: str | None, json: str | None, csv: str | None, strict: bool, **options: Any) -> int:
    """Count what MODEL costs (the default command: `fxcost MODEL`)."""
    chosen = {name: options.pop(name) for name in LAYOUT}
    layout = {name: value for name, value in chosen.items() if value is not None}
    tools, memory, plot = options.pop("tools"), options.pop("memory"), options.pop("plot")
    report = analyse(ModelOptions(**options))
    if tools:
        table = report.compared(*tools, format=chosen["format"] or "rounded_outline")
    else:
        table = report.table(**layout) if layout else str(report)
    shown = [table, *([str(report.memory)] if memory else []), *([str(report.training)] if report.training else [])]
    table = "\n\n".join(shown)
    if plot is not None:
        (report.training or report.memory).plot(plot)
    views = [(dot, report.to_dot), (json, report.to_json), (csv, report.to_csv)]
    written = [write(path, view()) for path, view in views if path is not None]
    if "-" not in written:
        emit(table)
    if strict and report.uncosted:
        operators = ", ".join(f"{op} ({times}×)" for op, times in report.uncosted.items())
        return fail(f"operators without a rule ran: {operators}", FAILED)
    return GOOD
