"""`fxcost diff A B`: what changed between two models or reports."""

from __future__ import annotations

from typing import Any

import click

from ..text.choice import choose
from .complete import complete_model, formats
from .group import fxcost
from .model import input_options, report_of
from .names import check_model
from .output import GOOD, check_writable, present, write


@fxcost.command()
@click.argument("before", metavar="A", shell_complete=complete_model, callback=check_model)
@click.argument("after", metavar="B", shell_complete=complete_model, callback=check_model)
@input_options
@click.option("--depth", type=click.IntRange(min=1), help="Levels of modules to show.")
@click.option("--format", "layout", metavar="FORMAT", help="markdown (for a pull request), or any format of tabulate.")
@click.option("--json", metavar="PATH", help="Write the diff as JSON; - is the standard output.")
@click.option("--html", metavar="PATH", help="Write a page with both side by side.")
def diff(*, before: str, after: str, depth: int | None, layout: str | None, **options: Any) -> int:
    """Compare two models, or reports that were written with --json: what changed, module by module.

    Modules are aligned by name, then by structure, so that a renamed module is no removal and addition. The options
    on inputs apply to each of A and B that is a model.

    \b
      fxcost diff torchvision:resnet50 torchvision:resnet101
      fxcost diff before.json net.py:Net --input 1,3,32,32 --format markdown
    """
    from ..compare.diff import diff as compare

    json, html = options.pop("json"), options.pop("html")
    if layout is not None:
        choose("diff format", layout, formats())
    for path in (json, html):
        check_writable(path)
    found = compare(report_of(before, options), report_of(after, options), names=(before, after))
    if html is not None:
        write(html, found.to_html())
    if json is not None:
        write(json, found.to_json())
    if "-" not in (html, json):
        chosen = layout or "rounded_outline"
        present(lambda: found.text(chosen, depth=depth), markup=chosen, plain=layout == "markdown", changes=True)
    return GOOD
