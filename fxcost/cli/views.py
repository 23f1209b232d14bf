"""The views of a report: the options that ask for them, shared by every command that has a report, and their output.

A view that is a file is a row of `FILES`: its option, the method of the report that makes it, and the help's text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .checks import check_device, check_drawing, check_plot, check_table, check_tools
from .devices import find_device
from .links import OPTION as LINKS
from .links import parse_links
from .model import comma_separated
from .output import check_writable, present, write_file, write_view, wrote

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

PICTURES = ("svg", "png")
"""Files that Graphviz draws."""
LAYOUT = ("by", "depth", "top", "sort", "columns", "format")
"""Options that go to `Report.table` as they are; without any of them, what `print(report)` shows is printed."""


_OPTIONS = (
    click.option("--by", type=click.Choice(["module", "node", "operator", "family", "collective"]), help="Rows."),
    click.option("--depth", type=click.IntRange(min=0), help="Levels of modules to show, in pictures too."),
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
    LINKS,
    click.option(
        "--plot",
        metavar="PATH",
        help="Draw memory over time, or with --device the roofline (PNG, SVG, PDF); needs matplotlib.",
    ),
    *[click.option(f"--{name}", metavar="PATH", help=text) for name, _, text in FILES],
    click.option("--card", is_flag=True, help="Print one line of Markdown for a model card instead of the table."),
    click.option("--chrome-trace", metavar="PATH", help="For --device: write the estimated timeline for Perfetto."),
    click.option(
        "--collapse",
        type=click.IntRange(min=1),
        help="In pictures: draw modules at this depth as one box.  [default: --depth, or what is readable]",
    ),
)


def view_options(function: Function) -> Function:
    """The options that say which views of a report are printed and written."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def take_views(options: dict[str, Any]) -> dict[str, Any]:
    """Take the values of :func:`view_options` out of all options of a command, and look at them.

    Raises:
        FxcostError, ClickException: a name in them is not known, or a path can't be written.
    """
    names = (
        *LAYOUT,
        "tools",
        "memory",
        "device",
        "fusion",
        "peak",
        "links",
        "plot",
        "collapse",
        "card",
        "chrome_trace",
    )
    views = {name: options.pop(name) for name in (*names, *(_name(option) for option, _, _ in FILES))}
    check_table(**{name: views[name] for name in ("by", "sort", "columns", "format")})
    check_tools(views["tools"])
    check_device(views["device"], views["peak"])
    if views["fusion"] != "none" and views["device"] is None:
        raise click.UsageError("--fusion is for --device: name the device")
    if views["links"] is not None:
        if views["device"] is None:
            raise click.UsageError("--links is for --device: name the device whose ranks are meant")
        views["links"] = parse_links(views["links"])
    check_plot(views["plot"])
    if views["chrome_trace"] is not None and views["device"] is None:
        raise click.UsageError("--chrome-trace is for --device: name the device whose times are meant")
    check_writable(views["chrome_trace"])
    for option, _, _ in FILES:
        (check_drawing if option in PICTURES else check_writable)(views[_name(option)])
    return views


def _name(option: str) -> str:
    """The name under which click hands an option on."""
    return option.replace("-", "_")


def _plot_of(report: Report, roofline: Any) -> Callable[..., Any]:
    """What draws the roofline that is asked for; else memory, under the model's class and inputs."""
    if roofline is not None:
        return roofline.plot  # type: ignore[no-any-return]
    given = ", ".join(str(spec) for node in report.nodes if node.kind == "placeholder" for spec in node.outputs)
    return partial((report.training or report.memory).plot, title=f"{report.model_type} on {given}")


def show_views(report: Report, views: dict[str, Any]) -> None:
    """Write the files that are asked for, and print the table unless one of them goes to the standard output."""
    roofline = _roofline(report, views)
    if views["plot"] is not None:
        write_file(views["plot"], _plot_of(report, roofline))
        wrote(views["plot"])
    if views["chrome_trace"] is not None and roofline is not None:
        write_view(views["chrome_trace"], roofline.to_chrome_trace)
    wanted = [(option, method, views[_name(option)]) for option, method, _ in FILES]
    for option, method, path in wanted:
        if path is not None:
            write_view(path, getattr(report, method), **_extra(option, views, roofline))
    if "-" not in [views["chrome_trace"], *(path for _, _, path in wanted)]:
        present(lambda: "\n\n".join(_texts(report, views, roofline)), markup=views["format"])


def _extra(option: str, views: dict[str, Any], roofline: Roofline | None) -> dict[str, Any]:
    """Arguments of the method that writes a file."""
    if option == "html" and "estimated" in views:
        devices, mode = views["estimated"]
        return {"devices": [find_device(name) for name in devices], "mode": mode}
    if option == "speedscope" and roofline is not None:
        return {"device": roofline.device}
    if option in ("dot", *PICTURES):
        collapse = views["collapse"] if views["collapse"] is not None else views["depth"]
        return {"collapse": collapse or None}
    if option == "markdown" and views["depth"] is not None:
        return {"depth": views["depth"]}
    return {}


def _texts(report: Report, views: dict[str, Any], roofline: Roofline | None) -> Iterator[str]:
    """Everything that is printed."""
    layout = {name: views[name] for name in LAYOUT if views[name] is not None}
    table_format = views["format"] or "rounded_outline"
    if views["card"]:
        yield report.card()
        return
    if views["tools"]:
        yield report.compared(*views["tools"], format=table_format)
    else:
        yield report.table(**layout) if layout else str(report)
    if views["memory"]:
        yield str(report.memory)
    if report.training is not None:
        yield str(report.training)
    if views.get("formula"):
        yield _formulas(report)
    if roofline is not None:
        yield roofline.table(views["top"] or 20, table_format)


def _formulas(report: Report) -> str:
    """The formulas, or why there are none."""
    from ..errors import FormulaError
    from .wording import in_options

    try:
        return str(report.formula)
    except FormulaError as error:
        return in_options(str(error))


def _roofline(report: Report, views: dict[str, Any]) -> Roofline | None:
    """The roofline on the device that was named, if one was."""
    if views["device"] is None:
        return None
    return report.roofline(find_device(views["device"]), views["peak"], views["fusion"], views["links"])
