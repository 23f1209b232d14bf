"""`fxcost show report.json`: views of a report that was written before."""

from __future__ import annotations

import sys
from typing import Any

import click

from .group import fxcost
from .output import GOOD
from .views import show_views, take_views, view_options


@fxcost.command()
@click.argument("report")
@view_options
@click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")
def show(*, report: str, **options: Any) -> int:
    """Show a REPORT that was written as JSON (`fxcost MODEL --json report.json`), without its model.

    All views are as if the model had just been analysed: they take the same options. - reads the standard input.

    \b
      fxcost show report.json --by operator --dot graph.dot
    """
    from ..report import Report

    source = sys.stdin.read() if report == "-" else report
    show_views(Report.from_json(source), take_views(options))
    return GOOD
