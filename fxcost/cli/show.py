"""`fxcost show report.json`: views of a report that was written before."""

from __future__ import annotations

import sys
from typing import Any

import click

from ..errors import ReportFileError
from .group import fxcost
from .output import GOOD
from .progress import quiet_option
from .views import show_views, take_views, view_options


@fxcost.command()
@click.argument("report")
@view_options
@quiet_option
@click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")
def show(*, report: str, **options: Any) -> int:
    """Show a REPORT that was written as JSON (`fxcost MODEL --json report.json`), without its model.

    All views are as if the model had just been analysed: they take the same options. - reads the standard input.

    \b
      fxcost show report.json --by operator --dot graph.dot
    """
    from ..report import Report

    views = take_views(options)
    source = _standard_input() if report == "-" else report
    show_views(Report.from_json(source), views)
    return GOOD


def _standard_input() -> str:
    """JSON that is piped in: UTF-8, as in a file, whatever the stream's encoding is."""
    try:
        text = sys.stdin.buffer.read().decode()
    except UnicodeDecodeError:
        text = ""
    if not text.lstrip().startswith("{"):
        raise ReportFileError("the standard input is no report; pipe in what `fxcost MODEL --json -` writes")
    return text
