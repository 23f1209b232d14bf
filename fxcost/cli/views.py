"""The views of a report: the options that ask for them, shared by every command that has a report, and their output.

A view that is a file is a row of `FILES`: its option, the method of the report that makes it, and the help's text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .devices import find_device
from .model import comma_separated
from .output import emit, write_file, write_view

if TYPE_CHECKING:
    from ..report import Report
    from ..speed.roofline import Roofline

Function = TypeVar("Function", bound=Callable[..., Any])

FILES = (
    ("dot", "to_dot", "Write the graph for Graphviz; - is the standard output."),
    ("html", "to_html", "Write a page to look at: one file that works offline."),
    ("json", "to_json", "Write the whole report as JSON; fxcost show reads it."),
    ("csv", "to_csv", "Write the nodes as CSV."),
    ("svg", "to_svg", "Draw the graph as SVG; needs Graphviz."),
    ("png", "to_png", "Draw the graph as PNG; needs Graphviz."),
    ("markdown", "to_markdown", "Write the report as Markdown."),
    ("speedscope", "to_speedscope", "Write a flame graph for speedscope; with --device also of time."),
    ("model-explorer", "to_model_explorer", "Write the graph for Model Explorer, costs beside it."),
)
"""Option, method of the report that writes to a path and returns what it writes, help."""

LAYOUT = ("by", "depth", "top", "sort", "columns", "format")
"""Options that go to `Report.table` as they are; without any of them, what `print(report)` shows is printed."""


def view_options(function: Function) -> Function:
    """The options that say which views of a report are printed and written."""
    options = [
        click.option("--by", type=click.Choice(["module", "node", "operator", "family", "collective"]), help="Rows."),
        click.option("--depth", type=click.IntRange(min=0), help="Levels of modules to show."),
        click.option("--top", type=click.IntRange(min=1), help="Show only so many rows, the largest first."),
        click.option("--sort", metavar="COLUMN", help="Sort the rows, largest first."),
        click.option(
            "--columns", metavar="A,B,…", callback=comma_separated, help="Columns: name,output,params,macs,bytes …"
        ),
        click.option("--format", metavar="FORMAT", help="Any format of tabulate: github, html, plain, tsv …"),
        click.option(
            "--as",
            "tools",
            metavar="A,B,…",
            callback=comma_separated,
            help="What other tools print, and why: thop,fvcore …",
        ),
        click.option("--memory", is_flag=True, help="Also show the peak of memory, what is alive then, and a chart."),
        click.option("--device", metavar="NAME", help="Also show how fast it could run there: h100, rtx4090, here …"),
        click.option(
            "--fusion",
            type=click.Choice(["none", "pointwise"]),
            default="none",
            show_default=True,
            help="For --device: which operators run as one.",
        ),
        click.option("--peak", metavar="DTYPE", help="For --device: reckon at the peak of this dtype: tf32, bfloat16."),
        click.option(
            "--plot",
            metavar="PATH",
            help="Draw memory over time, or with --device the roofline (PNG, SVG, PDF); needs matplotlib.",
        ),
        *[click.option(f"--{name}", metavar="PATH", help=text) for name, _, text in FILES],
    ]
    for option in reversed(options):
        function = option(function)
    return function


def take_views(options: dict[str, Any]) -> dict[str, Any]:
    """Take the values of :func:`view_options` out of all options of a command."""
    names = (*LAYOUT, "tools", "memory", "device", "fusion", "peak", "plot")
    return {name: options.pop(name) for name in (*names, *(_name(option) for option, _, _ in FILES))}


def _name(option: str) -> str:
    """The name under which click hands an option on."""
    return option.replace("-", "_")


def show_views(report: Report, views: dict[str, Any]) -> None:
    """Write the files that are asked for, and print the table unless one of them goes to the standard output."""
    layout = {name: views[name] for name in LAYOUT if views[name] is not None}
    if views["tools"]:
        shown = [report.compared(*views["tools"], format=views["format"] or "rounded_outline")]
    else:
        shown = [report.table(**layout) if layout else str(report)]
    if views["memory"]:
        shown.append(str(report.memory))
    if report.training is not None:
        shown.append(str(report.training))
    if views.get("formula"):
        shown.append(str(report.formula))
    roofline = _roofline(report, views)
    if roofline is not None:
        shown.append(roofline.table(views["top"] or 20, views["format"] or "rounded_outline"))
    if views["plot"] is not None:
        write_file(views["plot"], (roofline or report.training or report.memory).plot)
    wanted = [(option, method, views[_name(option)]) for option, method, _ in FILES]
    for option, method, path in wanted:
        extra = {"device": roofline.device} if roofline is not None and option == "speedscope" else {}
        if path is not None:
            write_view(path, getattr(report, method), **extra)
    if "-" not in [path for _, _, path in wanted]:
        emit("\n\n".join(shown))


def _roofline(report: Report, views: dict[str, Any]) -> Roofline | None:
    """The roofline on the device that was named, if one was."""
    if views["device"] is None:
        if views["peak"] is not None:
            raise click.UsageError("--peak is for --device: name the device whose peak is meant")
        return None
    return report.roofline(find_device(views["device"]), views["peak"], views["fusion"])
